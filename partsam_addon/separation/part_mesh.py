# SPDX-License-Identifier: GPL-3.0-or-later
"""Meshes of parts and their shape keys, built from arrays."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import bpy
import numpy as np

from ..apply.ownership import forget_made
from ..apply.vertex_groups import KIND
from ..mesh_exchange.arrays import FloatArray, IntArray
from .animation import copy_animation, copy_drivers
from .layers import Layer, add_attributes
from .topology import PartTopology

_SETTINGS = ("slider_min", "slider_max", "value", "mute", "vertex_group", "interpolation")


def part_template(
    obj: bpy.types.Object, *, layers: Sequence[Layer] = (), groups: Collection[str] = ()
) -> bpy.types.Mesh:
    """A mesh without geometry that has the materials and settings of `obj`'s; copy it per part.

    layers: attributes that it has, too; groups: names of its vertex groups
    """
    template = obj.data.copy()
    # Only an object can drop the keys of its mesh, and give it groups.
    holder = bpy.data.objects.new("holder", template)
    if template.shape_keys is not None:
        holder.shape_key_clear()
    template.clear_geometry()
    add_attributes(template, layers)
    forget_made(template, KIND)  # else each part would carry what was made of all
    for original in obj.vertex_groups if groups else ():
        if original.name in groups:
            holder.vertex_groups.new(name=original.name).lock_weight = original.lock_weight
    bpy.data.objects.remove(holder)
    table = template.partsam
    for collection in (table.parts, table.retired, table.levels):
        collection.clear()
    table.active_index, table.origin = 0, 0
    # Undo in Edit mode goes by the number that the faces carry, and those of a part carry none yet.
    table.revision, table.is_kept = 0, False
    return template


def fill_mesh(mesh: bpy.types.Mesh, positions: FloatArray, topology: PartTopology) -> None:
    """Give an empty mesh the connectivity of a part, with vertex positions float32 [v, 3]."""
    mesh.vertices.add(len(topology.vertices))
    mesh.edges.add(len(topology.edges))
    mesh.loops.add(len(topology.corners))
    mesh.polygons.add(len(topology.polygons))
    starts = np.cumsum(topology.polygon_sizes) - topology.polygon_sizes
    _write(mesh, "position", "vector", positions.astype(np.float32), (mesh.vertices, "co"))
    if len(topology.edges):
        ends = topology.edge_vertices.astype(np.int32)
        _write(mesh, ".edge_verts", "value", ends, (mesh.edges, "vertices"))
    if len(topology.polygons):
        corner_vertices, corner_edges = (
            indices.astype(np.int32) for indices in (topology.corner_vertices, topology.corner_edges)
        )
        _write(mesh, ".corner_vert", "value", corner_vertices, (mesh.loops, "vertex_index"))
        _write(mesh, ".corner_edge", "value", corner_edges, (mesh.loops, "edge_index"))
        mesh.polygons.foreach_set("loop_start", starts.astype(np.int32))
    mesh.update(calc_edges_loose=True)


def _write(
    mesh: bpy.types.Mesh,
    name: str,
    member: str,
    values: FloatArray | IntArray,
    public: tuple[bpy.types.bpy_prop_collection, str],
) -> None:
    """Write all values of an attribute that every mesh has; where it has another name, one element at a time.

    public: the collection of the same elements, and the property there, which takes 10 to 100 times as long
    """
    attribute = mesh.attributes.get(name)
    if attribute is not None and len(attribute.data) == len(public[0]):
        attribute.data.foreach_set(member, np.ascontiguousarray(values).ravel())
    else:
        public[0].foreach_set(public[1], values.ravel())


def write_shape_keys(
    obj: bpy.types.Object,
    part: bpy.types.Object,
    positions: dict[str, FloatArray],
    topology: PartTopology,
    center: FloatArray,
) -> list[str]:
    """Give `part` the shape keys of `obj`, with their settings, drivers and animation; what has no place.

    positions: name -> float32 [V, 3] of the whole mesh; center: the part's origin in it
    """
    if not positions:
        return []
    keys = obj.data.shape_keys
    for name, whole in positions.items():
        block = part.shape_key_add(name=name, from_mix=False)
        local = whole[topology.vertices] - center.astype(np.float32)
        block.data.foreach_set("co", local.ravel())
    made = part.data.shape_keys
    for block in keys.key_blocks:
        copied = made.key_blocks[block.name]
        for setting in _SETTINGS:
            setattr(copied, setting, getattr(block, setting))
        copied.relative_key = made.key_blocks[block.relative_key.name]
    made.use_relative = keys.use_relative
    made.eval_time = keys.eval_time
    part.active_shape_key_index = obj.active_shape_key_index
    copy_drivers(keys, made, lambda _path: True)
    return [f'NLA strip "{name}"' for name in copy_animation(keys, made)]
