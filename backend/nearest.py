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

_SOME = 32
_USUALLY_WITHIN = 2.0
"""Most places are nearer than so many times the median of some of them. To be told so saves a search a third
of its time; those that are farther are searched for again."""


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
    return FacedTree(locations, normals, side).nearest(queries, query_normals)


class FacedTree:
    """Places [S, 3] that face along unit normals [S, 3], to be searched; side: the shape's longest."""

    def __init__(self, locations: FloatArray, normals: FloatArray, side: float) -> None:
        self._tree = cKDTree(facing(locations, normals, side))
        self._side = side

    def nearest(self, queries: FloatArray, normals: FloatArray) -> IntArray:
        """Index int32 [Q] of the nearest place to each of queries [Q, 3] with normals [Q, 3]."""
        asked = facing(queries, normals, self._side)
        within = _USUALLY_WITHIN * float(np.median(self._tree.query(asked[::_SOME])[0])) if len(asked) else 0
        found = self._tree.query(asked, distance_upper_bound=within, workers=search_threads(len(asked)))[1]
        farther = np.flatnonzero(found == self._tree.n)
        found[farther] = self._tree.query(asked[farther], workers=search_threads(len(farther)))[1]
        return found.astype(np.int32)


def facing(locations: FloatArray, normals: FloatArray, side: float) -> FloatArray:
    """Places in which the two sides of a thin sheet are apart, float [N, 6].

    locations, normals (unit): [N, 3]; side: the shape's longest, in units of the locations
    """
    return np.concatenate([locations, NORMAL_SHARE * side * np.asarray(normals)], axis=1)
