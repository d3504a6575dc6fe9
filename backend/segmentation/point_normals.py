# SPDX-License-Identifier: GPL-3.0-or-later
"""Normals of points: planes through their neighbours, turned so that neighbours agree and all look out.

H. Hoppe et al., "Surface Reconstruction from Unorganized Points", SIGGRAPH 1992. Own code: the libraries
that have it (Open3D, PCL) are larger than the rest of the environment.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree
from scipy.spatial import cKDTree

from ..geometry.mesh import FloatArray, IntArray

_NEIGHBORS = 16
_WIDTHS = (16, 40, 100, 250)
"""Neighbours through which a plane is laid."""
_CLEARLY = 0.8
_CHUNK = 1 << 13
_LEAST_WEIGHT = 1e-6
"""Of an edge of the spanning tree: scipy takes 0 for no edge."""


def estimate_normals(points: FloatArray, *, at: IntArray | None = None) -> FloatArray:
    """Unit normals float32 [N, 3] of points [N, 3] on a surface, or only of the points `at` [M].

    Each plane is as wide as makes it flattest for its width: narrow where points are exact, wider in noise.
    Each connected piece of the neighbour graph of these points is turned by itself, so that the points
    farthest from its middle look away from it. Points without extent get any.
    """
    points = np.asarray(points, dtype=np.float64)
    chosen = points if at is None else points[at]
    normals = _plane_normals(cKDTree(points), points, chosen)
    count = min(_NEIGHBORS + 1, len(chosen))
    near = cKDTree(chosen).query(chosen, k=count, workers=-1)[1].reshape(len(chosen), count)
    return _agreeing(chosen, normals, near).astype(np.float32)


def _plane_normals(tree: cKDTree, points: FloatArray, chosen: FloatArray) -> FloatArray:
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
            near = tree.query(chosen[rows], k=count, workers=-1)[1].reshape(len(rows), count)
            offsets = points[near]
            offsets = offsets - offsets.mean(axis=1, keepdims=True)
            variances, axes = np.linalg.eigh(np.einsum("nki,nkj->nij", offsets, offsets))
            share = variances[:, 0] / np.maximum(variances.sum(axis=1), 1e-300)
            better = share < _CLEARLY * least
            rows, least = rows[better], share[better]
            normals[rows] = axes[better, :, 0]
            if not len(rows) or count == len(points):
                break
    return normals


def _agreeing(points: FloatArray, normals: FloatArray, near: IntArray) -> FloatArray:
    """Flip normals along a spanning tree that crosses creases last, then each piece as a whole."""
    source = np.repeat(np.arange(len(points)), near.shape[1] - 1)
    target = near[:, 1:].reshape(-1)
    bend = 1 - np.abs(np.einsum("ni,ni->n", normals[source], normals[target]))
    shape = (len(points), len(points))
    # Duplicate entries would add up: each pair stands once, lower index first.
    low, high = np.minimum(source, target), np.maximum(source, target)
    _, once = np.unique(low * len(points) + high, return_index=True)
    keep = once[low[once] != high[once]]
    graph = coo_array((bend[keep] + _LEAST_WEIGHT, (low[keep], high[keep])), shape=shape).tocsr()
    tree = minimum_spanning_tree(graph)
    count, piece = connected_components(tree, directed=False)
    signs = np.ones(len(points))
    roots, middles = _outermost(points, piece, count)
    for root, middle in zip(roots, middles, strict=True):
        signs[root] = -1 if normals[root] @ (points[root] - middle) < 0 else 1
        order, parents = breadth_first_order(tree, root, directed=False)
        _spread_signs(signs, normals, order[1:], parents)
    return normals * signs[:, None]


def _outermost(points: FloatArray, piece: IntArray, count: int) -> tuple[IntArray, FloatArray]:
    """For each piece (its point that is farthest from its middle [count], its middle [count, 3])."""
    sizes = np.bincount(piece, minlength=count)
    middles = np.stack([np.bincount(piece, axis, count) for axis in points.T], axis=1) / sizes[:, None]
    distance = ((points - middles[piece]) ** 2).sum(axis=1)
    order = np.lexsort([distance, piece])
    return order[np.cumsum(sizes) - 1], middles


def _spread_signs(signs: FloatArray, normals: FloatArray, order: IntArray, parents: IntArray) -> None:
    """Give each point of a tree the sign that makes it agree with its parent, from the root outwards."""
    agrees = np.where(np.einsum("ni,ni->n", normals[order], normals[parents[order]]) < 0, -1.0, 1.0)
    for point, parent, sign in zip(order.tolist(), parents[order].tolist(), agrees.tolist(), strict=True):
        signs[point] = signs[parent] * sign
