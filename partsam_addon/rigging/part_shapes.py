# SPDX-License-Identifier: GPL-3.0-or-later
"""Size, place and axes of each part, and how far apart parts lie. Pure numpy on arrays of a mesh."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..mesh_exchange.arrays import FloatArray, IntArray


@dataclass(frozen=True)
class PartShape:
    """A part as a solid sheet.

    center: float64 [3], centre of area; area: of the surface
    axes: float64 [3, 3], principal axes as rows, the longest first; spread: float64 [3], standard
        deviations along them
    low, high: float64 [3], bounding box
    points: float64 [n, 3], all its vertices
    """

    center: FloatArray
    area: float
    axes: FloatArray
    spread: FloatArray
    low: FloatArray
    high: FloatArray
    points: FloatArray


def measure_parts(points: FloatArray, triangles: IntArray, labels: IntArray) -> dict[int, PartShape]:
    """Measure each part of a triangle mesh.

    points: float64 [V, 3]; triangles: int [T, 3]; labels: int [T]. Parts without area are measured by
    their vertices.
    """
    if len(labels) == 0:
        return {}
    order = np.argsort(labels, kind="stable")
    present, starts = np.unique(labels[order], return_index=True)
    parts = np.split(triangles[order], starts[1:])
    return {label: _measure(points, own) for label, own in zip(present.tolist(), parts, strict=True)}


def closest_points(first: PartShape, second: PartShape, *, samples: int) -> tuple[float, FloatArray]:
    """Distance between two parts and the point midway, by up to `samples` vertices of each."""
    a, b = _thin(first.points, samples), _thin(second.points, samples)
    squares = ((a[:, None] - b[None]) ** 2).sum(axis=2)
    i, j = np.unravel_index(int(np.argmin(squares)), squares.shape)
    return float(np.sqrt(squares[i, j])), (a[i] + b[j]) / 2


def _measure(points: FloatArray, triangles: IntArray) -> PartShape:
    corners = [points.take(triangles[:, k], axis=0) for k in range(3)]
    areas = _areas(*corners)
    is_used = np.zeros(len(points), dtype=bool)
    is_used[triangles] = True
    used = points[is_used]
    total = float(areas.sum())
    if total > 0:
        center = areas @ (corners[0] + corners[1] + corners[2]) / (3 * total)
        moment = _second_moment([corner - center for corner in corners], areas) / total
    else:
        center = used.mean(axis=0)
        moment = np.cov((used - center).T, bias=True)
    values, vectors = np.linalg.eigh(moment)
    return PartShape(
        center=center,
        area=total,
        axes=_signed(vectors.T[::-1]),
        spread=np.sqrt(np.maximum(values[::-1], 0)),
        low=used.min(axis=0),
        high=used.max(axis=0),
        points=used,
    )


def _areas(a: FloatArray, b: FloatArray, c: FloatArray) -> FloatArray:
    """Areas float64 [T] of triangles with these corners [T, 3] each."""
    (x, y, z), (u, v, w) = (b - a).T, (c - a).T
    areas: FloatArray = np.sqrt((y * w - z * v) ** 2 + (z * u - x * w) ** 2 + (x * v - y * u) ** 2) / 2
    return areas


def _second_moment(corners: list[FloatArray], areas: FloatArray) -> FloatArray:
    """Integral of x x^T over triangles, of three corners [T, 3], about the origin: exact."""
    moment = np.zeros((3, 3))
    for values in (*corners, corners[0] + corners[1] + corners[2]):
        moment += (values.T * areas) @ values
    return moment / 12


def _signed(axes: FloatArray) -> FloatArray:
    """Turn each axis so that its largest component is positive: the same in every run."""
    largest = axes[np.arange(3), np.argmax(np.abs(axes), axis=1)]
    return axes * np.where(largest < 0, -1.0, 1.0)[:, None]


def _thin(points: FloatArray, samples: int) -> FloatArray:
    return points[:: max(1, -(-len(points) // samples))]
