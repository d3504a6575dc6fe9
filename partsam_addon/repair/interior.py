# SPDX-License-Identifier: GPL-3.0-or-later
"""Faces that nobody can see: shells inside shells, and what lies within where solids run through another.

A face counts as visible if rays from it, towards all sides and from both its sides, get out of the mesh
(the ambient visibility of rendering).
"""

from __future__ import annotations

from collections.abc import Iterator

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
    corner_vertices,
    polygon_areas,
    touched_elements,
    triangle_corners,
    vertex_positions,
)
from ..parts import build_polygon_graph, has_parts, sync_table

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

    Blender's data is read here; all else may run in another thread.
    rays: directions tried from each triangle of a face (from four points of it, if it is large)
    openness: up to this share of rays may get out, through a small hole in the outer shell
    Raises MeshError for vertices that are not finite.
    """

    def __init__(self, mesh: bpy.types.Mesh, *, rays: int = 64, openness: float = 0.0) -> None:
        if not np.isfinite(vertex_positions(mesh)).all():
            raise MeshError(f'"{mesh.name}" has vertices that are not finite (NaN); repair the mesh first')
        self._tree = _surface_tree(mesh)
        self._points, self._owners = _ray_starts(mesh)
        self._directions = sphere_directions(rays)
        self._along = _along_normals(mesh, self._directions)[self._owners]
        self._pairs = build_polygon_graph(mesh).pairs
        self._areas = polygon_areas(mesh).astype(np.float64)
        totals = np.bincount(self._owners, minlength=len(mesh.polygons)) * rays
        self._allowed = np.floor(totals * openness).astype(np.int64)
        self._escaped = np.zeros(len(mesh.polygons), dtype=np.int64)

    def cast(self) -> Iterator[float]:
        """Cast all rays, a portion at a time; yields the share of the points that is settled."""
        lift, rays = _LIFT * _diagonal(self._points), 0
        doubtful = np.arange(len(self._points))
        # Most faces are settled by the ray along their normal; only the doubtful ones go on.
        for step in range(-1, len(self._directions)):
            starts = doubtful if step < 0 else doubtful[self._along[doubtful] != step]
            for begin in range(0, len(starts), _PORTION):
                here = starts[begin : begin + _PORTION]
                chosen = self._along[here] if step < 0 else np.full(len(here), step)
                origins = self._points[here] + lift * self._directions[chosen]
                free = _get_out(self._tree, origins, self._directions, chosen)
                np.add.at(self._escaped, self._owners[here[free]], 1)
                rays += len(here)
                if rays >= _PORTION:
                    rays, left = 0, len(doubtful) - (begin if step < 0 else 0)
                    yield 1 - left / len(self._points)
            owners = self._owners[doubtful]
            doubtful = doubtful[self._escaped[owners] <= self._allowed[owners]]

    def hidden(self) -> BoolArray:
        """The polygons that are not visible, bool [P], once all rays were cast."""
        return _without_crevices(self._escaped <= self._allowed, self._pairs, self._areas)


def interior_faces(mesh: bpy.types.Mesh, *, rays: int = 64, openness: float = 0.0) -> BoolArray:
    """The polygons that are not visible from outside, bool [P]. See `InteriorSearch`."""
    search = InteriorSearch(mesh, rays=rays, openness=openness)
    for _ in search.cast():
        pass
    return search.hidden()


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


def _surface_tree(mesh: bpy.types.Mesh) -> BVHTree:
    edit_mesh = bmesh.new()
    try:
        edit_mesh.from_mesh(mesh)
        return BVHTree.FromBMesh(edit_mesh)
    finally:
        edit_mesh.free()


def _along_normals(mesh: bpy.types.Mesh, directions: FloatArray) -> IntArray:
    """Which of `directions` [K, 3] each polygon looks into, int64 [P]."""
    normals = np.empty((len(mesh.polygons), 3), dtype=np.float32)
    mesh.polygon_normals.foreach_get("vector", normals.ravel())
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


def _ray_starts(mesh: bpy.types.Mesh) -> tuple[FloatArray, IntArray]:
    """Points on all triangles, float64 [n, 3], and the polygon of each: the middle of every triangle,
    and points near the corners of those large enough to be seen in part."""
    corners, polygons = triangle_corners(mesh)
    vertices = corner_vertices(mesh)[corners]
    positions = vertex_positions(mesh).astype(np.float64)
    a, b, c = (positions.take(vertices[:, k], axis=0) for k in range(3))
    extent = (np.maximum(np.maximum(a, b), c) - np.minimum(np.minimum(a, b), c)).T
    used = touched_elements(mesh, np.ones(len(mesh.polygons), dtype=bool), "POINT")
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
    regions = _regions(pairs[inner], len(hidden))
    size = np.bincount(regions[hidden], weights=areas[hidden], minlength=len(hidden))
    touching = np.zeros(len(hidden), dtype=bool)
    touching[regions[rim[hidden[rim]]]] = True
    crevice = touching & (size < _SMALL_REGION * areas.sum())
    return hidden & ~crevice[regions]


def _regions(pairs: IntArray, count: int) -> IntArray:
    """For each face [count] the smallest face of its region, over `pairs` [K, 2] of connected faces."""
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


def _diagonal(points: FloatArray) -> float:
    return float(np.linalg.norm([np.ptp(axis) for axis in points.T])) if len(points) else 0.0
