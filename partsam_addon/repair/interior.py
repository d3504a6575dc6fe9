# SPDX-License-Identifier: GPL-3.0-or-later
"""Faces that nobody can see: shells inside shells, and what lies within where solids run through another.

A face counts as visible if rays from it, towards all sides and from both its sides, get out of the mesh
(the ambient visibility of rendering).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import bmesh
import bpy
import numpy as np
from mathutils import Vector
from mathutils.bvhtree import BVHTree

from ...backend.errors import MeshError
from ..mesh_exchange.arrays import (
    BoolArray,
    FloatArray,
    IntArray,
    corner_edges,
    corner_polygons,
    corner_vertices,
    edge_vertices,
    polygon_areas,
    triangle_corners,
    vertex_positions,
)
from ..parts import has_parts, sync_table
from ..parts.polygon_graph import polygon_graph, regions_of
from ..steps import Steps, finish
from ..wording import say

_WEIGHTS = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])
"""Where on a large triangle rays start besides its middle: near each corner."""

_LARGE = 0.02
"""Extent of a large triangle, relative to the mesh's diagonal."""

_SMALL_REGION = 1e-3
"""Share of the whole area below which hidden faces beside visible ones are a crevice."""

_CHUNK = 1 << 16
"""Normals that are compared with all directions at a time; bounds memory."""

_PORTION = 50_000
"""Rays that are cast before others may look at what was found, or stop."""

_LIFT = 1e-5
"""How far from the face a ray starts, relative to the mesh's diagonal."""


class InteriorSearch:
    """The search for the polygons of a mesh that are not visible from outside. Not in Edit mode.

    Arrays are read here, the tree is made of `copied_surface`; all else may run in another thread.
    rays: directions tried from each triangle of a face (from four points of it, if it is large)
    openness: up to this share of rays may get out, through a small hole in the outer shell
    Raises MeshError for vertices that are not finite.
    """

    def __init__(self, mesh: bpy.types.Mesh, *, rays: int = 64, openness: float = 0.0) -> None:
        self._positions = vertex_positions(mesh)
        if not np.isfinite(self._positions).all():
            raise MeshError(
                say('"{name}" has vertices that are not finite (NaN); repair the mesh first', name=mesh.name)
            )
        self._corner_vertices = corner_vertices(mesh)
        self._triangles = triangle_corners(mesh)
        self._graph = partial(
            polygon_graph, self._positions, edge_vertices(mesh), corner_edges(mesh), corner_polygons(mesh)
        )
        self._areas = polygon_areas(mesh)
        self._normals = np.empty((len(mesh.polygons), 3), dtype=np.float32)
        mesh.polygon_normals.foreach_get("vector", self._normals.ravel())
        self._rays, self._openness = rays, openness

    def find(self, tree: BVHTree) -> Steps:
        """The polygons that are not visible, bool [P]. tree: of the same mesh"""
        points, owners = _ray_starts(self._positions, self._corner_vertices, *self._triangles)
        directions = sphere_directions(self._rays)
        starts = _RayStarts(points, owners, directions, _along_normals(self._normals, directions)[owners])
        count = len(self._normals)
        totals = np.bincount(owners, minlength=count) * self._rays
        allowed = np.floor(totals * self._openness).astype(np.int64)
        yield 0.0
        escaped = yield from _cast(tree, starts, allowed)
        return _without_crevices(escaped <= allowed, self._graph().pairs, self._areas.astype(np.float64))


@dataclass(frozen=True)
class _RayStarts:
    """points: float64 [n, 3]; owners: int [n], their polygons; directions: float64 [K, 3];
    along: int64 [n], the direction nearest to the polygon's normal"""

    points: FloatArray
    owners: IntArray
    directions: FloatArray
    along: IntArray


def _cast(tree: BVHTree, starts: _RayStarts, allowed: IntArray) -> Steps:
    """How many rays get out of each polygon, int64 [P], counted until there are more than `allowed` [P]."""
    points, owners, along = starts.points, starts.owners, starts.along
    lift, rays, escaped = _LIFT * _diagonal(points), 0, np.zeros(len(allowed), dtype=np.int64)
    doubtful = np.arange(len(points))
    # Most faces are settled by the ray along their normal; only the doubtful ones go on.
    for step in range(-1, len(starts.directions)):
        waiting = doubtful if step < 0 else doubtful[along[doubtful] != step]
        for begin in range(0, len(waiting), _PORTION):
            here = waiting[begin : begin + _PORTION]
            chosen = along[here] if step < 0 else np.full(len(here), step)
            origins = points[here] + lift * starts.directions[chosen]
            free = _get_out(tree, origins, starts.directions, chosen)
            np.add.at(escaped, owners[here[free]], 1)
            rays += len(here)
            if rays >= _PORTION:
                rays, left = 0, len(doubtful) - (begin if step < 0 else 0)
                yield 1 - left / len(points)
        doubtful = doubtful[escaped[owners[doubtful]] <= allowed[owners[doubtful]]]
    return escaped


def interior_faces(mesh: bpy.types.Mesh, *, rays: int = 64, openness: float = 0.0) -> BoolArray:
    """The polygons that are not visible from outside, bool [P]. See `InteriorSearch`."""
    search = InteriorSearch(mesh, rays=rays, openness=openness)
    with copied_surface(mesh) as surface:
        tree = BVHTree.FromBMesh(surface)
    hidden: BoolArray = finish(search.find(tree))
    return hidden


def remove_faces(mesh: bpy.types.Mesh, doomed: BoolArray) -> None:
    """Delete polygons [P] with the edges and vertices that only they use; all layers stay."""
    edit_mesh = bmesh.new()
    try:
        edit_mesh.from_mesh(mesh)
        edit_mesh.faces.ensure_lookup_table()
        faces = [edit_mesh.faces[index] for index in np.flatnonzero(doomed).tolist()]
        bmesh.ops.delete(edit_mesh, geom=faces, context="FACES")
        edit_mesh.to_mesh(mesh)
    finally:
        edit_mesh.free()
    mesh.update()
    if has_parts(mesh):
        sync_table(mesh)


@contextmanager
def copied_surface(mesh: bpy.types.Mesh) -> Iterator[bmesh.types.BMesh]:
    """A copy of `mesh` for the block, of which a tree can be made."""
    edit_mesh = bmesh.new()
    try:
        edit_mesh.from_mesh(mesh, face_normals=False, vertex_normals=False)
        yield edit_mesh
    finally:
        edit_mesh.free()


def _along_normals(normals: FloatArray, directions: FloatArray) -> IntArray:
    """Which of `directions` [K, 3] is nearest to each of `normals` [P, 3], int64 [P]."""
    wanted = directions.T.astype(np.float32)
    parts = [
        (normals[start : start + _CHUNK] @ wanted).argmax(axis=1) for start in range(0, len(normals), _CHUNK)
    ]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)


def _get_out(tree: BVHTree, starts: FloatArray, directions: FloatArray, chosen: IntArray) -> BoolArray:
    """Which rays from `starts` [n, 3] along `directions` [K, 3] of the numbers `chosen` [n] hit nothing."""
    vectors = [Vector(direction) for direction in directions.tolist()]
    cast = tree.ray_cast
    rays = zip(*(axis.tolist() for axis in starts.T), chosen.tolist(), strict=True)
    return np.array([cast((x, y, z), vectors[k])[0] is None for x, y, z, k in rays], dtype=bool)


def sphere_directions(count: int) -> FloatArray:
    """Unit vectors spread evenly over the sphere (Fibonacci lattice), float64 [count, 3].

    In an order in which each one lies far from those before, so that a few give a first answer.
    """
    index = np.arange(count)
    z = 1 - (2 * index + 1) / count
    angle = np.pi * (1 + np.sqrt(5)) * index
    radius = np.sqrt(1 - z * z)
    directions = np.stack([radius * np.cos(angle), radius * np.sin(angle), z], axis=1)
    spread = np.argsort((index * 0.618033988749895) % 1.0, kind="stable")
    return directions[spread]


def _ray_starts(
    positions: FloatArray, of_corner: IntArray, corners: IntArray, polygons: IntArray
) -> tuple[FloatArray, IntArray]:
    """Points on all triangles, float64 [n, 3], and the polygon of each: the middle of every triangle,
    and points near the corners of those large enough to be seen in part.

    positions: [V, 3]; of_corner: int [C], vertices; corners: int [T, 3] and polygons int [T] of triangles
    """
    vertices, positions = of_corner[corners], positions.astype(np.float64)
    a, b, c = (positions.take(vertices[:, k], axis=0) for k in range(3))
    extent = (np.maximum(np.maximum(a, b), c) - np.minimum(np.minimum(a, b), c)).T
    used = np.zeros(len(positions), dtype=bool)
    used[of_corner] = True
    large = np.maximum(np.maximum(*extent[:2]), extent[2]) > _LARGE * _diagonal(positions[used])
    triangles = np.stack([a[large], b[large], c[large]], axis=1)
    near_corners = np.einsum("kc,tcx->tkx", _WEIGHTS, triangles).reshape(-1, 3)
    points = np.concatenate([(a + b + c) / 3, near_corners])
    return points, np.concatenate([polygons, np.repeat(polygons[large], len(_WEIGHTS))])


def _without_crevices(hidden: BoolArray, pairs: IntArray, areas: FloatArray) -> BoolArray:
    """`hidden` [P] without the small regions that border on visible faces: crevices of the outer surface.

    To take those away would tear holes that the next look shows.
    pairs: int [K, 2], polygons that touch; areas: float64 [P]
    """
    inner = hidden[pairs].all(axis=1)
    rim = pairs[hidden[pairs[:, 0]] != hidden[pairs[:, 1]]]
    regions = regions_of(pairs[inner], len(hidden))
    size = np.bincount(regions[hidden], weights=areas[hidden], minlength=len(hidden))
    touching = np.zeros(len(hidden), dtype=bool)
    touching[regions[rim[hidden[rim]]]] = True
    crevice = touching & (size < _SMALL_REGION * areas.sum())
    return hidden & ~crevice[regions]


def _diagonal(points: FloatArray) -> float:
    return float(np.linalg.norm([np.ptp(axis) for axis in points.T])) if len(points) else 0.0
