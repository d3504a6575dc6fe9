# SPDX-License-Identifier: GPL-3.0-or-later
"""Nearest neighbours among places, and among places that face somewhere."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from ..geometry.mesh import FloatArray, IntArray
from ..threads import search_threads

_NORMAL_SHARE = 0.08
"""Two places whose normals differ by 1 count as far apart as this share of the shape's longest side: about
what separates patches (`NetworkConfig.normal_distance`)."""

_AT_ONCE = 1 << 18


def nearest(locations: FloatArray, queries: FloatArray) -> IntArray:
    """Index int32 [Q] of the nearest of locations [S, D] to each of queries [Q, D]."""
    return cKDTree(locations).query(queries, workers=search_threads(len(queries)))[1].astype(np.int32)


def nearest_faced(
    locations: FloatArray, normals: FloatArray, queries: FloatArray, query_normals: FloatArray, side: float
) -> IntArray:
    """`nearest` among places that face somewhere: locations [S, 3] and normals [S, 3], queries likewise.

    side: the shape's longest, as for `facing`
    """
    tree = cKDTree(facing(locations, normals, side))
    found = np.empty(len(queries), dtype=np.int32)
    for start in range(0, len(queries), _AT_ONCE):  # little memory, however many there are
        rows = slice(start, start + _AT_ONCE)
        asked = facing(queries[rows], query_normals[rows], side)
        found[rows] = tree.query(asked, workers=search_threads(len(asked)))[1]
    return found


def facing(locations: FloatArray, normals: FloatArray, side: float) -> FloatArray:
    """Places in which the two sides of a thin sheet are apart, float [N, 6].

    locations, normals (unit): [N, 3]; side: the shape's longest, in units of the locations
    """
    return np.concatenate([locations, _NORMAL_SHARE * side * np.asarray(normals)], axis=1)
