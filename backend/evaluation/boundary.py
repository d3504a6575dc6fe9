# SPDX-License-Identifier: GPL-3.0-or-later
"""Boundary F-score by geodesic distance: are the cuts where they should be?

A labeling's boundary is the set of mesh edges between faces of different labels. A boundary edge counts
as right if the other labeling's boundary lies within a tolerance along the surface, not through
the air: two sides of a thin plate are far apart. Precision and recall are weighted by edge length.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from ..geometry import Mesh
from ..geometry.mesh import FloatArray, IntArray

DEFAULT_TOLERANCE = 0.02
"""Geodesic tolerance as a fraction of the bounding box's diagonal."""


@dataclass(frozen=True)
class EdgeGraph:
    """The mesh's edges as nodes of a graph whose steps cross one face.

    edges: int64 [E, 2], two faces that share the edge (an edge of k faces gives k - 1 consecutive pairs)
    node: int64 [E], node of each pair
    length: float64 [E], the edge's length
    steps: float64 [n, n] sparse: distance between midpoints of two edges of one face
    diagonal: diagonal of the bounding box
    """

    edges: IntArray
    node: IntArray
    length: FloatArray
    steps: csr_array
    diagonal: float


def build_edge_graph(mesh: Mesh) -> EdgeGraph:
    """Edges welded by position, so that UV seams and split normals do not cut the surface."""
    positions, welded = np.unique(mesh.vertices, axis=0, return_inverse=True)
    corners = welded.reshape(-1)[mesh.triangles]
    halves = np.sort(np.stack([corners, np.roll(corners, -1, axis=1)], axis=2), axis=2).reshape(-1, 2)
    ends, node_of_half = np.unique(halves, axis=0, return_inverse=True)
    node_of_half = node_of_half.reshape(-1)
    order = np.argsort(node_of_half, kind="stable")
    same = node_of_half[order][1:] == node_of_half[order][:-1]
    node = node_of_half[order][1:][same]
    edges = np.stack([order[:-1][same], order[1:][same]], axis=1) // 3

    middle = positions[ends].mean(axis=1)
    length = np.linalg.norm(positions[ends[:, 0]] - positions[ends[:, 1]], axis=1)
    of_face = node_of_half.reshape(-1, 3)
    start, end = of_face.reshape(-1), np.roll(of_face, -1, axis=1).reshape(-1)
    step = np.maximum(np.linalg.norm(middle[start] - middle[end], axis=1), 1e-12)  # 0 would mean "no step"
    used = np.unique(mesh.triangles)
    return EdgeGraph(
        edges=edges,
        node=node,
        length=length[node],
        steps=_lightest(start, end, step, len(ends)),
        diagonal=float(np.linalg.norm(np.ptp(mesh.vertices[used], axis=0))),
    )


def boundary_f_score(
    graph: EdgeGraph, true: IntArray, predicted: IntArray, *, tolerance: float = DEFAULT_TOLERANCE
) -> float:
    """Boundary F-score of `predicted` against `true`, both int [F]; NaN if `true` has no boundary edge.

    tolerance: geodesic distance, as a fraction of the bounding box's diagonal. The geodesic is the shortest
    path over midpoints of edges that share a face, an upper bound of the true one.
    """
    true_cut = true[graph.edges[:, 0]] != true[graph.edges[:, 1]]
    predicted_cut = predicted[graph.edges[:, 0]] != predicted[graph.edges[:, 1]]
    if not true_cut.any():
        return float("nan")
    if not predicted_cut.any():
        return 0.0
    reach = tolerance * graph.diagonal
    precision = _share_near(graph, predicted_cut, true_cut, reach)
    recall = _share_near(graph, true_cut, predicted_cut, reach)
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


def _share_near(graph: EdgeGraph, cut: np.ndarray, other: np.ndarray, reach: float) -> float:
    """Share of the length of `cut` from which `other` is within `reach`."""
    sources = np.unique(graph.node[other])
    distance = dijkstra(graph.steps, directed=False, indices=sources, min_only=True, limit=reach)
    near = np.isfinite(distance[graph.node[cut]])
    length = graph.length[cut]
    return float(length[near].sum() / length.sum()) if length.sum() > 0 else float(near.mean())


def _lightest(start: IntArray, end: IntArray, weight: FloatArray, count: int) -> csr_array:
    """Sparse [count, count] with the lightest of parallel steps (a plain constructor would add them up)."""
    low, high = np.minimum(start, end), np.maximum(start, end)
    order = np.lexsort((weight, high, low))
    low, high, weight = low[order], high[order], weight[order]
    first = np.ones(len(low), dtype=bool)
    first[1:] = (low[1:] != low[:-1]) | (high[1:] != high[:-1])
    first &= low != high
    return csr_array((weight[first], (low[first], high[first])), shape=(count, count))
