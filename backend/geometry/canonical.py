# SPDX-License-Identifier: GPL-3.0-or-later
"""An order of a mesh's faces and corners that follows its shape, not its file.

The same for faces and vertices in any order, and for a mesh that was turned by right angles or mirrored
along its axes: what is drawn in this order falls on the same places.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .rows import FloatArray, bounds

IntArray = NDArray[np.integer]

GRID_BITS = 30
"""Places are rounded to this power of two along the longest side, so that the last digits decide nothing."""
GRID_BITS_IN_CELL = 10
"""Cells of the curve are so much coarser; faces within one cell are told apart by their place."""
CORNER_AXES = np.array([1.0, 1.6180339887, 2.6180339887])
"""Corners are ordered along this direction of the canonical frame; few edges are at a right angle to it."""


@dataclass(frozen=True)
class CanonicalOrder:
    """faces: int32 [F], faces along a space-filling curve; corners: int8 [F, 3], of each face, in order"""

    faces: NDArray[np.int32]
    corners: NDArray[np.int8]


def canonical_order(vertices: FloatArray, triangles: IntArray, areas: FloatArray) -> CanonicalOrder:
    """Order faces along a Morton curve in a frame of the mesh's own.

    vertices: float64 [V, 3]; triangles: int [F, 3]; areas: float64 [F], of the faces

    The frame's axes are the mesh's, the longest extent first, each pointing where the surface reaches
    farther from the middle of the bounding box (by the third moment).
    """
    first, second, third = triangles.T
    sums = vertices.take(first, axis=0)  # three times the centroids, without a rounding of their own
    sums += vertices.take(second, axis=0)
    sums += vertices.take(third, axis=0)
    axes, signs, middle = _frame(sums, areas)
    sums -= middle
    faces = _along_curve(_rounded(sums[:, axes] * signs))
    with np.errstate(invalid="ignore", over="ignore"):  # vertices that no face uses may be anything
        along = ((vertices - middle / 3)[:, axes] * signs) @ CORNER_AXES
    heights = _rounded(along[triangles].reshape(-1, 1)).reshape(-1, 3)
    return CanonicalOrder(faces, np.argsort(heights, axis=1, kind="stable").astype(np.int8))


def _along_curve(places: IntArray) -> NDArray[np.int32]:
    """Order of grid places int64 [F, 3] by their cells along the curve, then by the places themselves."""
    cells = morton(places >> GRID_BITS_IN_CELL)
    order = np.argsort(cells)
    tied = np.zeros(len(order), dtype=bool)
    same = np.diff(cells[order]) == 0
    tied[1:] |= same
    tied[:-1] |= same
    rows = order[tied]
    order[tied] = rows[np.lexsort([rows, *places[rows].T[::-1], cells[rows]])]
    return order.astype(np.int32)


def _rounded(values: FloatArray) -> IntArray:
    """Values [N, D] on a grid from the lowest of each column, of one step for all: int64 [N, D]."""
    heights = values - bounds(values)[0]
    highest = float(heights.max())
    if highest <= 0:
        return np.zeros(values.shape, dtype=np.int64)
    return np.rint(heights / highest * 2**GRID_BITS).astype(np.int64)


def _frame(places: FloatArray, areas: FloatArray) -> tuple[IntArray, FloatArray, FloatArray]:
    """Axes int [3] in canonical order, their signs float [3], and the middle float64 [3] in the mesh's axes.

    places: float64 [F, 3] of the faces
    """
    columns = places.T.copy()
    low, high = bounds(places)
    middle = (low + high) / 2
    extent = high - low
    largest = max(float(extent.max()), 1e-100)
    offsets = (columns - middle[:, None]) / largest
    weights = areas / max(areas.sum(), 1e-300)
    squares = offsets**2
    axes, signs = canonical_axes(extent / largest, squares @ weights, (squares * offsets) @ weights)
    return axes, signs, middle


def canonical_axes(extent: FloatArray, spread: FloatArray, skew: FloatArray) -> tuple[IntArray, FloatArray]:
    """Axes int [3] in canonical order, and their signs float [3], from the extent of the faces' places and
    the second and third moment of the surface [3 each], relative to the longest extent."""
    # Rounded, as sums depend on the order of the faces in their last digits.
    axes = np.lexsort([-np.round(spread, 9), -np.round(extent, 9)])
    return axes, np.where(skew < -1e-9, -1.0, 1.0)[axes]


def morton(cells: Any) -> Any:
    """Morton codes int64 [F] of cells [F, 3], an array or a tensor."""
    return (_spaced(cells[:, 0]) << 2) | (_spaced(cells[:, 1]) << 1) | _spaced(cells[:, 2])


def _spaced(spaced: Any) -> Any:
    """The bits of each value with two zeros between them."""
    for shift, mask in (
        (32, 0x1F00000000FFFF),
        (16, 0x1F0000FF0000FF),
        (8, 0x100F00F00F00F00F),
        (4, 0x10C30C30C30C30C3),
        (2, 0x1249249249249249),
    ):
        spaced = (spaced | (spaced << shift)) & mask
    return spaced
