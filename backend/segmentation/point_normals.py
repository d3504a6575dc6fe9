# SPDX-License-Identifier: GPL-3.0-or-later
"""The surface under points: planes through their neighbours, wide enough for the noise, turned to look out.

M. Alexa et al., "Computing and Rendering Point Set Surfaces", TVCG 2003. Own code: the libraries that have it
(Open3D, PCL) are larger than the rest of the environment.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from ..geometry.mesh import FloatArray, IntArray
from ..threads import search_threads
from .orientation import outward_signs

_NEIGHBORS = 16
_WIDTHS = (16, 40, 100, 250)
"""Neighbours through which a plane is laid where points are exact."""
_NOISE_WIDTHS = (16, 40, 70, 100, 150, 200, 300, 400)
_FLAT = 4.5
"""In noise, neighbourhoods are wide enough if their radius is so many times what points are off the plane."""
_LARGEST_SHARE = 0.02
"""Of the points: a larger neighbourhood would be a part of the shape."""
_PROBES = 2000
_SOLID = 2.8
"""Below it points fill a volume (a ball that is full of them has 2.4, whatever its size)."""
_LEAST_SECOND_WIDTH = 60
_CLEARLY = 0.8
_CHUNK = 1 << 13
_NEIGHBORS_AT_ONCE = 1 << 20


def estimate_normals(points: FloatArray, *, at: IntArray | None = None) -> FloatArray:
    """Unit normals float32 [N, 3] of points [N, 3] on a surface, or only of the points `at` [M].

    Points without extent get any.
    """
    return surface_at(points, at=at)[1]


def surface_at(points: FloatArray, *, at: IntArray | None = None) -> tuple[FloatArray, FloatArray]:
    """The surface under the points `at` [M] of points [N, 3]: (positions float64 [M, 3], unit normals
    float32 [M, 3]).

    Exact points stay where they are. In noise they move onto planes through so many of their neighbours that
    the noise is thin beside them; these planes are weighted towards their middle.
    """
    points = np.asarray(points, dtype=np.float64)
    chosen = points if at is None else points[at]
    tree = cKDTree(points)
    width = _width_for_noise(tree, points)
    if width == _NOISE_WIDTHS[0]:
        normals = _flattest_normals(tree, points, chosen)
    else:
        moved, _ = _projected(tree, points, chosen, width)
        chosen, normals = _projected(cKDTree(moved), moved, moved, max(_LEAST_SECOND_WIDTH, width // 3))
    count = min(_NEIGHBORS + 1, len(chosen))
    near = cKDTree(chosen).query(chosen, k=count, workers=search_threads(len(chosen)))[1]
    signs = outward_signs(chosen, normals, near.reshape(len(chosen), count))
    return chosen, (normals * signs[:, None]).astype(np.float32)


def _width_for_noise(tree: cKDTree, points: FloatArray) -> int:
    """The least number of neighbours that are flat beside their radius, for half of the points at least.

    The largest where none are; the smallest where points fill a volume: that is structure, not noise.
    """
    probes = points[:: max(1, len(points) // _PROBES)]
    flatness: list[float] = []
    for width in _NOISE_WIDTHS:
        if width > _LARGEST_SHARE * len(points):
            break
        distance, near = tree.query(probes, k=width, workers=search_threads(len(probes)))
        offsets = points[near] - points[near].mean(axis=1, keepdims=True)
        least = np.linalg.eigvalsh(np.einsum("nki,nkj->nij", offsets, offsets))[:, 0] / (width - 3)
        off = np.sqrt(np.maximum(least, 0))
        flatness.append(float(np.median(distance[:, -1] / np.maximum(off, 1e-9 * distance[:, -1] + 1e-300))))
        if flatness[-1] >= _FLAT:
            return width
    is_surface = bool(flatness) and flatness[-1] > _SOLID
    return _NOISE_WIDTHS[len(flatness) - 1] if is_surface else _NOISE_WIDTHS[0]


def _projected(
    tree: cKDTree, points: FloatArray, chosen: FloatArray, width: int
) -> tuple[FloatArray, FloatArray]:
    """`chosen` [M, 3] on the planes through their neighbours, and the planes' normals, float64 [M, 3]."""
    width = min(width, len(points))
    moved, normals = np.empty_like(chosen), np.empty_like(chosen)
    step = max(1, _NEIGHBORS_AT_ONCE // width)
    for start in range(0, len(chosen), step):
        rows = slice(start, start + step)
        distance, near = tree.query(chosen[rows], k=width, workers=search_threads(step))
        weights = np.exp(-((distance / np.maximum(0.6 * distance[:, -1:], 1e-300)) ** 2))
        weights /= weights.sum(axis=1, keepdims=True)
        around = points[near]
        middle = np.einsum("nk,nki->ni", weights, around)
        offsets = (around - middle[:, None]) * np.sqrt(weights)[..., None]
        normal = np.linalg.eigh(np.matmul(offsets.transpose(0, 2, 1), offsets))[1][:, :, 0]
        height = np.einsum("ni,ni->n", chosen[rows] - middle, normal)
        moved[rows], normals[rows] = chosen[rows] - height[:, None] * normal, normal
    return moved, normals


def _flattest_normals(tree: cKDTree, points: FloatArray, chosen: FloatArray) -> FloatArray:
    """The direction in which the neighbours of each of `chosen` [M, 3] extend least, float64 [M, 3].

    Of several numbers of neighbours each takes the one with the least share of the variance along the normal
    (M. Pauly et al., "Efficient Simplification of Point-Sampled Surfaces", Visualization 2002), more of them
    only where they make it clearly less.
    """
    normals = np.tile([0.0, 0.0, 1.0], (len(chosen), 1))
    for start in range(0, len(chosen), _CHUNK):
        rows = np.arange(start, min(start + _CHUNK, len(chosen)))
        least = np.full(len(rows), np.inf)
        for neighbors in _WIDTHS:
            count = min(neighbors + 1, len(points))
            near = tree.query(chosen[rows], k=count, workers=search_threads(_CHUNK))[1]
            offsets = points[near.reshape(len(rows), count)]
            offsets = offsets - offsets.mean(axis=1, keepdims=True)
            variances, axes = np.linalg.eigh(np.einsum("nki,nkj->nij", offsets, offsets))
            share = variances[:, 0] / np.maximum(variances.sum(axis=1), 1e-300)
            better = share < _CLEARLY * least
            rows, least = rows[better], share[better]
            normals[rows] = axes[better, :, 0]
            if not len(rows) or count == len(points):
                break
    return normals
