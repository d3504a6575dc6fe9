# SPDX-License-Identifier: GPL-3.0-or-later
"""Which vertices are the same place.

UV seams, hard normals and file formats split one place into several vertices. Adjacency must not see that.
"""

from __future__ import annotations

import numpy as np

from ..geometry.mesh import FloatArray, IntArray
from ..geometry.rows import bounds
from .components import connected_nodes

_SMALLEST_TOLERANCE = 2.0**-22
"""Below this share of the diagonal three cell numbers exceed one 64-bit key; then only equal places weld."""


def weld_vertices(vertices: FloatArray, *, tolerance: float) -> tuple[IntArray, FloatArray]:
    """Group vertices by position.

    vertices: float64 [V, 3], finite
    tolerance: vertices nearer than this share of the bounding box's diagonal always weld, those
        further apart than seven times that never directly; 0 welds equal positions only

    Returns the group of each vertex, int64 [V], and one position per group, float64 [G, 3].

    Memory is linear in V, however many vertices fall together: instead of looking for pairs, four
    grids of cell size 4 x tolerance, each shifted by one tolerance along the cube's diagonal, put
    vertices into cells. Each axis separates two near vertices in at most one of the four, so that at
    least one grid holds both in one cell.
    """
    low, high = bounds(vertices)
    diagonal = float(np.linalg.norm(high - low))
    if tolerance < _SMALLEST_TOLERANCE or diagonal == 0:
        group_of = _group_equal_rows(vertices)
    else:
        scaled = np.ascontiguousarray(((vertices - low) / (4 * tolerance * diagonal)).T)
        side = int(1 / (4 * tolerance)) + 3
        group_of = _join([_cell_keys(scaled, shift / 4, side) for shift in range(4)])
    positions = np.zeros((int(group_of.max()) + 1, 3))
    positions[group_of[::-1]] = vertices[::-1]  # the first vertex of a group gives its position
    return group_of, positions


def _cell_keys(scaled: FloatArray, shift: float, side: int) -> IntArray:
    """The cell of each vertex, int64 [V]. scaled: float64 [3, V], in cells"""
    key = np.zeros(scaled.shape[1], dtype=np.int64)
    for axis in scaled:
        key *= side
        key += (axis + shift).astype(np.int64)
    return key


def _join(keys: list[IntArray]) -> IntArray:
    """Components of "equal in any of the keys"."""
    count = len(keys[0])
    pairs = []
    for key in keys:
        ordered = np.sort(key)  # takes a third of what finding the order does, and mostly nothing is equal
        if not (ordered[1:] == ordered[:-1]).any():
            continue
        order = np.argsort(key)
        same = key[order[1:]] == key[order[:-1]]
        pairs.append(np.stack([order[:-1][same], order[1:][same]]))
    if not pairs:
        return np.arange(count)
    rows, columns = np.concatenate(pairs, axis=1)
    return connected_nodes(count, np.stack([rows, columns], axis=1)).astype(np.int64)


def _group_equal_rows(vertices: FloatArray) -> IntArray:
    rows = vertices + 0.0  # -0.0 and 0.0 are one place
    order = np.lexsort(rows.T)
    starts = np.ones(len(rows), dtype=bool)
    starts[1:] = (rows[order[1:]] != rows[order[:-1]]).any(axis=1)
    group_of = np.zeros(len(rows), dtype=np.int64)
    group_of[order] = np.cumsum(starts) - 1
    return group_of
