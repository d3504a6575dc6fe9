# SPDX-License-Identifier: GPL-3.0-or-later
"""Which polygons touch, across edges that are one in space even where the mesh is split."""

from __future__ import annotations

from dataclasses import dataclass

import bpy
import numpy as np

from ..mesh_exchange.arrays import (
    FloatArray,
    IntArray,
    corner_edges,
    corner_polygons,
    edge_vertices,
    vertex_positions,
)


@dataclass(frozen=True)
class PolygonGraph:
    """Pairs of polygons that share an edge.

    pairs: int32 [K, 2], polygons
    edges: int32 [K], an edge that the pair shares (one of its copies where vertices are doubled)
    lengths: float64 [K], that edge's length in object space
    """

    pairs: IntArray
    edges: IntArray
    lengths: FloatArray


def build_polygon_graph(mesh: bpy.types.Mesh) -> PolygonGraph:
    """The graph of `mesh`'s polygons. Vertices at the same place count as one (glTF splits at UV seams).

    At an edge of more than two polygons, each is paired with the next.
    """
    corner_edge, corner_polygon = corner_edges(mesh), corner_polygons(mesh)
    positions = vertex_positions(mesh)
    ends = edge_vertices(mesh)
    key_of_edge = _spatial_edge_keys(weld(positions), ends)
    keys = key_of_edge[corner_edge]
    order = np.argsort(keys, kind="stable")
    together = np.flatnonzero(keys[order[1:]] == keys[order[:-1]])
    first, second = order[together], order[together + 1]
    pairs = np.stack([corner_polygon[first], corner_polygon[second]], axis=1)
    distinct = pairs[:, 0] != pairs[:, 1]
    edges = corner_edge[first][distinct]
    spans = positions[ends[edges, 0]].astype(np.float64) - positions[ends[edges, 1]]
    return PolygonGraph(pairs[distinct], edges, np.nan_to_num(np.linalg.norm(spans, axis=1)))


def weld(positions: FloatArray) -> IntArray:
    """For each position [V, 3] the index of the first one at exactly the same place, int32 [V]."""
    order = np.lexsort(positions.T)
    ordered = positions[order]
    start = np.r_[True, (ordered[1:] != ordered[:-1]).any(axis=1)] if len(order) else np.zeros(0, bool)
    canonical = np.empty(len(positions), dtype=np.int32)
    # lexsort is stable: the first of each run has the smallest index.
    canonical[order] = order[np.flatnonzero(start)][np.cumsum(start) - 1]
    return canonical


def part_borders(graph: PolygonGraph, part_ids: IntArray) -> dict[tuple[int, int], float]:
    """Border length of each pair of touching parts, smaller id first."""
    sides = np.sort(part_ids[graph.pairs], axis=1).astype(np.int64)
    differ = sides[:, 0] != sides[:, 1]
    sides, lengths = sides[differ], graph.lengths[differ]
    if len(sides) == 0:
        return {}
    width = int(sides.max()) + 1
    keys, inverse = np.unique(sides[:, 0] * width + sides[:, 1], return_inverse=True)
    totals = np.bincount(inverse, weights=lengths)
    return {divmod(int(key), width): float(total) for key, total in zip(keys, totals, strict=True)}


def _spatial_edge_keys(welded: IntArray, ends: IntArray) -> IntArray:
    """A number for each edge [E, 2], the same for edges between the same places."""
    if (welded == np.arange(len(welded))).all():
        return np.arange(len(ends))
    joined = np.sort(welded[ends], axis=1).astype(np.int64)
    return joined[:, 0] * len(welded) + joined[:, 1]
