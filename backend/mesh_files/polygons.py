# SPDX-License-Identifier: GPL-3.0-or-later
"""Polygons to triangles, and per-corner data to per-vertex data."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def fan_corners(sizes: NDArray[np.integer]) -> NDArray[np.int64]:
    """Split polygons into fans around their first corner.

    sizes: int [N], corners of each polygon; those with fewer than three give no triangle

    Returns positions int64 [T, 3] in the flat list of all corners, polygon after polygon. Exact for
    convex polygons; trimesh's own splitting is not used because it reorders the faces.
    """
    sizes = np.asarray(sizes, dtype=np.int64)
    counts = np.maximum(sizes - 2, 0)
    first = np.repeat(np.cumsum(sizes) - sizes, counts)
    step = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.column_stack([first, first + step + 1, first + step + 2])


def split_vertices(
    corners: NDArray[np.integer], data: NDArray[np.floating]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.floating]]:
    """Give each distinct (vertex, data) pair a vertex of its own, as glTF needs.

    corners: int [C], vertex of each corner; data: float [C, n] of each corner

    Returns (new vertex of each corner [C], old vertex of each new one [V], data of each new one [V, n]).
    """
    _, data_ids = np.unique(data, axis=0, return_inverse=True)
    keys = corners.astype(np.int64) * (int(data_ids.max(initial=0)) + 1) + data_ids.reshape(-1)
    _, first, new = np.unique(keys, return_index=True, return_inverse=True)
    return new.reshape(-1), corners[first].astype(np.int64), data[first]
