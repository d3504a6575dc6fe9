# SPDX-License-Identifier: GPL-3.0-or-later
"""Which elements of a mesh make up one of its parts. Pure numpy: no Blender data is changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import bpy
import numpy as np

from ..mesh_exchange.arrays import (
    BoolArray,
    FloatArray,
    IntArray,
    corner_edges,
    corner_polygons,
    corner_vertices,
    edge_vertices,
    polygon_sizes,
    ranges,
    vertex_positions,
)
from ..parts.polygon_graph import weld


@dataclass(frozen=True)
class WholeMesh:
    """The connectivity of a mesh as arrays; see the functions of the same names in `arrays`."""

    positions: FloatArray
    edge_vertices: IntArray
    corner_vertices: IntArray
    corner_edges: IntArray
    corner_polygons: IntArray
    polygon_sizes: IntArray
    places: IntArray

    @classmethod
    def read(cls, mesh: bpy.types.Mesh) -> WholeMesh:
        positions = vertex_positions(mesh)
        return cls(
            positions=positions,
            edge_vertices=edge_vertices(mesh),
            corner_vertices=corner_vertices(mesh),
            corner_edges=corner_edges(mesh),
            corner_polygons=corner_polygons(mesh),
            polygon_sizes=polygon_sizes(mesh),
            places=weld(positions),
        )


@dataclass(frozen=True)
class PartTopology:
    """The elements of a part: where each comes from, and how they hang together in the new mesh.

    vertices, edges, corners, polygons: int32, the element of the whole mesh; an edge made for a cap
        has -1; corners and polygons of caps name those whose attributes they take over
    edge_vertices: int32 [e, 2], corner_vertices, corner_edges: int32 [c], in the part's own numbers
    polygon_sizes: int32 [p]
    caps: how many of the last polygons close holes
    """

    vertices: IntArray
    edges: IntArray
    corners: IntArray
    polygons: IntArray
    edge_vertices: IntArray
    corner_vertices: IntArray
    corner_edges: IntArray
    polygon_sizes: IntArray
    caps: int = 0


def split_by_part(whole: WholeMesh, part_ids: IntArray) -> Iterator[tuple[int, PartTopology]]:
    """The topology of each part, in the order of their ids. Loose edges and vertices are in none."""
    by_part = np.argsort(part_ids, kind="stable").astype(np.int32)
    ids, starts = np.unique(part_ids[by_part], return_index=True)
    first_corner = np.cumsum(whole.polygon_sizes) - whole.polygon_sizes
    for part_id, polygons in zip(ids.tolist(), np.split(by_part, starts[1:]), strict=True):
        sizes = whole.polygon_sizes[polygons]
        corners = ranges(first_corner[polygons], sizes)
        yield part_id, _of_corners(whole, polygons, corners)


def split_points(whole: WholeMesh, part_ids: IntArray) -> Iterator[tuple[int, PartTopology]]:
    """The same of a mesh without faces, whose vertices are in parts; edges between two parts are in none."""
    by_part = np.argsort(part_ids, kind="stable").astype(np.int32)
    ids, starts = np.unique(part_ids[by_part], return_index=True)
    ends = part_ids[whole.edge_vertices].reshape(-1, 2)
    inner = np.flatnonzero(ends[:, 0] == ends[:, 1]).astype(np.int32)
    for part_id, vertices in zip(ids.tolist(), np.split(by_part, starts[1:]), strict=True):
        edges = inner[ends[inner, 0] == part_id]
        local = np.searchsorted(vertices, whole.edge_vertices[edges]).astype(np.int32)
        yield (
            part_id,
            replace(empty_topology(), vertices=vertices, edges=edges, edge_vertices=local.reshape(-1, 2)),
        )


def with_loose_elements(whole: WholeMesh, topology: PartTopology) -> PartTopology:
    """`topology` with all loose edges and vertices of the mesh added."""
    loose_edges = _unused(len(whole.edge_vertices), whole.corner_edges)
    in_edges = np.zeros(len(whole.positions), dtype=bool)
    in_edges[whole.edge_vertices[loose_edges]] = True
    loose = in_edges | _unused(len(whole.positions), whole.edge_vertices)
    vertices = np.union1d(topology.vertices, np.flatnonzero(loose)).astype(np.int32)
    moved = np.searchsorted(vertices, topology.vertices).astype(np.int32)
    edges = np.flatnonzero(loose_edges).astype(np.int32)
    added = np.searchsorted(vertices, whole.edge_vertices[edges]).astype(np.int32)
    return replace(
        topology,
        vertices=vertices,
        edges=np.concatenate([topology.edges, edges]),
        edge_vertices=np.concatenate([moved[topology.edge_vertices], added.reshape(-1, 2)]),
        corner_vertices=moved[topology.corner_vertices],
    )


def empty_topology() -> PartTopology:
    """A part without elements."""
    none = np.zeros(0, dtype=np.int32)
    return PartTopology(none, none, none, none, none.reshape(0, 2), none, none, none)


def has_loose_elements(whole: WholeMesh) -> bool:
    """Whether the mesh has edges or vertices that belong to no face."""
    return bool(
        _unused(len(whole.edge_vertices), whole.corner_edges).any()
        or _unused(len(whole.positions), whole.edge_vertices).any()
    )


def _of_corners(whole: WholeMesh, polygons: IntArray, corners: IntArray) -> PartTopology:
    vertices, corner_vertices = _renumber(whole.corner_vertices[corners], len(whole.positions))
    edges, corner_edges = _renumber(whole.corner_edges[corners], len(whole.edge_vertices))
    local = np.empty(len(whole.positions), dtype=np.int32)
    local[vertices] = np.arange(len(vertices), dtype=np.int32)
    return PartTopology(
        vertices=vertices,
        edges=edges,
        corners=corners,
        polygons=polygons,
        edge_vertices=local[whole.edge_vertices[edges]],
        corner_vertices=corner_vertices,
        corner_edges=corner_edges,
        polygon_sizes=whole.polygon_sizes[polygons],
    )


def _renumber(used: IntArray, size: int) -> tuple[IntArray, IntArray]:
    """The distinct numbers in `used`, ascending, and `used` as positions among them."""
    present = np.zeros(size, dtype=bool)
    present[used] = True
    distinct = np.flatnonzero(present).astype(np.int32)
    local = np.empty(size, dtype=np.int32)
    local[distinct] = np.arange(len(distinct), dtype=np.int32)
    return distinct, local[used]


def _unused(size: int, used: IntArray) -> BoolArray:
    unused = np.ones(size, dtype=bool)
    unused[used] = False
    return unused
