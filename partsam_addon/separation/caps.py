# SPDX-License-Identifier: GPL-3.0-or-later
"""Closing the holes that splitting a mesh into parts leaves.

Only edges that had a face of another part beside them are closed; holes that the mesh had before stay.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from mathutils import Vector
from mathutils.geometry import tessellate_polygon

from ..apply.marks import borders_at_places
from ..mesh_exchange.arrays import BoolArray, FloatArray, IntArray
from .topology import PartTopology, WholeMesh


def split_edges(whole: WholeMesh, part_ids: IntArray) -> BoolArray:
    """Edges [E] at which faces of different parts meet, also where doubled vertices lie between them."""
    labels = part_ids[whole.corner_polygons]
    return borders_at_places(whole.places, whole.edge_vertices, whole.corner_edges, labels)


def cap_holes(whole: WholeMesh, topology: PartTopology, split: BoolArray) -> PartTopology:
    """`topology` with triangles over each closed loop of its edges in `split` [E].

    The triangles face outwards like their surroundings. Attributes of a new corner are those of a
    corner at the same vertex, of a new face those of a face at the loop; new edges have none.
    """
    rim = _rim_corners(whole, topology, split)
    triangles, faces = [], []
    for loop in _closed_loops(whole, topology, rim):
        found = _triangulate(whole.positions[topology.vertices[topology.corner_vertices[loop]]])
        triangles.append(loop[found])
        faces.append(np.full(len(found), topology.polygons[_polygon_of_corner(topology)[loop[0]]]))
    if not triangles:
        return topology
    caps = _Caps(np.concatenate(triangles), np.concatenate(faces).astype(np.int32))
    return _append(topology, _without_doubles(topology, caps))


@dataclass(frozen=True)
class _Caps:
    """Triangles [K, 3] as corners of the part whose vertices they use, and source polygons [K]."""

    corners: IntArray
    polygons: IntArray


def _rim_corners(whole: WholeMesh, topology: PartTopology, split: BoolArray) -> IntArray:
    """Corners of the part whose outgoing edge is a split one with only one face of the part at it."""
    places = whole.places[topology.vertices]
    ends = np.sort(places[topology.edge_vertices], axis=1).astype(np.int64)
    _, place_edges = np.unique(ends[:, 0] * len(whole.places) + ends[:, 1], return_inverse=True)
    of_corner = place_edges[topology.corner_edges]
    alone = np.bincount(of_corner, minlength=len(place_edges))[of_corner] == 1
    return np.flatnonzero(alone & split[topology.edges[topology.corner_edges]])


def _closed_loops(whole: WholeMesh, topology: PartTopology, rim: IntArray) -> list[IntArray]:
    """Closed chains of rim edges, each as the corners at their ends, in the direction of a cap.

    A cap runs along the rim against the faces beside it: from the end of a face's edge to its start,
    which is the vertex of the corner. Where chains touch themselves they are cut into simple loops;
    chains that do not close are left out.
    """
    places = whole.places[topology.vertices[topology.corner_vertices]]
    heads = dict(zip(rim.tolist(), places[rim].tolist(), strict=True))
    tails = dict(zip(rim.tolist(), places[_next_corner(topology)[rim]].tolist(), strict=True))
    leaving: dict[int, list[int]] = {}
    for corner in reversed(rim.tolist()):
        leaving.setdefault(tails[corner], []).append(corner)
    loops: list[IntArray] = []
    for start in rim.tolist():
        if start in leaving[tails[start]]:
            leaving[tails[start]].remove(start)
            loops += _trace(start, heads, tails, leaving)
    return [loop for loop in loops if len(loop) > 2]


def _trace(
    start: int, heads: dict[int, int], tails: dict[int, int], leaving: dict[int, list[int]]
) -> list[IntArray]:
    """Follow the rim from `start` as long as it goes, cutting off each loop that closes on the way."""
    loops = []
    path, begins = [start], {tails[start]: 0}
    while path:
        place = heads[path[-1]]
        if place in begins:
            cut = begins[place]
            loops.append(np.array(path[cut:]))
            for corner in path[cut:]:
                del begins[tails[corner]]
            del path[cut:]
        if not leaving.get(place):
            break
        begins[place] = len(path)
        path.append(leaving[place].pop())
    return loops


def _triangulate(points: FloatArray) -> IntArray:
    """Triangles [K, 3] over a closed loop of points [n, 3], all wound the way the loop is."""
    normal = np.cross(points, np.roll(points, -1, axis=0)).sum(axis=0)
    found = tessellate_polygon([[Vector(point) for point in points.tolist()]])
    triangles = np.array(found, dtype=np.int64).reshape(-1, 3)
    if len(triangles) < len(points) - 2:  # crossing or folded loops: a fan closes any of them
        return np.array([(0, index, index + 1) for index in range(1, len(points) - 1)], dtype=np.int64)
    corners = points[triangles]
    facing = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).sum(axis=0)
    return triangles[:, ::-1] if float(facing @ normal) < 0 else triangles


def _without_doubles(topology: PartTopology, caps: _Caps) -> _Caps:
    """Leave out triangles over vertices that a face has already: the back of a lone triangle."""
    starts = np.cumsum(topology.polygon_sizes) - topology.polygon_sizes
    corners = starts[topology.polygon_sizes == 3][:, None] + np.arange(3)
    present = np.sort(topology.corner_vertices[corners], axis=1)
    added = np.sort(topology.corner_vertices[caps.corners], axis=1)
    _, first = np.unique(np.concatenate([present, added]), axis=0, return_index=True)
    new = np.isin(np.arange(len(added)) + len(present), first)
    return _Caps(caps.corners[new], caps.polygons[new])


def _append(topology: PartTopology, caps: _Caps) -> PartTopology:
    vertices = topology.corner_vertices[caps.corners]
    pairs = np.sort(np.stack([vertices, np.roll(vertices, -1, axis=1)], axis=-1).reshape(-1, 2), axis=1)
    width = len(topology.vertices)
    known = np.sort(topology.edge_vertices, axis=1).astype(np.int64)
    known_keys, wanted = known[:, 0] * width + known[:, 1], pairs[:, 0].astype(np.int64) * width + pairs[:, 1]
    fresh = np.setdiff1d(wanted, known_keys)
    keys = np.concatenate([known_keys, fresh])
    order = np.argsort(keys, kind="stable")
    edges = order[np.searchsorted(keys[order], wanted)].astype(np.int32)
    fresh_ends = np.stack([fresh // width, fresh % width], axis=1).astype(np.int32)
    return replace(
        topology,
        edges=np.concatenate([topology.edges, np.full(len(fresh), -1, dtype=np.int32)]),
        corners=np.concatenate([topology.corners, topology.corners[caps.corners.ravel()]]),
        polygons=np.concatenate([topology.polygons, caps.polygons]),
        edge_vertices=np.concatenate([topology.edge_vertices, fresh_ends]),
        corner_vertices=np.concatenate([topology.corner_vertices, vertices.ravel()]),
        corner_edges=np.concatenate([topology.corner_edges, edges]),
        polygon_sizes=np.concatenate([topology.polygon_sizes, np.full(len(vertices), 3, dtype=np.int32)]),
        caps=len(vertices),
    )


def _polygon_of_corner(topology: PartTopology) -> IntArray:
    return np.repeat(np.arange(len(topology.polygon_sizes)), topology.polygon_sizes)


def _next_corner(topology: PartTopology) -> IntArray:
    """The corner after each one, around its polygon."""
    stops = np.cumsum(topology.polygon_sizes)
    following = np.arange(1, len(topology.corners) + 1)
    following[stops - 1] = stops - topology.polygon_sizes
    return following
