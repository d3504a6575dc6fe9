# SPDX-License-Identifier: GPL-3.0-or-later
"""All training shapes as tensors on one device, and area-uniform points drawn from any of them at once.

Triangles are kept as a soup of corners, so that a point costs one gather. Cumulative areas run over
all faces of all shapes in float64; a shape is an interval of them, and one `searchsorted` serves a
whole batch whatever its shapes. Nothing here waits for the device, and every output has a fixed shape.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError
from ..geometry.mesh import NEUTRAL_GREY
from ..labelled_meshes.shards import POSITION_SCALE, UNKNOWN_COLOR, UNLABELLED, ShapeSet
from .stored_regions import StoredRegions


@dataclass(frozen=True)
class SurfacePoints:
    """Points of a batch of shapes.

    points: float32 [B, N, 3] in the stored cube [-1, 1]; normals: float32 [B, N, 3], unit
    colors: float32 [B, N, 3] in [0, 1]; faces: int64 [B, N], index into the store's faces
    """

    points: Tensor
    normals: Tensor
    colors: Tensor
    faces: Tensor


@dataclass(frozen=True)
class MeshStore:
    """Shapes concatenated in shape order.

    corners: int16 [F, 9], triangle corners (stored position - 32768)
    colors: uint8 [F, 3]; labels: uint8 [sum F * L]
    cumulative_area: float64 [F], inclusive, over all shapes
    face_starts: int64 [S + 1]; label_starts: int64 [S]; labeling_counts: int64 [S]
    repository: int64 [S], index of each shape's source; repositories: their names
    pose_share: float64 [S], 1 / number of poses of each shape's model
    labeling_kind: int64 [S, L], what each labeling is, -1 beyond the shape's last; kinds: their names
    regions: the crease regions of the shapes; None where the network does not ask for them
    """

    corners: Tensor
    colors: Tensor
    labels: Tensor
    cumulative_area: Tensor
    face_starts: Tensor
    label_starts: Tensor
    labeling_counts: Tensor
    repository: Tensor
    repositories: tuple[str, ...]
    pose_share: Tensor
    labeling_kind: Tensor
    kinds: tuple[str, ...]
    regions: StoredRegions | None = None

    def __len__(self) -> int:
        return len(self.labeling_counts)

    @classmethod
    def from_shapes(
        cls,
        shapes: ShapeSet,
        *,
        regions: StoredRegions | None = None,
        device: torch.device | str = "cpu",
    ) -> MeshStore:
        """Build the tensors and move them to `device`; shapes without area are left out.

        Raises DataError if no shape has area.
        """
        corners = _corner_soup(shapes, device)
        cumulative_area = torch.cumsum(_areas(corners), dim=0)
        keep = _with_area(cumulative_area, shapes)
        if len(keep) < len(shapes):
            if regions is not None:
                kept = torch.from_numpy(np.isin(np.arange(len(shapes)), keep))
                regions = regions.subset(kept, torch.from_numpy(shapes.face_counts))
            return cls.from_shapes(shapes.subset(keep), regions=regions, device=device)
        names = sorted({str(line.get("repo", "")) for line in shapes.info})
        number = {name: index for index, name in enumerate(names)}
        labeling_kind, kinds = _labeling_kinds(shapes)
        return cls(
            corners=corners,
            colors=_neutral_unknown(torch.from_numpy(shapes.colors)).to(device),
            labels=torch.from_numpy(shapes.labels).to(device),
            cumulative_area=cumulative_area,
            face_starts=torch.from_numpy(shapes.face_starts).to(device),
            label_starts=torch.from_numpy(shapes.label_starts[:-1].copy()).to(device),
            labeling_counts=torch.from_numpy(shapes.labeling_counts).to(device),
            repository=torch.tensor(
                [number[str(line.get("repo", ""))] for line in shapes.info], device=device
            ),
            repositories=tuple(names),
            pose_share=torch.from_numpy(_pose_shares(shapes)).to(device),
            labeling_kind=torch.from_numpy(labeling_kind).to(device),
            kinds=kinds,
            regions=None if regions is None else regions.to(device),
        )

    def to(self, device: torch.device | str) -> MeshStore:
        """The store on another device."""
        moved: dict[str, Any] = {
            entry.name: value.to(device)
            for entry in fields(self)
            if isinstance(value := getattr(self, entry.name), Tensor | StoredRegions)
        }
        return replace(self, **moved)

    @property
    def device(self) -> torch.device:
        return self.corners.device

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        values = (getattr(self, field.name) for field in fields(self))
        return sum(value.nbytes for value in values if isinstance(value, Tensor | StoredRegions))

    def sample_points(self, shape_ids: Tensor, count: int) -> SurfacePoints:
        """`count` area-uniform points from each of the shapes `shape_ids` [B], in random order.

        Stratified over each shape's area (one draw in each of `count` equal strata), as at inference,
        and shuffled, so that any prefix is a sample, too.
        """
        faces = self._draw_faces(shape_ids, count)
        corner = (self.corners[faces].float() + 32768) / POSITION_SCALE - 1
        first, second, third = corner.view(*faces.shape, 3, 3).unbind(dim=-2)
        u, v = torch.rand((2, *faces.shape, 1), device=self.device).unbind(0)
        fold = (u + v > 1).float()
        u, v = torch.lerp(u, 1 - u, fold), torch.lerp(v, 1 - v, fold)
        edge_u, edge_v = second - first, third - first
        normals = torch.nn.functional.normalize(torch.linalg.cross(edge_u, edge_v), dim=-1, eps=1e-20)
        return SurfacePoints(
            points=first + u * edge_u + v * edge_v,
            normals=normals,
            colors=self.colors[faces].float() / 255,
            faces=faces,
        )

    def shape_areas(self, shape_ids: Tensor) -> Tensor:
        """Surface area of each shape in the stored cube, float64, in the shape of `shape_ids`."""
        _, base, top = self._area_interval(shape_ids)
        return top - base

    def part_ids(self, shape_ids: Tensor, faces: Tensor, labeling: Tensor) -> Tensor:
        """Part of each face under its shape's labeling number `labeling` [B]: int64 [B, N], -1 = unlabelled.

        shape_ids: int64 [B]; faces: int64 [B, N], indices into the store's faces
        """
        start = self.face_starts[shape_ids]
        face_count = self.face_starts[shape_ids + 1] - start
        row = self.label_starts[shape_ids] + labeling * face_count
        label = self.labels[row[:, None] + faces - start[:, None]].long()
        return torch.where(label == UNLABELLED, -1, label)

    def atoms(self, faces: Tensor, known: Tensor) -> Tensor:
        """Atom of the crease regions at each face: int64 [B, N]; 0 where `known` bool [B] says no.

        faces: int64 [B, N], indices into the store's faces
        """
        assert self.regions is not None, "a store without regions"
        return torch.where(known[:, None], self.regions.atoms[faces].long(), 0)

    def _draw_faces(self, shape_ids: Tensor, count: int) -> Tensor:
        start, base, top = self._area_interval(shape_ids)
        end = self.face_starts[shape_ids + 1]
        shape = (len(shape_ids), count)
        order = torch.rand(shape, device=self.device).argsort(dim=1)
        stratum = (order + torch.rand(shape, device=self.device, dtype=torch.float64)) / count
        area = base[:, None] + stratum * (top - base)[:, None]
        faces = torch.searchsorted(self.cumulative_area, area, right=True)
        return torch.minimum(torch.maximum(faces, start[:, None]), end[:, None] - 1)

    def _area_interval(self, shape_ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """First face, and cumulative area before it and at the end, of each shape."""
        start = self.face_starts[shape_ids]
        base = torch.where(start > 0, self.cumulative_area[(start - 1).clamp(min=0)], 0.0)
        return start, base, self.cumulative_area[self.face_starts[shape_ids + 1] - 1]


def _corner_soup(shapes: ShapeSet, device: torch.device | str) -> Tensor:
    """Corner positions, int16 [F, 9]. Gathered on the device, where it takes no time."""
    # Flipping the top bit of an unsigned 16-bit number and reading it as signed subtracts 32768.
    vertices = torch.from_numpy((shapes.vertices ^ np.uint16(0x8000)).view(np.int16)).to(device)
    faces = torch.from_numpy(shapes.faces.astype(np.int32)).to(device)
    starts = torch.from_numpy(shapes.vertex_starts[:-1].astype(np.int32)).to(device)
    shift = torch.repeat_interleave(starts, torch.from_numpy(shapes.face_counts).to(device))
    return vertices[(faces + shift[:, None]).flatten()].view(-1, 9)


def _labeling_kinds(shapes: ShapeSet) -> tuple[np.ndarray, tuple[str, ...]]:
    """Index of the name of each labeling, int64 [S, largest L], and the names; unnamed ones are ""."""
    table = np.full((len(shapes), int(shapes.labeling_counts.max())), -1, dtype=np.int64)
    number: dict[str, int] = {}
    for row, (line, count) in enumerate(zip(shapes.info, shapes.labeling_counts, strict=True)):
        names = [*map(str, line.get("names", [])), *[""] * int(count)][: int(count)]
        table[row, : int(count)] = [number.setdefault(name, len(number)) for name in names]
    return table, tuple(number)


def _pose_shares(shapes: ShapeSet) -> np.ndarray:
    """1 / number of poses of the model that each shape is one of, float64 [S].

    Fused versions are counted by themselves, and a shape that is listed twice counts twice.
    """
    keys = []
    poses: dict[tuple[object, ...], set[str]] = {}
    for line in shapes.info:
        path = str(line.get("path", ""))
        keys.append((line.get("repo"), path.partition("@")[0], "fused" in line))
        poses.setdefault(keys[-1], set()).add(path)
    return np.array([1 / len(poses[key]) for key in keys])


def _areas(corners: Tensor, *, rows: int = 1 << 20) -> Tensor:
    """Face areas in float64 [F], in blocks that bound the memory."""
    areas = []
    for block in corners.split(rows):
        first, second, third = (block.double() / POSITION_SCALE).view(-1, 3, 3).unbind(dim=1)
        areas.append(torch.linalg.cross(second - first, third - first).norm(dim=1) / 2)
    return torch.cat(areas)


def _neutral_unknown(colors: Tensor) -> Tensor:
    """The network's neutral grey where the shards say that the colour is unknown."""
    unknown = (colors == UNKNOWN_COLOR).all(dim=1, keepdim=True)
    return torch.where(unknown, round(NEUTRAL_GREY * 255), colors.int()).to(torch.uint8)


def _with_area(cumulative_area: Tensor, shapes: ShapeSet) -> np.ndarray:
    """Indices of the shapes that have surface area. Raises DataError if none has."""
    totals = np.diff(cumulative_area.cpu().numpy()[shapes.face_starts[1:] - 1], prepend=0)
    keep = np.flatnonzero(totals > 1e-8)
    if not len(keep):
        raise DataError("no shape has surface area; check the shards")
    return keep
