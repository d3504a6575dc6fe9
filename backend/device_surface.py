# SPDX-License-Identifier: GPL-3.0-or-later
"""A mesh's surface on a device: what `geometry` computes with numpy, computed by the device.

Same samples: random numbers are drawn as there, arithmetic is in double precision in the same order and
without fused operations, and what depends on the order of a sum is summed by numpy. Divisors are tensors, as
torch multiplies by the reciprocal of a number on a graphics card, which rounds differently.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from .geometry import NEUTRAL_GREY, Mesh, PointSample, validate_mesh
from .geometry.canonical import (
    CORNER_AXES,
    GRID_BITS,
    GRID_BITS_IN_CELL,
    CanonicalFrame,
    frame_of_moments,
    morton,
)
from .geometry.mesh import LARGEST_COORDINATE, FloatArray, IntArray
from .geometry.sampling import draw


class DeviceSurface:
    """The faces of a mesh on a device that has double precision; everything is computed once.

    Raises MeshError for meshes that cannot be segmented.
    """

    def __init__(self, mesh: Mesh, device: str) -> None:
        self.mesh = mesh
        if mesh.face_count == 0:
            validate_mesh(mesh)
        self._vertices = _moved(mesh.vertices, device)
        self._triangles = _moved(mesh.triangles, device).long()
        self.frame, self._middle = self._checked_frame()
        self._signs = _moved(self.frame.signs, device)

    @property
    def face_count(self) -> int:
        return len(self._triangles)

    @cached_property
    def _area_vectors(self) -> Tensor:
        """As `Mesh.area_vectors`."""
        origin, first, second = self._corners
        first, second = first - origin, second - origin
        return first[:, _NEXT] * second[:, _PREVIOUS] - first[:, _PREVIOUS] * second[:, _NEXT]

    @cached_property
    def areas(self) -> Tensor:
        """Areas of the faces, float64 [F]."""
        return 0.5 * _lengths(self._area_vectors)

    @cached_property
    def _sums(self) -> Tensor:
        """Of the corners of each face: three times the centroids."""
        origin, first, second = self._corners
        return origin + first + second

    @property
    def _corners(self) -> tuple[Tensor, Tensor, Tensor]:
        origin, first, second = (self._vertices[corner] for corner in self._triangles.T)
        return origin, first, second

    def normals(self, faces: Tensor | slice = slice(None)) -> Tensor:
        """Unit normals of faces int64 [n], float64 [n, 3]; degenerate faces get (0, 0, 0)."""
        vectors = self._area_vectors[faces]
        length = _lengths(vectors)[:, None]
        return torch.where(length > 0, vectors / length, torch.zeros_like(vectors))

    def centroids(self, faces: Tensor | slice = slice(None)) -> Tensor:
        """Of faces int64 [n], float64 [n, 3]."""
        return self._sums[faces] / _number(3, self._sums)

    @cached_property
    def longest_side(self) -> Tensor:
        """Of the box around the centroids, float64 []."""
        low, high = torch.aminmax(self.centroids(), dim=0)
        return (high - low).max()

    @cached_property
    def order(self) -> Tensor:
        """Faces in canonical order (`geometry.canonical`), int64 [F]."""
        places = _on_grid((self._sums - self._middle)[:, self._axes] * self._signs)
        in_cell = places & ((1 << GRID_BITS_IN_CELL) - 1)
        places >>= GRID_BITS_IN_CELL
        by_place = in_cell[:, 0]
        for axis in (1, 2):
            by_place = (by_place << GRID_BITS_IN_CELL) | in_cell[:, axis]
        order = by_place.argsort(stable=True)
        return order[morton(places)[order].argsort(stable=True)]

    @cached_property
    def cumulative_areas(self) -> Tensor:
        """Of the faces in canonical order, float64 [F]; summed one by one, as numpy does."""
        areas = self.areas[self.order].cpu().numpy()
        return _moved(np.cumsum(areas), self.areas.device)

    def sample(self, count: int, *, seed: int = 0) -> PointSample:
        """The same points as `sample_surface`."""
        strata, shuffle, weights = (_moved(numbers, self.areas.device) for numbers in draw(count, seed))
        cumulative = self.cumulative_areas / self.cumulative_areas[-1]
        steps = torch.searchsorted(cumulative, strata, right=True).clamp_(max=self.face_count - 1)
        faces = self.order[steps][shuffle]
        barycentric = torch.empty_like(weights).scatter_(1, self._corner_order(faces), weights)
        places = [
            self._vertices[corner] * weight[:, None]
            for corner, weight in zip(self._triangles[faces].T, barycentric.T, strict=True)
        ]
        numbers = faces.int().cpu().numpy()
        colors = self.mesh.face_colors
        return PointSample(
            points=(places[0] + places[1] + places[2]).cpu().numpy(),
            normals=self.normals(faces).float().cpu().numpy(),
            colors=np.full((count, 3), NEUTRAL_GREY, np.float32) if colors is None else colors[numbers],
            faces=numbers,
            barycentric=barycentric.float().cpu().numpy(),
        )

    def spread(self, count: int) -> Tensor:
        """Distinct faces at equal steps of the area, bool [F]; `count` or fewer are true."""
        cumulative = self.cumulative_areas
        shares = (torch.arange(count, device=cumulative.device) + 0.5).double() / _number(count, cumulative)
        steps = torch.searchsorted(cumulative, shares * cumulative[-1]).clamp_(max=self.face_count - 1)
        chosen = torch.zeros(self.face_count, dtype=torch.bool, device=cumulative.device)
        return chosen.index_fill_(0, self.order[steps], True)

    def _corner_order(self, faces: Tensor) -> Tensor:
        """The corners of faces int64 [n] in canonical order, int64 [n, 3]."""
        return self._corner_heights[self._triangles[faces]].argsort(dim=1, stable=True)

    @cached_property
    def _corner_heights(self) -> Tensor:
        """Of the vertices, int64 [V]; of those that no face uses it may be anything."""
        middle = self._middle / _number(3, self._middle)
        offsets = (self._vertices - middle)[:, self._axes] * self._signs
        x, y, z = (offsets[:, axis] * CORNER_AXES[axis] for axis in range(3))
        heights = x + y + z
        used = torch.zeros_like(heights, dtype=torch.bool).index_fill_(0, self._triangles.flatten(), True)
        lowest = heights.masked_fill(~used, torch.inf).min()
        return _on_grid((heights - lowest).masked_fill_(~used, 0.0)[:, None])[:, 0]

    @property
    def _axes(self) -> list[int]:
        axes: list[int] = self.frame.axes.tolist()
        return axes

    def _checked_frame(self) -> tuple[CanonicalFrame, Tensor]:
        """The canonical frame, and three times its middle, float64 [3]. Checks the mesh on the way: what the
        CPU has to know of it comes from the device in one piece."""
        lowest, highest = torch.stack(self._corners).flatten(0, 1).aminmax(dim=0)
        unseen = (self.areas <= 0)[:, None]
        low = self._sums.masked_fill(unseen, torch.inf).amin(dim=0)
        high = self._sums.masked_fill(unseen, -torch.inf).amax(dim=0)
        middle = (low + high) / 2
        largest = (high - low).max().clamp(min=1e-100)
        offsets = ((self._sums - middle) / largest).clamp_(-1, 1)  # those without area may lie anywhere
        total = self.areas.sum()
        weights = self.areas / total.clamp(min=1e-300)
        squares = offsets.square()
        facts = (lowest, highest, (high - low) / largest, weights @ squares, weights @ (squares * offsets))
        rows = torch.stack([*facts, total.expand(3)]).cpu().numpy()
        if not _surely_sane(rows[0], rows[1], float(rows[5, 0])):
            validate_mesh(self.mesh)
        return frame_of_moments(rows[2], rows[3], rows[4]), middle


_NEXT, _PREVIOUS = [1, 2, 0], [2, 0, 1]


def _surely_sane(low: FloatArray, high: FloatArray, area: float) -> bool:
    """Whether `validate_mesh` need not be asked; by the box of the used vertices and the total area."""
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        return False
    extent = float((high - low).max())
    return max(-low.min(), high.max()) <= LARGEST_COORDINATE and area > 2e-14 * extent**2 > 0


def _on_grid(values: Tensor) -> Tensor:
    """Values [N, D] on the canonical grid, of one step for all columns: int64 [N, D]."""
    heights = values - values.amin(dim=0)
    highest = heights.max()
    highest = torch.where(highest > 0, highest, torch.ones_like(highest))
    return (heights / highest * 2**GRID_BITS).round().long()


def _lengths(rows: Tensor) -> Tensor:
    """As `geometry.rows.lengths`."""
    x, y, z = rows.square().T
    return (x + y + z).sqrt()


def _number(value: float, like: Tensor) -> Tensor:
    return like.new_tensor(value)


def _moved(array: FloatArray | IntArray, device: str | torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).to(device)
