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
        group_of = _join(scaled, side)
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


def _join(scaled: FloatArray, side: int) -> IntArray:
    """Components of "in one cell of any of the grids", int64 [V]. scaled: float64 [3, V], in cells"""
    count = scaled.shape[1]
    pairs, first_of_place = _alike(_cell_keys(scaled, 0, side), scaled)
    found = [] if pairs is None else [pairs]
    places = scaled if first_of_place is None else scaled.take(first_of_place, axis=1)
    for shift in range(1, 4):
        pairs, _ = _alike(_cell_keys(places, shift / 4, side))
        if pairs is not None:
            found.append(pairs if first_of_place is None else first_of_place[pairs])
    if not found:
        return np.arange(count)
    return connected_nodes(count, np.concatenate(found)).astype(np.int64)


def _alike(key: IntArray, scaled: FloatArray | None = None) -> tuple[IntArray | None, IntArray | None]:
    """Pairs int64 [E, 2] that join all with equal `key` int64 [V]; and vertices int64 [P] among which is one
    at each of the places `scaled` [3, V], if given: those at equal places share every cell. None: no pairs,
    all vertices."""
    ordered = np.sort(key)  # takes a third of what finding the order does, and mostly nothing is equal
    if not (ordered[1:] == ordered[:-1]).any():
        return None, None
    order = np.argsort(key)
    same = np.flatnonzero(key[order[1:]] == key[order[:-1]])
    pairs = np.stack([order[same], order[same + 1]], axis=1)
    if scaled is None:
        return pairs, None
    again = np.ones(len(same), dtype=bool)
    first, second = np.ascontiguousarray(pairs.T)
    for axis in scaled:
        again &= axis.take(first) == axis.take(second)
    return pairs, np.delete(order, same[again] + 1)


def _group_equal_rows(vertices: FloatArray) -> IntArray:
    rows = vertices + 0.0  # -0.0 and 0.0 are one place
    order = np.lexsort(rows.T)
    starts = np.ones(len(rows), dtype=bool)
    starts[1:] = (rows[order[1:]] != rows[order[:-1]]).any(axis=1)
    group_of = np.zeros(len(rows), dtype=np.int64)
    group_of[order] = np.cumsum(starts) - 1
    return group_of
