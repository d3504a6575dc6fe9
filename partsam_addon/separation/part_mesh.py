# SPDX-License-Identifier: GPL-3.0-or-later
"""Meshes of parts, built from arrays."""

from __future__ import annotations

import bpy
import numpy as np

from ..mesh_exchange.arrays import FloatArray
from .topology import PartTopology


def part_template(obj: bpy.types.Object) -> bpy.types.Mesh:
    """A mesh without geometry that has the materials and settings of `obj`'s; copy it per part."""
    template = obj.data.copy()
    if template.shape_keys is not None:
        # Only an object can drop the keys of its mesh.
        holder = bpy.data.objects.new("holder", template)
        holder.shape_key_clear()
        bpy.data.objects.remove(holder)
    template.clear_geometry()
    template.partsam.parts.clear()
    template.partsam.retired.clear()
    template.partsam.active_index = 0
    return template


def fill_mesh(mesh: bpy.types.Mesh, positions: FloatArray, topology: PartTopology) -> None:
    """Give an empty mesh the connectivity of a part, with vertex positions float32 [v, 3]."""
    mesh.vertices.add(len(topology.vertices))
    mesh.edges.add(len(topology.edges))
    mesh.loops.add(len(topology.corners))
    mesh.polygons.add(len(topology.polygons))
    starts = np.cumsum(topology.polygon_sizes) - topology.polygon_sizes
    mesh.vertices.foreach_set("co", np.ascontiguousarray(positions, dtype=np.float32).ravel())
    if len(topology.edges):
        mesh.edges.foreach_set("vertices", topology.edge_vertices.astype(np.int32).ravel())
    if len(topology.polygons):
        mesh.loops.foreach_set("vertex_index", topology.corner_vertices.astype(np.int32))
        mesh.loops.foreach_set("edge_index", topology.corner_edges.astype(np.int32))
        mesh.polygons.foreach_set("loop_start", starts.astype(np.int32))
    mesh.update(calc_edges_loose=True)
