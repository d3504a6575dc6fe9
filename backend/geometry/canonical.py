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

from .rows import FloatArray, blocks, bounds

IntArray = NDArray[np.integer]

GRID_BITS = 30
"""Places are rounded to this power of two along the longest side, so that the last digits decide nothing."""
GRID_BITS_IN_CELL = 10
"""Cells of the curve are so much coarser; faces within one cell are told apart by their place."""
CORNER_AXES = np.array([1.0, 1.6180339887, 2.6180339887])
"""Corners are ordered along this direction of the canonical frame; few edges are at a right angle to it."""

_ORDER_OF_CODE = np.array(
    [[0, 1, 2], [0, 2, 1], [0, 1, 2], [2, 0, 1], [1, 0, 2], [0, 1, 2], [1, 2, 0], [2, 1, 0]], dtype=np.int8
)
"""Three values in order, by whether the second is below the first (4), the third below the first (2) and
below the second (1)."""


@dataclass(frozen=True)
class CanonicalFrame:
    """A frame of a shape's own.

    axes: int [3], those of the file, the longest first; signs: float [3], 1 or -1, where each points
    """

    axes: IntArray
    signs: FloatArray

    def turns(self) -> FloatArray:
        """Signed permutations float64 [6, 3, 3], one for each direction that may be up: it becomes the second
        axis, the longer of the others the first, and both of these point where the frame's do."""
        turns = np.zeros((6, 3, 3))
        for row, (place, up) in enumerate((place, up) for place in range(3) for up in (1.0, -1.0)):
            first, last = (other for other in range(3) if other != place)
            turns[row, [0, 1, 2], self.axes[[first, place, last]]] = self.signs[[first, place, last]]
            turns[row, 1] *= up
        return turns


@dataclass(frozen=True)
class CanonicalOrder:
    """faces: int32 [F], faces along a space-filling curve; corners: int8 [F, 3], of each face, in order
    frame: whose axes that curve follows
    """

    faces: NDArray[np.int32]
    corners: NDArray[np.int8]
    frame: CanonicalFrame


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
    frame, middle = _frame(sums, areas)
    axes, signs = frame.axes, frame.signs
    sums -= middle
    faces = _along_curve(_rounded(sums, axes, signs))
    with np.errstate(invalid="ignore", over="ignore"):  # vertices that no face uses may be anything
        along = ((vertices - middle / 3)[:, axes] * signs) @ CORNER_AXES
    return CanonicalOrder(faces, _corners_along(along, triangles), frame)


def _corners_along(along: FloatArray, triangles: IntArray) -> NDArray[np.int8]:
    """Corners of triangles int [F, 3] by the places `along` a line of all vertices, float64 [V]: int8 [F, 3];
    those that are rounded to the same place in the file's order."""
    used = np.zeros(len(along), dtype=bool)
    used[triangles] = True
    low, high = along[used].min(), along[used].max()
    with np.errstate(invalid="ignore", over="ignore"):
        heights = _on_grid(along - low, high - low)
    corners = np.empty((len(triangles), 3), dtype=np.int8)
    for rows in blocks(len(triangles)):
        first, second, third = heights.take(triangles[rows].T)
        code = 4 * (second < first) + 2 * (third < first) + 1 * (third < second)
        corners[rows] = _ORDER_OF_CODE.take(code, axis=0)
    return corners


def _along_curve(places: IntArray) -> NDArray[np.int32]:
    """Order of grid places int64 [F, 3] by their cells along the curve, then by the places themselves."""
    cells = np.empty(len(places), dtype=np.int64)
    for some in blocks(len(places)):
        cells[some] = morton(places[some] >> GRID_BITS_IN_CELL)
    order = np.argsort(cells)
    tied = np.zeros(len(order), dtype=bool)
    same = np.diff(cells[order]) == 0
    tied[1:] |= same
    tied[:-1] |= same
    rows = order[tied]
    order[tied] = rows[np.lexsort([rows, *places[rows].T[::-1], cells[rows]])]
    return order.astype(np.int32)


def _rounded(values: FloatArray, axes: IntArray, signs: FloatArray) -> IntArray:
    """Columns `axes` of values [N, 3], each times its sign, on a grid from the lowest of each, of one step
    for all: int64 [N, 3]."""
    low, high = bounds(values)
    lowest = np.minimum(low[axes] * signs, high[axes] * signs)
    highest = float((high - low).max())
    rounded = np.empty(values.shape, dtype=np.int64)
    for rows in blocks(len(values)):
        rounded[rows] = _on_grid(values[rows][:, axes] * signs - lowest, highest)
    return rounded


def _on_grid(heights: FloatArray, highest: float) -> IntArray:
    """Heights from 0 to the highest in steps of the grid, int64."""
    if highest <= 0:
        return np.zeros(heights.shape, dtype=np.int64)
    return np.rint(heights / highest * 2**GRID_BITS).astype(np.int64)


def frame_of_points(points: FloatArray) -> CanonicalFrame:
    """The frame of points [N, 3] that lie evenly on a surface."""
    return _frame(points, np.ones(len(points)))[0]


def _frame(places: FloatArray, areas: FloatArray) -> tuple[CanonicalFrame, FloatArray]:
    """The canonical frame, and the middle float64 [3] in the mesh's axes.

    places: float64 [F, 3] of the faces; those without area have no say, wherever they lie
    """
    seen = areas > 0
    low, high = bounds(places if seen.all() or not seen.any() else places[seen])
    middle = (low + high) / 2
    extent = high - low
    largest = max(float(extent.max()), 1e-100)
    total = max(areas.sum(), 1e-300)
    spread, skew = np.zeros(3), np.zeros(3)
    for rows in blocks(len(places)):
        # Clipped for the faces without area, which may lie anywhere; the others are within a half.
        offsets = np.clip((places[rows].T - middle[:, None]) / largest, -1, 1)
        weights, squares = areas[rows] / total, offsets**2
        spread += squares @ weights
        skew += (squares * offsets) @ weights
    return frame_of_moments(extent / largest, spread, skew), middle


def frame_of_moments(extent: FloatArray, spread: FloatArray, skew: FloatArray) -> CanonicalFrame:
    """The canonical frame from the extent of the faces' places and the second and third moment of the surface
    [3 each], relative to the longest extent."""
    # Rounded, as sums depend on the order of the faces in their last digits.
    axes = np.lexsort([-np.round(spread, 9), -np.round(extent, 9)])
    return CanonicalFrame(axes, np.where(skew < -1e-9, -1.0, 1.0)[axes])


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
