# SPDX-License-Identifier: GPL-3.0-or-later
"""Nearest neighbours among places, and among places that face somewhere: exact, by trees on the CPU."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from .geometry.mesh import FloatArray, IntArray
from .threads import search_threads

NORMAL_SHARE = 0.08
"""Two places whose normals differ by 1 count as far apart as this share of the shape's longest side: about
what separates patches (`NetworkConfig.normal_distance`)."""

_AT_ONCE = 1 << 18


def nearest(locations: FloatArray, queries: FloatArray) -> IntArray:
    """Index int32 [Q] of the nearest of locations [S, D] to each of queries [Q, D]."""
    return nearest_several(locations, queries, 1)[1][:, 0].astype(np.int32)


def nearest_several(
    locations: FloatArray, queries: FloatArray, count: int, *, within: float = np.inf
) -> tuple[FloatArray, IntArray]:
    """Distances float64 and indices int64 [Q, count] of the nearest of locations [S, D] to each of queries
    [Q, D], nearest first; count <= S. Where fewer are nearer than `within`: distance inf, index S."""
    tree, workers = cKDTree(locations), search_threads(len(queries))
    # A list keeps scipy from dropping the second axis where `count` is 1.
    distance, index = tree.query(
        queries, k=list(range(1, count + 1)), distance_upper_bound=within, workers=workers
    )
    return distance, index


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
    return np.concatenate([locations, NORMAL_SHARE * side * np.asarray(normals)], axis=1)
