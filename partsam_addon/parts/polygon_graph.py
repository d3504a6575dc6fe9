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

_MIXERS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], dtype=np.uint64)
"""Odd numbers with their bits spread evenly, for hashes."""


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
    """The graph of `mesh`'s polygons; see `polygon_graph`."""
    return polygon_graph(
        vertex_positions(mesh), edge_vertices(mesh), corner_edges(mesh), corner_polygons(mesh)
    )


def polygon_graph(
    positions: FloatArray, ends: IntArray, corner_edge: IntArray, corner_polygon: IntArray
) -> PolygonGraph:
    """The graph of the polygons of a mesh. Vertices at the same place count as one (glTF splits at UV seams).

    positions: float32 [V, 3]; ends: int32 [E, 2]; corner_edge, corner_polygon: int32 [C]

    At an edge of more than two polygons, each is paired with the next.
    """
    first, second = _neighboring_corners(edge_places(weld(positions), ends)[corner_edge], len(ends))
    pairs = np.stack([corner_polygon[first], corner_polygon[second]], axis=1)
    distinct = pairs[:, 0] != pairs[:, 1]
    edges = corner_edge[first][distinct]
    spans = positions[ends[edges, 0]].astype(np.float64) - positions[ends[edges, 1]]
    lengths = np.sqrt(spans[:, 0] ** 2 + spans[:, 1] ** 2 + spans[:, 2] ** 2)
    return PolygonGraph(pairs[distinct], edges, np.nan_to_num(lengths))


def _neighboring_corners(edges: IntArray, count: int) -> tuple[IntArray, IntArray]:
    """Pairs of corners at the same of `count` edges, int [K] each, given the edge of each corner [C].

    Most edges have two corners, which need no sorting.
    """
    corners = np.arange(len(edges), dtype=np.int32)
    sizes = np.bincount(edges, minlength=count)
    lowest, highest = np.empty(count, dtype=np.int32), np.empty(count, dtype=np.int32)
    lowest[edges[::-1]], highest[edges] = corners[::-1], corners  # the last one written stays
    simple = sizes == 2
    crowded = corners[(sizes > 2)[edges]]
    crowded = crowded[np.argsort(edges[crowded], kind="stable")]
    together = np.flatnonzero(edges[crowded[1:]] == edges[crowded[:-1]])
    return (
        np.concatenate([lowest[simple], crowded[together]]),
        np.concatenate([highest[simple], crowded[together + 1]]),
    )


def weld(positions: FloatArray) -> IntArray:
    """For each position [V, 3] the index of the first one at exactly the same place, int32 [V]."""
    canonical = np.arange(len(positions), dtype=np.int32)
    doubtful = _repeated(_hashes(positions))
    if len(doubtful):
        canonical[doubtful] = doubtful[_weld_sorted(positions[doubtful])]
    return canonical


def _weld_sorted(positions: FloatArray) -> IntArray:
    """As `weld`, for positions of which most are doubled."""
    order = np.lexsort(positions.T)
    ordered = positions[order]
    start = np.r_[True, (ordered[1:] != ordered[:-1]).any(axis=1)]
    canonical = np.empty(len(positions), dtype=np.int32)
    # lexsort is stable: the first of each run has the smallest index.
    canonical[order] = order[np.flatnonzero(start)][np.cumsum(start) - 1]
    return canonical


def _hashes(positions: FloatArray) -> IntArray:
    """A number uint64 for each position [V, 3], the same for equal ones; hardly ever for others."""
    with np.errstate(over="ignore", invalid="ignore"):
        bits = (positions.astype(np.float32) + np.float32(0)).view(np.uint32).astype(np.uint64)  # no -0
        x, y, z = bits.reshape(-1, 3).T
        mixed = (x * _MIXERS[0]) ^ (y * _MIXERS[1] + z * _MIXERS[2])
        return mixed ^ (mixed >> np.uint64(29))


def _repeated(keys: IntArray) -> IntArray:
    """Where in `keys` [N] those are that occur more than once, ascending."""
    ordered = np.sort(keys)
    again = ordered[1:][ordered[1:] == ordered[:-1]]
    return np.flatnonzero(np.isin(keys, again)) if len(again) else np.zeros(0, dtype=np.int64)


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


def edge_places(welded: IntArray, ends: IntArray) -> IntArray:
    """For each edge [E, 2] the first one between the same places, int32 [E]."""
    places = np.arange(len(ends), dtype=np.int32)
    if (welded == np.arange(len(welded))).all():
        return places
    joined = np.sort(welded[ends], axis=1).astype(np.int64)
    keys = joined[:, 0] * len(welded) + joined[:, 1]
    doubled = _repeated(keys)
    _, first, inverse = np.unique(keys[doubled], return_index=True, return_inverse=True)
    places[doubled] = doubled[first][inverse]
    return places


def regions_of(pairs: IntArray, count: int) -> IntArray:
    """For each face the smallest one of its region, over `pairs` [K, 2] of connected faces, int [count]."""
    roots = np.arange(count)
    while True:
        first, second = roots[pairs].T
        apart = first != second
        if not apart.any():
            return roots
        # The larger root joins the smaller one; then every face looks up its root's root.
        np.minimum.at(roots, np.maximum(first, second)[apart], np.minimum(first, second)[apart])
        while not np.array_equal(lifted := roots[roots], roots):
            roots = lifted
