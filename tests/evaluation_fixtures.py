# SPDX-License-Identifier: GPL-3.0-or-later
"""Small meshes with known parts, and a predictor that knows them: what the evaluation's tests share."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import torch

from backend.click_simulation import mask_ious
from backend.evaluation.shapes import KnownShape
from backend.geometry import Mesh, Normalization, face_centroids, sample_surface


def grid_mesh(columns: int, rows: int) -> Mesh:
    """A flat grid of unit squares, two triangles each; squares in row-major order."""
    y, x = np.mgrid[0 : rows + 1, 0 : columns + 1]
    vertices = np.stack([x, y, np.zeros_like(x)], axis=-1).reshape(-1, 3)
    row, column = np.mgrid[0:rows, 0:columns]
    corner = (row * (columns + 1) + column).ravel()
    lower = np.stack([corner, corner + 1, corner + columns + 2], axis=1)
    upper = np.stack([corner, corner + columns + 2, corner + columns + 1], axis=1)
    return Mesh(vertices, np.stack([lower, upper], axis=1).reshape(-1, 3))


def box_mesh(low: tuple[float, float, float], high: tuple[float, float, float]) -> Mesh:
    """A closed box."""
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=float)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    triangles = [t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))]
    return Mesh(np.array(low) + corners * (np.array(high) - np.array(low)), np.array(triangles))


def joined(*meshes: Mesh) -> Mesh:
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    return Mesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate([mesh.triangles + start for mesh, start in zip(meshes, starts, strict=False)]),
    )


def three_boxes() -> KnownShape:
    """A plate and two legs, as three known parts that do not touch."""
    mesh = joined(
        box_mesh((0, 0, 2.1), (4, 2, 2.4)), box_mesh((0, 0, 0), (0.5, 2, 2)), box_mesh((3.5, 0, 0), (4, 2, 2))
    )
    return KnownShape(
        mesh, np.repeat([0, 1, 2], 12).astype(np.int32), "node", "made/here", "made/here:table.glb"
    )


class KnowingPredictor:
    """Answers with the known part under the first click, through `spoil` if given.

    It decides by what it is shown (clicks in its own cube), as a network would.
    """

    device = "cpu"

    def __init__(
        self,
        item: KnownShape,
        spoil: Callable[[np.ndarray], np.ndarray] | None = None,
        *,
        swap: bool = False,
    ) -> None:
        self.item, self.spoil, self.swap = item, spoil, swap
        self.asked: list[list[np.ndarray]] = []
        self.calls: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]] = []

    def encode(self, mesh: Mesh, *, seed: int = 0) -> SimpleNamespace:
        sample = sample_surface(mesh, 1500, seed=seed)
        cube = Normalization.of_points(sample.points)
        return SimpleNamespace(
            points=cube.apply(sample.points), point_faces=sample.faces, normalization=cube, mesh=mesh
        )

    def predict_batch(self, shape, points, labels, previous=None):
        self.calls.append((points, labels, previous))
        of_point = self.item.labels[shape.point_faces]
        first = torch.cdist(points[:, 0], torch.as_tensor(shape.points)).argmin(dim=1).numpy()
        masks = of_point[None] == of_point[first][:, None]
        good = masks if self.spoil is None else np.stack([self.spoil(mask) for mask in masks])
        candidates = [~masks, good, np.zeros_like(masks)] if labels.shape[1] == 1 else [good]
        logits = torch.stack(
            [torch.as_tensor(np.where(c, 4.0, -4.0), dtype=torch.float32) for c in candidates], 1
        )
        truth = torch.as_tensor(masks)[:, None]
        return logits, mask_ious(logits > 0, truth)

    def face_logits_batch(self, shape, points, labels, previous=None):
        """The known part under the first click, whole: only the points' masks are spoilt."""
        first = torch.cdist(points[:, 0], torch.as_tensor(shape.points)).argmin(dim=1).numpy()
        masks = self.item.labels[None] == self.item.labels[shape.point_faces][first][:, None]
        candidates = [~masks, masks, np.zeros_like(masks)] if labels.shape[1] == 1 else [masks]
        return torch.stack([torch.as_tensor(np.where(c, 4.0, -4.0)) for c in candidates], 1)

    def predict_parts(self, shape, clicks):
        """The known parts under the first click of each; `swap` exchanges the last two."""
        self.asked.append([np.asarray(each) for each in clicks])
        in_cube = shape.normalization.apply(np.stack([each[0] for each in clicks]))
        distance = np.linalg.norm(in_cube[:, None] - shape.points[None], axis=2)
        wanted = self.item.labels[shape.point_faces[distance.argmin(axis=1)]]
        labels = np.full(len(self.item.labels), -1)
        for answer, part in enumerate(wanted):
            labels[self.item.labels == part] = answer
        if self.swap:
            last = len(wanted) - 1
            labels = np.where(labels == last, last - 1, np.where(labels == last - 1, last, labels))
        return SimpleNamespace(face_labels=labels)

    def segment_every_part(self, shape, *, prompts: int = 512):
        item = self.item
        halves = (face_centroids(item.mesh)[:, 0] > 2).astype(np.int32)

        def labels(granularity: float = 0.5, *, parts: int | None = None) -> np.ndarray:
            return item.labels if granularity > 0.4 or parts == 3 else halves

        return SimpleNamespace(
            face_labels=labels,
            refined_labels=lambda granularity=0.5, strength=1.0, parts=None: item.labels,
        )

    def field(self, shape, locations: np.ndarray) -> np.ndarray:
        """A field that tells the parts apart by the nearest sample's label."""
        nearest = np.linalg.norm(locations[:, None] - shape.points[None], axis=2).argmin(axis=1)
        return np.eye(3, dtype=np.float32)[self.item.labels[shape.point_faces[nearest]]]
