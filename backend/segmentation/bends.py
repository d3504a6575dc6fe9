# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a surface bends, for regions that creases bound: not every face tells.

Across a crease that is rounded by many small faces the angle of two neighbours says little; that of two sites
says as much as on a mesh of larger faces. And on a noisy surface, a scan's or a generator's, every edge is a
crease. There normals are smoothed first, each towards those neighbours that it resembles (bilateral normal
filtering; Y. Zheng, H. Fu, O. Au, C. Tai, "Bilateral normal filtering for mesh denoising", 2011).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ..geometry import Mesh, face_centroids
from ..geometry.mesh import FloatArray, IntArray
from ..geometry.rows import lengths as row_lengths
from ..refinement.face_graph import FaceGraph
from .sites import Sites, graph_of_sites

_ROUGH = 0.03
"""Roughness, radians, from which a surface is noisy: of the 603 validation meshes, which are clean, 47 have
more, most of them bodies; of 80 on one shell 48 with noise of .0005 of their longest side, 78 with .001, all
with .0015."""
_SHARPEST = 1.2
"""Angles count up to this, radians."""
_ROUNDS = 12
"""Of smoothing."""
_LIKE_BY_ROUGHNESS = 6.0
"""How far apart two unit normals are that count .6 for each other, by the roughness, ..."""
_LEAST_LIKE, _MOST_LIKE = 0.3, 0.9
"""... and within these limits."""


@dataclass(frozen=True)
class _Facets:
    """Sites as flat pieces: normals float64 [S, 3], unit where `known` bool [S]; middles float64 [S, 3]."""

    normals: FloatArray
    middles: FloatArray
    known: NDArray[np.bool_]


def graph_of_bends(graph: FaceGraph, sites: Sites, mesh: Mesh) -> FaceGraph:
    """`graph_of_sites`, with the angles between whole sites where faces are merged, and with those between
    smoothed normals where the surface is noisy."""
    merged = graph_of_sites(graph, sites)
    if graph.outward is None or sites.of_face is None:
        return merged
    rough = roughness(graph) if merged is graph else np.inf
    if rough <= _ROUGH:
        return graph
    facets = _facets(graph, sites.of_face, mesh)
    if merged is not graph:
        bends = _bent(merged, facets)
        rough = roughness(bends)
        if rough <= _ROUGH:
            return bends
    like = float(np.clip(_LIKE_BY_ROUGHNESS * rough, _LEAST_LIKE, _MOST_LIKE))
    return _bent(merged, _smoothed(merged, facets, like))


def roughness(graph: FaceGraph) -> float:
    """By how much, in radians, the edges around the middle one of all faces, by area, bend to and fro.

    What bends one way only, as round surfaces do, is smooth.
    """
    real = np.flatnonzero(~graph.is_link)
    edges, length = graph.edges[real], graph.edge_length[real]
    bend = length * np.clip(graph.dihedral[real], -_SHARPEST, _SHARPEST)
    around, every, one_way = (
        _at_ends(edges, values, graph.face_count) for values in (length, abs(bend), bend)
    )
    to_and_fro = (every - abs(one_way)) / np.maximum(around, np.finfo(float).tiny)
    order = np.argsort(to_and_fro)
    reached = np.cumsum(graph.face_areas[order])
    if not len(reached) or not reached[-1] > 0:
        return 0.0
    return float(to_and_fro[order[np.searchsorted(reached, reached[-1] / 2)]])


def _at_ends(edges: IntArray, values: FloatArray, count: int) -> FloatArray:
    """Sums over the edges of each node, float64 [count]."""
    sums = [np.bincount(end, values, minlength=count).astype(np.float64) for end in edges.T]
    return sums[0] + sums[1]


def _facets(graph: FaceGraph, of_face: IntArray, mesh: Mesh) -> _Facets:
    assert graph.outward is not None
    tiny = np.finfo(float).tiny
    normals = _sums(mesh.area_vectors * graph.outward[:, None], of_face)
    sizes = row_lengths(normals)
    middles = _sums(face_centroids(mesh) * graph.face_areas[:, None], of_face)
    areas = np.bincount(of_face, graph.face_areas)
    middles = middles / np.maximum(areas, tiny)[:, None]
    return _Facets(normals / np.maximum(sizes, tiny)[:, None], middles, sizes > 0)


def _sums(rows: FloatArray, of_face: IntArray) -> FloatArray:
    """Sums over the faces of each site, float64 [S, D], of rows [F, D]."""
    return np.stack([np.bincount(of_face, column) for column in rows.T], axis=1)


def _smoothed(graph: FaceGraph, facets: _Facets, like: float) -> _Facets:
    """With normals that are means over neighbours, those counting more that are alike and large.

    like: how far apart two unit normals are that count .6 for each other
    """
    edges = graph.edges[np.flatnonzero(~graph.is_link)]
    first, second = (np.ascontiguousarray(end, dtype=np.intp) for end in edges.T)
    areas, normals = graph.face_areas[:, None], facets.normals
    gathered = _Gathered.over(first, second, len(areas))
    for _ in range(_ROUNDS):
        apart = _squares(normals.take(first, axis=0) - normals.take(second, axis=0))
        total = gathered.sums(normals * areas, np.exp(apart / (-2 * like**2)))
        normals = total / np.maximum(row_lengths(total), np.finfo(float).tiny)[:, None]
    return replace(facets, normals=normals)


@dataclass(frozen=True)
class _Gathered:
    """Sums over the neighbours of each of S nodes, along E edges, as a matrix that only needs its weights.

    matrix: float64 [2 S, S], row s: the edges that start at node s, row S + s: those that end there;
    edges: int64 [2 E], whose weight each of its entries is
    """

    matrix: csr_array
    edges: IntArray

    @classmethod
    def over(cls, first: IntArray, second: IntArray, count: int) -> _Gathered:
        """Along edges from the nodes `first` to `second`, int64 [E] each, below `count`."""
        rows = np.concatenate([first, second + count])
        order = np.argsort(rows, kind="stable")
        columns = np.concatenate([second, first])[order]
        starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=2 * count))])
        matrix = csr_array((np.zeros(len(rows)), columns, starts), shape=(2 * count, count))
        return cls(matrix, np.where(order < len(first), order, order - len(first)))

    def sums(self, values: FloatArray, weights: FloatArray) -> FloatArray:
        """values [S, D] and the weighted sums of those of the neighbours, float64 [S, D]; weights: [E]"""
        self.matrix.data[:] = weights[self.edges]
        around: FloatArray = self.matrix @ values
        return values + around[: len(values)] + around[len(values) :]


def _squares(rows: FloatArray) -> FloatArray:
    """Squared lengths of rows [N, 3], float64 [N]."""
    x, y, z = rows.T
    return x * x + y * y + z * z


def _bent(graph: FaceGraph, facets: _Facets) -> FaceGraph:
    """The graph with the angles between the normals of its nodes, where both are known."""
    first, second = (np.ascontiguousarray(end, dtype=np.intp) for end in graph.edges.T)
    apart = facets.normals.take(second, axis=0) - facets.normals.take(first, axis=0)
    along = facets.middles.take(second, axis=0) - facets.middles.take(first, axis=0)
    angle = 2 * np.arcsin(np.minimum(row_lengths(apart) / 2, 1))
    x, y, z = (apart * along).T
    known = facets.known
    told = known[first] & known[second] & ~graph.is_link
    return replace(graph, dihedral=np.where(told, np.where(x + y + z < 0, -angle, angle), graph.dihedral))
