# SPDX-License-Identifier: GPL-3.0-or-later
"""Nearest neighbours among places, and among places that face somewhere."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from ..geometry.mesh import FloatArray, IntArray

_NORMAL_SHARE = 0.08
"""Two places whose normals differ by 1 count as far apart as this share of the shape's longest side: about
what separates patches (`NetworkConfig.normal_distance`)."""

_AT_ONCE = 1 << 18


def nearest(locations: FloatArray, queries: FloatArray) -> IntArray:
    """Index int32 [Q] of the nearest of locations [S, D] to each of queries [Q, D]."""
    tree = cKDTree(locations)
    if len(queries) <= _AT_ONCE:
        return tree.query(queries, workers=-1)[1].astype(np.int32)
    steps = range(0, len(queries), _AT_ONCE)
    found = [tree.query(queries[i : i + _AT_ONCE], workers=-1)[1].astype(np.int32) for i in steps]
    return np.concatenate(found)


def facing(locations: FloatArray, normals: FloatArray, side: float) -> FloatArray:
    """Places in which the two sides of a thin sheet are apart, float [N, 6].

    locations, normals (unit): [N, 3]; side: the shape's longest, in units of the locations
    """
    return np.concatenate([locations, _NORMAL_SHARE * side * np.asarray(normals)], axis=1)
