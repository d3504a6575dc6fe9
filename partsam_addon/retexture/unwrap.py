# SPDX-License-Identifier: GPL-3.0-or-later
"""UVs part by part: every part unwrapped by itself and laid out in a rectangle of its own."""

from __future__ import annotations

from typing import Literal

import bmesh
import bpy
import numpy as np

from ...backend.errors import PromptError
from ..apply.marks import mark_borders
from ..apply.ownership import read_made, write_made
from ..apply.vertex_groups import world_scale
from ..mesh_exchange.arrays import (
    FloatArray,
    IntArray,
    corner_polygons,
    corner_vertices,
    triangle_corners,
    vertex_positions,
    write_flags,
)
from ..mesh_exchange.selection import only_object, saved_flags
from ..parts import read_part_ids
from .layout import pack_rectangles

Method = Literal["SMART", "ANGLE_BASED", "CONFORMAL"]

KIND = "uv_map"

MAX_UV_MAPS = 8
"""Blender's own limit."""

UV_MAP = "Parts"
"""Name of the UV map that is made when the active one is to be kept."""


def unwrap_parts(
    context: bpy.types.Context,
    obj: bpy.types.Object,
    *,
    method: Method = "SMART",
    margin: float = 0.005,
    new_map: bool = True,
) -> str:
    """Unwrap each part and pack part by part; returns the name of the UV map. Not in Edit mode.

    Part borders become seams. All parts get the same texel density: UV area in proportion to area in
    the world. margin: distance between islands and around each part's rectangle, in UV units.
    new_map: write into a map called "Parts" and leave the others; else into the active map.
    """
    mesh = obj.data
    mark_borders(mesh, seam=True)
    layer = _target_layer(mesh, new_map=new_map)
    name = layer.name
    with saved_flags(mesh), only_object(context, obj):
        for kind, domain in (("poly", "FACE"), ("edge", "EDGE"), ("vert", "POINT")):
            count = {"FACE": len(mesh.polygons), "EDGE": len(mesh.edges), "POINT": len(mesh.vertices)}[domain]
            write_flags(mesh, f".hide_{kind}", domain, np.zeros(count, dtype=bool))
        _unwrap_each(context, obj, method, margin)
    uvs = _read_uvs(mesh, name)
    corner_parts = read_part_ids(mesh)[corner_polygons(mesh)]
    placed = lay_out(uvs, corner_parts, _areas(obj, uvs, corner_parts), margin)
    mesh.uv_layers[name].uv.foreach_set("vector", placed.astype(np.float32).ravel())
    mesh.update_tag()
    return str(name)


def lay_out(uvs: FloatArray, corner_parts: IntArray, areas: FloatArray, margin: float) -> FloatArray:
    """Put the UVs [C, 2] of each part into a rectangle of its own within 0..1.

    corner_parts: int [C], positions in `areas`; areas: float64 [parts, 2], surface and UV area of each
    """
    parts = np.unique(corner_parts)
    order = np.argsort(corner_parts, kind="stable")
    starts = np.searchsorted(corner_parts[order], parts)
    low, high = np.minimum.reduceat(uvs[order], starts), np.maximum.reduceat(uvs[order], starts)
    surface, flat = areas[parts].T
    usable = (surface > 0) & (flat > 0)
    scale = np.sqrt(np.divide(surface, flat, out=np.zeros(len(parts)), where=usable))
    sizes = np.maximum((high - low) * scale[:, None], 0.0)
    total = np.sqrt(max(float(np.prod(sizes, axis=1).sum()), 1e-12))
    border = margin * total
    corners, side = pack_rectangles(sizes + 2 * border)
    index = np.searchsorted(parts, corner_parts)
    moved = (uvs - low[index]) * scale[index][:, None] + corners[index] + border
    return moved / side


def check_unwrappable(context: bpy.types.Context, obj: bpy.types.Object, *, new_map: bool) -> None:
    """Raise PromptError where `unwrap_parts` could not work on `obj`, or would find no place for the UVs."""
    if obj.name not in context.view_layer.objects or not obj.visible_get():
        raise PromptError(f'"{obj.name}" is hidden; show it first: unwrapping goes through Edit mode')
    layers = obj.data.uv_layers
    missing = layers.get(str(read_made(obj.data, KIND))) is None if new_map else layers.active is None
    if missing and len(layers) >= MAX_UV_MAPS:
        raise PromptError(f'"{obj.name}" has {MAX_UV_MAPS} UV maps, the most that Blender allows; remove one')


def _target_layer(mesh: bpy.types.Mesh, *, new_map: bool) -> bpy.types.MeshUVLoopLayer:
    layers = mesh.uv_layers
    if new_map or layers.active is None:
        layer = layers.get(str(read_made(mesh, KIND)))
        if layer is None:
            layer = layers.new(name=UV_MAP, do_init=False)
            write_made(mesh, KIND, layer.name)  # another one than asked for where the user has such a map
        layers.active_index = layers.find(layer.name)
    return layers.active


def _unwrap_each(context: bpy.types.Context, obj: bpy.types.Object, method: Method, margin: float) -> None:
    """Unwrap the parts one after the other in Edit mode, each over the whole UV square."""
    settings = context.tool_settings
    sync, modes = settings.use_uv_select_sync, tuple(settings.mesh_select_mode)
    settings.use_uv_select_sync, settings.mesh_select_mode = True, (False, False, True)
    ids = read_part_ids(obj.data)
    order = np.argsort(ids, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(ids[order])) + 1)
    bpy.ops.object.mode_set(mode="EDIT")
    try:
        selected = order
        for faces in parts:
            _select(obj.data, faces, instead_of=selected)
            selected = faces
            if method == "SMART":
                bpy.ops.uv.smart_project(island_margin=margin)
            else:
                bpy.ops.uv.unwrap(method=method, margin=margin)
                bpy.ops.uv.pack_islands(margin=margin)
    finally:
        bpy.ops.object.mode_set(mode="OBJECT")
        settings.use_uv_select_sync, settings.mesh_select_mode = sync, modes


def _select(mesh: bpy.types.Mesh, faces: IntArray, *, instead_of: IntArray) -> None:
    """Select the faces with these numbers instead of those, in Edit mode: no other face is touched."""
    edit_mesh = bmesh.from_edit_mesh(mesh)
    edit_mesh.faces.ensure_lookup_table()
    for index in instead_of.tolist():
        edit_mesh.faces[index].select_set(False)
    for index in faces.tolist():
        edit_mesh.faces[index].select_set(True)
    bmesh.update_edit_mesh(mesh, loop_triangles=False, destructive=False)


def _read_uvs(mesh: bpy.types.Mesh, name: str) -> FloatArray:
    uvs = np.empty((len(mesh.loops), 2), dtype=np.float32)
    mesh.uv_layers[name].uv.foreach_get("vector", uvs.ravel())
    return np.nan_to_num(uvs).astype(np.float64)


def _areas(obj: bpy.types.Object, uvs: FloatArray, corner_parts: IntArray) -> FloatArray:
    """Area of each part in the world and in UV space, float64 [largest part + 1, 2]."""
    mesh = obj.data
    corners, _ = triangle_corners(mesh)
    points = vertex_positions(mesh).astype(np.float64) @ world_scale(obj).T
    a, b, c = (points[corner_vertices(mesh)[corners[:, k]]] for k in range(3))
    surface = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    p, q, r = (uvs[corners[:, k]] for k in range(3))
    flat = np.abs((q - p)[:, 0] * (r - p)[:, 1] - (q - p)[:, 1] * (r - p)[:, 0]) / 2
    parts = corner_parts[corners[:, 0]]
    size = int(corner_parts.max(initial=0)) + 1
    return np.stack(
        [
            np.bincount(parts, weights=np.nan_to_num(surface), minlength=size),
            np.bincount(parts, weights=flat, minlength=size),
        ],
        axis=1,
    )
