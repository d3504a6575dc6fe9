# SPDX-License-Identifier: GPL-3.0-or-later
"""Which triangles lie under a pixel, by projecting the whole surface once for each view.

Building a tree for ray casts takes a second for a million triangles and would freeze Blender; projecting
all vertices takes a few hundredths, and every hit along the ray comes with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..mesh_exchange.arrays import BoolArray, FloatArray, IntArray

_SMALLEST_W = 1e-6
"""Clip-space w below which a vertex is behind the viewer."""

_MARGIN = 1e-7
"""By how much a ray may pass outside of a triangle, so that none slips through between two."""


@dataclass(frozen=True)
class Projection:
    """From object space to the pixels of a region.

    matrix: float64 [4, 4], object space to clip space
    size: width and height of the region in pixels
    """

    matrix: FloatArray
    size: tuple[int, int]

    def equals(self, other: Projection) -> bool:
        """Whether both show the same."""
        return self.size == other.size and bool(np.array_equal(self.matrix, other.matrix))

    def to_pixels(self, points: FloatArray) -> FloatArray:
        """Pixels float64 [N, 2] of object-space points [N, 3]; NaN for those behind the viewer."""
        clip = points.astype(np.float64) @ self.matrix[:, :3].T + self.matrix[:, 3]
        w = np.where(clip[:, 3] > _SMALLEST_W, clip[:, 3], np.nan)
        pixels: FloatArray = (clip[:, :2] / w[:, None] * 0.5 + 0.5) * np.array(self.size)
        return pixels

    def ray(self, x: float, y: float) -> tuple[FloatArray, FloatArray]:
        """Two object-space points [3] under a pixel: on the near and on the far end of what is shown."""
        inverse = np.linalg.inv(self.matrix)
        across, up = 2 * x / self.size[0] - 1, 2 * y / self.size[1] - 1
        ends = np.array([[across, up, -1, 1], [across, up, 1, 1]]) @ inverse.T
        ends = ends[:, :3] / ends[:, 3:]
        return ends[0], ends[1]


@dataclass(frozen=True)
class Hit:
    """A place where a ray meets the surface.

    weights: float64 [3], of the triangle's corners; sum to 1
    distance: along the ray, 0 at its near and 1 at its far end
    """

    triangle: int
    weights: FloatArray
    distance: float


class ScreenIndex:
    """A surface as seen in one view: float [V, 3] positions, int [T, 3] triangles."""

    def __init__(self, positions: FloatArray, triangles: IntArray, projection: Projection) -> None:
        self.projection = projection
        self._positions, self._triangles = positions, triangles
        matrix = projection.matrix.astype(np.float32)
        clip = positions @ matrix[[0, 1, 3], :3].T + matrix[[0, 1, 3], 3]
        in_front = clip[:, 2] > _SMALLEST_W
        w = np.where(in_front, clip[:, 2], 1)
        x = (clip[:, 0] / w * 0.5 + 0.5) * projection.size[0]
        y = (clip[:, 1] / w * 0.5 + 0.5) * projection.size[1]
        self._low_x, self._high_x = _extent(x, triangles)
        self._low_y, self._high_y = _extent(y, triangles)
        if not in_front.all():  # triangles that reach behind the viewer may be anywhere
            behind = ~in_front[triangles].all(axis=1)
            self._low_x[behind] = self._low_y[behind] = -np.inf
            self._high_x[behind] = self._high_y[behind] = np.inf

    def hits(self, x: float, y: float, shown: BoolArray | None = None) -> list[Hit]:
        """All hits under a pixel of the region, nearest first; none of an object that a scale of 0 makes
        flat. shown: bool [T], triangles that count."""
        if np.linalg.matrix_rank(self.projection.matrix) < 4:
            return []
        near = (self._low_x <= x + 0.5) & (self._high_x >= x - 0.5)
        candidates = np.flatnonzero(near)
        candidates = candidates[(self._low_y[candidates] <= y + 0.5) & (self._high_y[candidates] >= y - 0.5)]
        if shown is not None:
            candidates = candidates[shown[candidates]]
        start, end = self.projection.ray(x, y)
        distances, weights = intersect(start, end - start, self._positions, self._triangles[candidates])
        met = np.flatnonzero(np.isfinite(distances))
        met = met[np.argsort(distances[met], kind="stable")]
        return [
            Hit(int(candidates[index]), weights[index], float(distances[index])) for index in met.tolist()
        ]


def intersect(
    start: FloatArray, direction: FloatArray, positions: FloatArray, triangles: IntArray
) -> tuple[FloatArray, FloatArray]:
    """Where a ray meets each of K triangles: distance float64 [K] in lengths of `direction` (infinite where
    it does not within 0..1) and the weights of the corners, float64 [K, 3].

    After T. Möller and B. Trumbore, "Fast, Minimum Storage Ray/Triangle Intersection", 1997.
    """
    corners = positions[triangles].astype(np.float64)
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    across = np.cross(direction, second)
    determinant = np.einsum("ij,ij->i", first, across)
    with np.errstate(divide="ignore", invalid="ignore"):
        from_corner = start - corners[:, 0]
        u = np.einsum("ij,ij->i", from_corner, across) / determinant
        turned = np.cross(from_corner, first)
        v = turned @ direction / determinant
        distance = np.einsum("ij,ij->i", turned, second) / determinant
        inside = (u >= -_MARGIN) & (v >= -_MARGIN) & (u + v <= 1 + _MARGIN)
        met = inside & (distance >= 0) & (distance <= 1)
        weights = np.stack([1 - u - v, u, v], axis=1)
    return np.where(met, distance, np.inf), weights


def _extent(values: FloatArray, triangles: IntArray) -> tuple[FloatArray, FloatArray]:
    """Smallest and largest of `values` [V] at the corners of each triangle."""
    a, b, c = (values[triangles[:, corner]] for corner in range(3))
    return np.minimum(np.minimum(a, b), c), np.maximum(np.maximum(a, b), c)
