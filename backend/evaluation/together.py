# SPDX-License-Identifier: GPL-3.0-or-later
"""Protocol `parts`: a few clicks on every part of a shape at once, and one labeling as the answer."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ..click_simulation import DEFAULT_CANDIDATES, deepest_points, random_points
from ..geometry import Mesh, face_areas
from ..geometry.mesh import FloatArray, IntArray
from .measurement import Measurement, highest
from .shapes import KnownShape

CLICK_COUNTS = (1, 4)
PLACES = ("random", "spread")


class Labeling(Protocol):
    """face_labels: int [F], the part that each face belongs to, -1 for none of them"""

    @property
    def face_labels(self) -> IntArray: ...


class TogetherPredictor(Protocol):
    """What the protocol needs of a model; `backend.Segmenter` is one."""

    device: str

    def encode(self, mesh: Mesh, *, seed: int = 0) -> Any: ...
    def predict_parts(self, shape: Any, clicks: Sequence[FloatArray]) -> Labeling:
        """clicks: for each part float [P, 3], in the mesh's units."""


@dataclass(frozen=True)
class TogetherSettings:
    """counts: how many clicks each part gets; candidates: as for the interactive protocol"""

    counts: tuple[int, ...] = CLICK_COUNTS
    candidates: int = DEFAULT_CANDIDATES
    seed: int = 0


@dataclass(frozen=True)
class TogetherResult:
    """One shape, all of whose M parts were clicked.

    parts: int64 [M], their labels; shares: float64 [M], of the surface's area
    ious: by place (PLACES) and number of clicks, float64 [M]: IoU of the answer with each part over faces,
        weighted by area
    labels: face labels int [F] by the same keys, in the known parts' names, -1 for none
    """

    parts: IntArray
    shares: FloatArray
    ious: dict[str, dict[int, FloatArray]]
    labels: dict[str, dict[int, IntArray]]
    seconds: dict[str, float]
    peak_mib: float | None


def measure_together(
    predictor: TogetherPredictor, item: KnownShape, settings: TogetherSettings
) -> TogetherResult | None:
    """Click on all parts of `item` at once; None if no point of the sample lies on a labelled part.

    Clicks fall on points of the model's sample; parts that none of them hits are left out.
    """
    with Measurement(predictor.device) as encoding:
        shape = predictor.encode(item.mesh, seed=settings.seed)
    faces = np.asarray(shape.point_faces)
    parts = np.unique(item.labels[faces])
    parts = parts[parts >= 0].astype(np.int64)
    if not len(parts):
        return None
    points = torch.as_tensor(shape.points)
    targets = torch.as_tensor(item.labels[faces][None] == parts[:, None])
    areas = face_areas(item.mesh)
    ious: dict[str, dict[int, FloatArray]] = {}
    labels: dict[str, dict[int, IntArray]] = {}
    with Measurement(predictor.device) as answering:
        for place in PLACES:
            generator = torch.Generator().manual_seed(zlib.crc32(item.key.encode()) + settings.seed)
            places = _places(place, points, targets, settings, generator)
            labels[place] = {}
            for count in settings.counts:
                clicks = [_in_mesh_units(shape, rows[:count]) for rows in places]
                answer = predictor.predict_parts(shape, clicks).face_labels
                labels[place][count] = np.where(answer >= 0, parts[answer], -1)
    for place, by_count in labels.items():
        ious[place] = {n: _own_ious(item.labels, found, parts, areas) for n, found in by_count.items()}
    answers = len(PLACES) * len(settings.counts)
    return TogetherResult(
        parts=parts,
        shares=np.array([areas[item.labels == part].sum() for part in parts]) / areas.sum(),
        ious=ious,
        labels=labels,
        seconds={"encode": encoding.seconds, "answer": answering.seconds / answers},
        peak_mib=highest(encoding.peak_mib, answering.peak_mib),
    )


def _places(
    place: str, points: Tensor, targets: Tensor, settings: TogetherSettings, generator: torch.Generator
) -> IntArray:
    """Points to click, int64 [M, most clicks]: random ones, or the deepest and then ever the farthest."""
    most = max(settings.counts)
    if place == "random":
        return random_points(targets, generator, most).reshape(len(targets), most).numpy()
    rows = deepest_points(points, targets, generator=generator, candidates=settings.candidates)[:, None]
    nearest = torch.full(targets.shape, torch.inf)
    for _ in range(most - 1):
        distance = (points[None] - points[rows[:, -1]][:, None]).square().sum(dim=2)
        nearest = torch.minimum(nearest, distance)
        farthest = torch.where(targets, nearest, -1.0).argmax(dim=1)
        rows = torch.cat([rows, farthest[:, None]], dim=1)
    return rows.numpy()


def _in_mesh_units(shape: Any, rows: IntArray) -> FloatArray:
    cube = np.asarray(shape.points)[rows].astype(np.float64)
    return shape.normalization.invert(cube)


def _own_ious(true: IntArray, found: IntArray, parts: IntArray, areas: FloatArray) -> FloatArray:
    """IoU of each part with the answer of the same name, float64 [M]."""
    ious = []
    for part in parts:
        known, answered = true == part, found == part
        ious.append(areas[known & answered].sum() / areas[known | answered].sum())
    return np.array(ious)
