# SPDX-License-Identifier: GPL-3.0-or-later
"""UVs part by part: every part unwrapped by itself and laid out in a rectangle of its own."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

import bpy
import numpy as np

from ...backend.errors import MeshError, PromptError
from ..apply.marks import borders_at_places, mark_borders
from ..apply.ownership import read_made, write_made
from ..apply.vertex_groups import world_scale
from ..mesh_exchange.arrays import (
    BoolArray,
    FloatArray,
    IntArray,
    read_polygon_integers,
    triangle_corners,
    write_flags,
    write_polygon_integers,
)
from ..mesh_exchange.selection import only_object
from ..parts import read_part_ids
from ..separation.part_mesh import fill_mesh, part_template
from ..separation.topology import PartTopology, WholeMesh, split_by_part
from ..wording import say
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
    task = UnwrapTask.read(obj, method=method, margin=margin, new_map=new_map)
    parts = task.split()
    uvs = parts.given.uvs.copy()
    unwrap_some(context, obj, parts, uvs, 0)
    return write_uvs(obj, parts.lay_out(uvs), new_map=new_map)


@dataclass(frozen=True)
class UnwrapTask:
    """What is to be unwrapped, read from a mesh.

    target: the UV map that is to be replaced; None if one is to be made
    part_ids: int32 [P]; triangles: corners int32 [T, 3]
    scale: float64 [3, 3], of the object's world matrix
    """

    whole: WholeMesh
    target: str | None
    given: _Given
    part_ids: IntArray
    triangles: IntArray
    scale: FloatArray
    method: Method
    margin: float

    @classmethod
    def read(cls, obj: bpy.types.Object, *, method: Method, margin: float, new_map: bool) -> UnwrapTask:
        """Not in Edit mode. PromptError where there is no place for the UVs."""
        check_unwrappable(obj, new_map=new_map)
        mesh = obj.data
        target = _given_layer(mesh, new_map=new_map)
        given, part_ids = _Given.read(mesh, target), read_part_ids(mesh)
        triangles, scale = triangle_corners(mesh)[0], world_scale(obj)
        return cls(WholeMesh.read(mesh), target, given, part_ids, triangles, scale, method, margin)

    def check(self, obj: bpy.types.Object, *, new_map: bool) -> None:
        """Raise PartSAMError where the mesh that was read has no place for the UVs any more, or where what
        was done meanwhile would be lost or is not in the result. Not in Edit mode."""
        check_unwrappable(obj, new_map=new_map)
        mesh = obj.data
        if _given_layer(mesh, new_map=new_map) != self.target:
            raise MeshError(
                say('The active UV map of "{name}" is another one than before; start again', name=obj.name)
            )
        if not self.given.fits(_Given.read(mesh, self.target), follows_seams=self.method != "SMART"):
            raise MeshError(
                say('The UVs or seams of "{name}" were changed meanwhile; start again', name=obj.name)
            )

    def split(self) -> ApartMesh:
        """The parts as meshes of their own; needs no Blender data."""
        whole = self.whole
        corner_parts = self.part_ids[whole.corner_polygons]
        borders = borders_at_places(whole.places, whole.edge_vertices, whole.corner_edges, corner_parts)
        given = replace(self.given, seams=self.given.seams | borders)
        topologies = [topology for _, topology in split_by_part(whole, self.part_ids)]
        return ApartMesh(self, given, topologies, corner_parts)


@dataclass(frozen=True)
class ApartMesh:
    """A mesh split by part.

    given: with seams along the borders; corner_parts: int32 [C], the part of each corner
    """

    task: UnwrapTask
    given: _Given
    topologies: list[PartTopology]
    corner_parts: IntArray

    def lay_out(self, uvs: FloatArray) -> FloatArray:
        """The UVs float32 [C, 2] of the parts, each unwrapped over the whole square, side by side in it."""
        uvs, task = uvs.astype(np.float64), self.task
        areas = _areas(task.whole.positions.astype(np.float64) @ task.scale.T, self, uvs)
        return lay_out(uvs, self.corner_parts, areas, task.margin).astype(np.float32)


def write_uvs(obj: bpy.types.Object, uvs: FloatArray, *, new_map: bool) -> str:
    """Write UVs float32 [C, 2] of all corners, and seams along the borders; returns the UV map's name."""
    mesh = obj.data
    mark_borders(mesh, seam=True)
    name = _target_layer(mesh, new_map=new_map).name
    mesh.uv_layers[name].uv.foreach_set("vector", uvs.ravel())
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


def check_unwrappable(obj: bpy.types.Object, *, new_map: bool) -> None:
    """Raise PromptError where `unwrap_parts` would find no place for the UVs."""
    layers = obj.data.uv_layers
    missing = layers.get(str(read_made(obj.data, KIND))) is None if new_map else layers.active is None
    if missing and len(layers) >= MAX_UV_MAPS:
        raise PromptError(
            say(
                '"{name}" has {max_uv_maps} UV maps, the most that Blender allows; remove one',
                name=obj.name,
                max_uv_maps=MAX_UV_MAPS,
            )
        )


def _given_layer(mesh: bpy.types.Mesh, *, new_map: bool) -> str | None:
    """The map that `_target_layer` will return, if there is one already."""
    if new_map or mesh.uv_layers.active is None:
        name = str(read_made(mesh, KIND))
        return name if name in mesh.uv_layers else None
    return str(mesh.uv_layers.active.name)


def _target_layer(mesh: bpy.types.Mesh, *, new_map: bool) -> bpy.types.MeshUVLoopLayer:
    layers = mesh.uv_layers
    if new_map or layers.active is None:
        layer = layers.get(str(read_made(mesh, KIND)))
        if layer is None:
            layer = layers.new(name=UV_MAP, do_init=False)
            write_made(mesh, KIND, layer.name)  # another one than asked for where the user has such a map
        layers.active_index = layers.find(layer.name)
    return layers.active


def unwrap_some(
    context: bpy.types.Context,
    obj: bpy.types.Object,
    parts: ApartMesh,
    uvs: FloatArray,
    start: int,
    *,
    seconds: float = math.inf,
) -> int:
    """Unwrap parts from number `start` on into `uvs` [C, 2], for about so many `seconds`; where to go on.

    One after the other as a mesh of its own: Blender looks at all faces of a mesh to unwrap some of them.
    """
    until = time.monotonic() + seconds
    with _holder(context, obj) as holder, _face_selection(context.scene.tool_settings):
        for number, topology in enumerate(parts.topologies[start:], start):
            fill_mesh(holder.data, parts.task.whole.positions[topology.vertices], topology)
            parts.given.write(holder.data, topology)
            _unwrap_all_faces(parts.task.method, parts.task.margin)
            uvs[topology.corners] = _read_uvs(holder.data, UV_MAP)
            holder.data.clear_geometry()
            if time.monotonic() > until:
                return number + 1
    return len(parts.topologies)


def _unwrap_all_faces(method: Method, margin: float) -> None:
    bpy.ops.object.mode_set(mode="EDIT")
    try:
        if method == "SMART":
            bpy.ops.uv.smart_project(island_margin=margin)
        else:
            bpy.ops.uv.unwrap(method=method, margin=margin)
            bpy.ops.uv.pack_islands(margin=margin)
    finally:
        bpy.ops.object.mode_set(mode="OBJECT")


@dataclass(frozen=True)
class _Given:
    """What Blender looks at to unwrap: UVs float32 [C, 2], pinned ones bool [C], seams bool [E], and
    material slots int32 [P] (their images have an aspect)."""

    uvs: FloatArray
    pins: BoolArray | None
    seams: BoolArray
    slots: IntArray | None

    @staticmethod
    def read(mesh: bpy.types.Mesh, name: str | None) -> _Given:
        pinned, pins = mesh.attributes.get(f".pn.{name}"), None
        if pinned is not None:
            pins = np.zeros(len(mesh.loops), dtype=bool)
            pinned.data.foreach_get("value", pins)
        seams = np.zeros(len(mesh.edges), dtype=bool)
        mesh.edges.foreach_get("use_seam", seams)
        uvs = np.zeros((len(mesh.loops), 2), dtype=np.float32) if name is None else _read_uvs(mesh, name)
        return _Given(uvs, pins, seams, read_polygon_integers(mesh, "material_index"))

    def fits(self, other: _Given, *, follows_seams: bool) -> bool:
        """Whether a calculation with these is one with `other`, whose UVs are replaced by its result."""
        if follows_seams and not np.array_equal(self.seams, other.seams):
            return False
        return np.array_equal(self.uvs, other.uvs)

    def write(self, part: bpy.types.Mesh, topology: PartTopology) -> None:
        """Give it to the mesh of a part, all of it selected."""
        part.uv_layers.new(name=UV_MAP, do_init=False)
        if self.slots is not None:
            write_polygon_integers(part, "material_index", self.slots[topology.polygons])
        if self.pins is not None:
            write_flags(part, f".pn.{UV_MAP}", "CORNER", self.pins[topology.corners])
        for kind, domain in (("poly", "FACE"), ("edge", "EDGE"), ("vert", "POINT")):
            elements = {"FACE": part.polygons, "EDGE": part.edges, "POINT": part.vertices}[domain]
            write_flags(part, f".select_{kind}", domain, np.ones(len(elements), dtype=bool))
        part.edges.foreach_set("use_seam", self.seams[topology.edges])
        part.uv_layers[UV_MAP].uv.foreach_set("vector", self.uvs[topology.corners].ravel())


@contextmanager
def _holder(context: bpy.types.Context, obj: bpy.types.Object) -> Iterator[bpy.types.Object]:
    """An object without geometry in the place of `obj`, the only selected one of the scene for the block."""
    mesh = part_template(obj)
    holder = bpy.data.objects.new(f"{obj.name} Part", mesh)
    try:
        context.scene.collection.objects.link(holder)
        holder.matrix_world = obj.matrix_world
        with only_object(context, holder):
            yield holder
    finally:
        bpy.data.objects.remove(holder)
        bpy.data.meshes.remove(mesh)
        context.view_layer.update()  # else the layer lists an object that is no more


@contextmanager
def _face_selection(settings: bpy.types.ToolSettings) -> Iterator[None]:
    """Have faces that are selected in the mesh count as selected in UV space."""
    sync, modes = settings.use_uv_select_sync, tuple(settings.mesh_select_mode)
    settings.use_uv_select_sync, settings.mesh_select_mode = True, (False, False, True)
    try:
        yield
    finally:
        settings.use_uv_select_sync, settings.mesh_select_mode = sync, modes


def _read_uvs(mesh: bpy.types.Mesh, name: str) -> FloatArray:
    uvs = np.empty((len(mesh.loops), 2), dtype=np.float32)
    mesh.uv_layers[name].uv.foreach_get("vector", uvs.ravel())
    return np.nan_to_num(uvs)


def _areas(points: FloatArray, parts: ApartMesh, uvs: FloatArray) -> FloatArray:
    """Area of each part in the world, where its vertices are at points [V, 3], and in UV space, float64
    [largest part + 1, 2]."""
    corners, corner_parts = parts.task.triangles, parts.corner_parts
    a, b, c = (points[parts.task.whole.corner_vertices[corners[:, k]]] for k in range(3))
    surface = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    p, q, r = (uvs[corners[:, k]] for k in range(3))
    flat = np.abs((q - p)[:, 0] * (r - p)[:, 1] - (q - p)[:, 1] * (r - p)[:, 0]) / 2
    labels = corner_parts[corners[:, 0]]
    size = int(corner_parts.max(initial=0)) + 1
    return np.stack(
        [
            np.bincount(labels, weights=np.nan_to_num(surface), minlength=size),
            np.bincount(labels, weights=flat, minlength=size),
        ],
        axis=1,
    )
