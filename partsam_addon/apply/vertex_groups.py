# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts as vertex groups."""

from __future__ import annotations

import bpy
import numpy as np

from ..mesh_exchange.arrays import FloatArray
from ..parts import UNASSIGNED, read_part_ids
from .falloff import VertexWeights, blended_weights, whole_weights


def make_vertex_groups(obj: bpy.types.Object, *, falloff: float = 0.0) -> list[str]:
    """A vertex group per part, called like it; groups of the same name are replaced.

    falloff: half width of the blend across borders in world units. Without one, every vertex of a
    part has weight 1, those on a border in each of the parts.
    """
    mesh = obj.data
    part_ids = read_part_ids(mesh)
    if falloff > 0:
        weights = blended_weights(mesh, part_ids, width=falloff, scale=world_scale(obj))
    else:
        weights = whole_weights(mesh, part_ids)
    names = {part.part_id: part.name for part in mesh.partsam.parts}
    return write_vertex_groups(obj, {names[i]: w for i, w in weights.items() if i != UNASSIGNED})


def write_vertex_groups(obj: bpy.types.Object, groups: dict[str, VertexWeights]) -> list[str]:
    """Make the vertex groups with these names and weights; their names."""
    for name, entry in groups.items():
        old = obj.vertex_groups.get(name)
        if old is not None:
            obj.vertex_groups.remove(old)
        add_weights(obj.vertex_groups.new(name=name), entry)
    return list(groups)


def add_weights(group: bpy.types.VertexGroup, entry: VertexWeights) -> None:
    """Add weighted vertices to a group: those of equal weight in one call, the rest one by one."""
    whole = entry.weights >= 1
    group.add(entry.vertices[whole].tolist(), 1.0, "REPLACE")
    rest = zip(entry.vertices[~whole].tolist(), entry.weights[~whole].tolist(), strict=True)
    for vertex, weight in rest:
        group.add((vertex,), weight, "REPLACE")


def world_scale(obj: bpy.types.Object) -> FloatArray:
    """Linear part of the object's world matrix, float64 [3, 3]."""
    return np.array(obj.matrix_world, dtype=np.float64)[:3, :3]
