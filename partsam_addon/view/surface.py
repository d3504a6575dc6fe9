# SPDX-License-Identifier: GPL-3.0-or-later
"""The surface of an object as the viewport shows it in each mode, with the part of every triangle."""

from __future__ import annotations

from dataclasses import dataclass

import bmesh
import bpy
import numpy as np

from ..constants import PART_ATTRIBUTE
from ..mesh_exchange.arrays import (
    FloatArray,
    IntArray,
    corner_vertices,
    polygon_flags,
    read_polygon_integers,
    triangle_corners,
    vertex_positions,
)

EDIT_MODE_FACES = 200_000
"""Up to this many faces are read from an edit mesh, which goes face by face: 0.1 s for 50,000."""


@dataclass(frozen=True)
class Surface:
    """positions: float32 [V, 3], object space; triangles: int32 [T, 3]; part_ids: int32 [T]"""

    positions: FloatArray
    triangles: IntArray
    part_ids: IntArray


def read_surface(context: bpy.types.Context, obj: bpy.types.Object) -> Surface | None:
    """What is to be drawn over `obj`; None where its faces are not to be had."""
    if obj.mode == "EDIT":
        return _read_edit_mesh(obj.data)
    if obj.mode == "SCULPT" and obj.use_dynamic_topology_sculpting:
        return None  # other faces than those of the mesh
    shown = obj.evaluated_get(context.evaluated_depsgraph_get()).data
    part_ids = read_polygon_integers(shown, PART_ATTRIBUTE)
    if part_ids is None or not len(part_ids):
        return None
    corners, polygons = triangle_corners(shown)
    if obj.mode == "SCULPT":
        visible = ~polygon_flags(shown, "hide")[polygons]
        corners, polygons = corners[visible], polygons[visible]
    return Surface(vertex_positions(shown), corner_vertices(shown)[corners], part_ids[polygons])


def outline(surface: Surface, part_id: int) -> FloatArray:
    """Edges around a part, float32 [K, 2, 3]: those at which only one of its triangles lies.

    Vertices at the same place count as one, so that UV seams are no border.
    """
    triangles = surface.triangles[surface.part_ids == part_id]
    used, local = np.unique(triangles, return_inverse=True)
    positions = surface.positions[used]
    _, places = np.unique(positions, axis=0, return_inverse=True)
    corners = places.ravel()[local.reshape(-1, 3)].astype(np.int64)
    ends = np.sort(np.stack([corners, np.roll(corners, -1, axis=1)], axis=-1).reshape(-1, 2), axis=1)
    _keys, first, counts = np.unique(
        ends[:, 0] * (len(used) + 1) + ends[:, 1], return_index=True, return_counts=True
    )
    vertices = local.reshape(-1, 3)
    pairs = np.stack([vertices, np.roll(vertices, -1, axis=1)], axis=-1).reshape(-1, 2)
    border: FloatArray = positions[pairs[first[counts == 1]]]
    return border


def _read_edit_mesh(mesh: bpy.types.Mesh) -> Surface | None:
    edit_mesh = bmesh.from_edit_mesh(mesh)
    layer = edit_mesh.faces.layers.int.get(PART_ATTRIBUTE)
    if layer is None or not 0 < len(edit_mesh.faces) <= EDIT_MODE_FACES:
        return None
    edit_mesh.verts.index_update()
    loops = [triangle for triangle in edit_mesh.calc_loop_triangles() if not triangle[0].face.hide]
    triangles = [[corner.vert.index for corner in triangle] for triangle in loops]
    return Surface(
        np.array([vertex.co[:] for vertex in edit_mesh.verts], dtype=np.float32),
        np.array(triangles, dtype=np.int32).reshape(-1, 3),
        np.array([triangle[0].face[layer] for triangle in loops], dtype=np.int32),
    )
