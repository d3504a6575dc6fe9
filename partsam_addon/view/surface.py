# SPDX-License-Identifier: GPL-3.0-or-later
"""The surface of an object as the viewport shows it in each mode, with the part of every triangle."""

from __future__ import annotations

from dataclasses import dataclass

import bmesh
import bpy
import numpy as np
from mathutils import Vector
from mathutils.geometry import tessellate_polygon

from ..constants import PART_ATTRIBUTE
from ..mesh_exchange.arrays import (
    FloatArray,
    IntArray,
    corner_vertices,
    polygon_flags,
    triangle_corners,
    vertex_positions,
)
from ..mesh_exchange.elements import edit_layer, is_cloud, read_element_integers

EDIT_MODE_FACES = 60_000
"""Up to this many faces are read from an edit mesh, which goes face by face: 0.5 s for 50,000 quads."""


SILHOUETTE_SIDES = 900_000
"""Up to so many sides of triangles it is looked up with each drawing: 20 ms for as many."""


@dataclass(frozen=True)
class Surface:
    """positions: float32 [V, 3], object space; triangles: int32 [T, 3], of a point cloud points int32 [T, 1];
    part_ids: int32 [T]
    """

    positions: FloatArray
    triangles: IntArray
    part_ids: IntArray


def read_surface(context: bpy.types.Context, obj: bpy.types.Object) -> Surface | None:
    """What is to be drawn over `obj`; None where its faces are not to be had."""
    if obj.data.is_editmode:  # here or through another object
        return _read_edit_mesh(obj.data)
    if obj.mode == "SCULPT" and obj.use_dynamic_topology_sculpting:
        return None  # other faces than those of the mesh
    shown = obj.evaluated_get(context.evaluated_depsgraph_get()).data
    part_ids = read_element_integers(shown, PART_ATTRIBUTE)
    if part_ids is None or not len(part_ids):
        return None
    if is_cloud(shown):
        return Surface(vertex_positions(shown), np.arange(len(part_ids), dtype=np.int32)[:, None], part_ids)
    corners, polygons = triangle_corners(shown)
    if obj.mode == "SCULPT":
        visible = ~polygon_flags(shown, "hide")[polygons]
        corners, polygons = corners[visible], polygons[visible]
    return Surface(vertex_positions(shown), corner_vertices(shown)[corners], part_ids[polygons])


@dataclass(frozen=True)
class Silhouette:
    """The edges at which two triangles of a part meet.

    ends: float32 [K, 2, 3], object space; normals: float32 [K, 2, 3], of both triangles, of any length
    """

    ends: FloatArray
    normals: FloatArray

    def seen_from(self, eye: FloatArray) -> FloatArray:
        """Those edges of which one side faces the eye, float32 [M, 2, 3].

        eye: homogeneous, object space [4]; for an orthographic view the direction to it, and 0
        """
        towards = eye[:3] - eye[3] * self.ends[:, 0]
        faces = np.einsum("kij,kj->ki", self.normals, towards) > 0
        seen: FloatArray = self.ends[faces[:, 0] != faces[:, 1]]
        return seen


@dataclass(frozen=True)
class PartEdges:
    """The edges of a part's triangles. Vertices at the same place count as one: UV seams are no border.

    corners: float32 [T, 3, 3]
    sides: int [3 T], 3 x triangle + the corner where it starts, those of an edge in a row
    starts, counts: int [E], of each edge where its row begins, and how long that is
    """

    corners: FloatArray
    sides: IntArray
    starts: IntArray
    counts: IntArray

    def border(self) -> FloatArray:
        """Edges around the part, float32 [K, 2, 3]: those at which only one of its triangles lies."""
        return self._ends(self.sides[self.starts[self.counts == 1]])

    def silhouette(self) -> Silhouette:
        """What shows where a part lies that is a closed piece, without a border; nothing of huge ones."""
        first = self.starts[self.counts == 2] if len(self.sides) <= SILHOUETTE_SIDES else self.starts[:0]
        both = np.stack([self.sides[first], self.sides[first + 1]], axis=1)
        one, two = self.corners[:, 1] - self.corners[:, 0], self.corners[:, 2] - self.corners[:, 0]
        normals = np.cross(one, two)[both // 3]
        # Neighbors pass their common edge in opposite directions, unless one is turned inside out.
        turned = (self._begins(both[:, 0]) == self._begins(both[:, 1])).all(axis=1)
        normals[turned, 1] *= -1
        return Silhouette(self._ends(self.sides[first]), normals)

    def _begins(self, sides: IntArray) -> FloatArray:
        places: FloatArray = self.corners[sides // 3, sides % 3]
        return places

    def _ends(self, sides: IntArray) -> FloatArray:
        return np.stack([self._begins(sides), self.corners[sides // 3, (sides + 1) % 3]], axis=1)


def part_edges(surface: Surface, part_id: int) -> PartEdges:
    """The edges of a part. Points have none."""
    if surface.triangles.shape[1] < 3:
        none = np.zeros(0, dtype=np.int64)
        return PartEdges(np.zeros((0, 3, 3), dtype=np.float32), none, none, none)
    triangles = surface.triangles[surface.part_ids == part_id]
    is_used = np.zeros(len(surface.positions), dtype=bool)
    is_used[triangles] = True
    places = np.zeros(len(surface.positions), dtype=np.int64)
    places[is_used] = _places(surface.positions[is_used])
    begin = places[triangles]
    end = np.roll(begin, -1, axis=1)
    keys = (np.minimum(begin, end) * len(places) + np.maximum(begin, end)).ravel()
    sides = np.argsort(keys, kind="stable")
    keys = keys[sides]
    starts = np.flatnonzero(np.diff(keys, prepend=-1))
    counts = np.diff(starts, append=len(keys))
    return PartEdges(surface.positions[triangles], sides, starts, counts)


def _places(positions: FloatArray) -> IntArray:
    """A number for each of positions [V, 3], int64 [V]; equal ones have the same."""
    order = np.lexsort(positions.T)
    ascending = positions[order]
    places = np.zeros(len(positions), dtype=np.int64)
    places[order[1:]] = np.cumsum((ascending[1:] != ascending[:-1]).any(axis=1))
    return places


def _read_edit_mesh(mesh: bpy.types.Mesh) -> Surface | None:
    edit_mesh = bmesh.from_edit_mesh(mesh)
    if not len(edit_mesh.faces):
        return _read_edit_points(edit_mesh)
    layer = edit_layer(edit_mesh, PART_ATTRIBUTE)
    if layer is None or not 0 < len(edit_mesh.faces) <= EDIT_MODE_FACES:
        return None
    edit_mesh.verts.index_update()
    faces = [face for face in edit_mesh.faces if not face.hide]
    sizes = np.array([len(face.verts) for face in faces], dtype=np.int64)
    corners = np.array([vertex.index for face in faces for vertex in face.verts], dtype=np.int32)
    part_ids = np.array([face[layer] for face in faces], dtype=np.int32)
    positions = np.array([vertex.co[:] for vertex in edit_mesh.verts], dtype=np.float32)
    triangles, owners = _triangulate(positions, corners, sizes)
    return Surface(positions, triangles, part_ids[owners])


def _read_edit_points(edit_mesh: bmesh.types.BMesh) -> Surface | None:
    layer = edit_layer(edit_mesh, PART_ATTRIBUTE)
    if layer is None or not 0 < len(edit_mesh.verts) <= EDIT_MODE_FACES:
        return None
    shown = [vertex for vertex in edit_mesh.verts if not vertex.hide]
    positions = np.array([vertex.co[:] for vertex in shown], dtype=np.float32).reshape(-1, 3)
    part_ids = np.array([vertex[layer] for vertex in shown], dtype=np.int32)
    return Surface(positions, np.arange(len(shown), dtype=np.int32)[:, None], part_ids)


def _triangulate(positions: FloatArray, corners: IntArray, sizes: IntArray) -> tuple[IntArray, IntArray]:
    """Triangles int32 [T, 3] of faces with `sizes` [F] of vertices, and the face of each [T].

    Triangles and quads at once; larger faces, which are few, one by one.
    """
    starts = np.cumsum(sizes) - sizes
    small = np.flatnonzero(sizes <= 4)
    quads = small[sizes[small] == 4]
    triangles = [corners[starts[small][:, None] + [0, 1, 2]], corners[starts[quads][:, None] + [0, 2, 3]]]
    owners = [small, quads]
    for face in np.flatnonzero(sizes > 4).tolist():
        around = corners[starts[face] : starts[face] + sizes[face]]
        found = tessellate_polygon([[Vector(point) for point in positions[around].tolist()]])
        triangles.append(around[np.array(found, dtype=np.int64).reshape(-1, 3)])
        owners.append(np.full(len(found), face))
    return np.concatenate(triangles).astype(np.int32), np.concatenate(owners)
