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
    corners = points[triangles]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    areas = np.linalg.norm(cross, axis=1) / 2
    used = points[np.unique(triangles)]
    total = float(areas.sum())
    if total > 0:
        center = (areas[:, None] * corners.mean(axis=1)).sum(axis=0) / total
        moment = _second_moment(corners - center, areas) / total
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


def _second_moment(corners: FloatArray, areas: FloatArray) -> FloatArray:
    """Integral of x x^T over triangles [T, 3, 3] about the origin: exact, from corners and their sum."""
    sums = corners.sum(axis=1)
    products = np.einsum("t,tki,tkj->ij", areas, corners, corners)
    return (products + np.einsum("t,ti,tj->ij", areas, sums, sums)) / 12


def _signed(axes: FloatArray) -> FloatArray:
    """Turn each axis so that its largest component is positive: the same in every run."""
    largest = axes[np.arange(3), np.argmax(np.abs(axes), axis=1)]
    return axes * np.where(largest < 0, -1.0, 1.0)[:, None]


def _thin(points: FloatArray, samples: int) -> FloatArray:
    return points[:: max(1, -(-len(points) // samples))]
