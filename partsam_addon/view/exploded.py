# SPDX-License-Identifier: GPL-3.0-or-later
"""The exploded view: parts drawn apart, on one mesh or of objects that were separated together."""

from __future__ import annotations

import bpy
import numpy as np
from bpy.props import FloatProperty
from mathutils import Vector

from ...backend.errors import PromptError
from ..constants import GROUP_PROPERTY
from ..mesh_exchange.arrays import FloatArray
from ..mesh_exchange.elements import element_centers, element_count, element_sizes
from ..parts import has_parts, read_part_ids
from ..wording import say
from .state import sync_display


def explode(obj: bpy.types.Object, factor: float) -> None:
    """Draw the parts of `obj`, or the objects separated together with it, apart by `factor`.

    Each is drawn at factor times the way from the middle of the whole to its own middle; 0 ends the
    view. PromptError for an object that is neither.
    """
    members = _members(obj)
    if not members:
        raise PromptError(say('"{name}" has no parts to move apart; press Segment first', name=obj.name))
    for member in members:
        member.partsam_view.factor = factor
        sync_display(member)
        member.update_tag(refresh={"OBJECT"})


def separated_group(obj: bpy.types.Object) -> list[bpy.types.Object]:
    """The mesh objects that one separation made, if `obj` is one of them or their empty."""
    tag = obj.get(GROUP_PROPERTY)
    if tag is None:
        return []
    return [other for other in bpy.data.objects if other.get(GROUP_PROPERTY) == tag and other.type == "MESH"]


def shown_offsets(obj: bpy.types.Object) -> FloatArray | None:
    """How far from its place each polygon is drawn, float64 [P, 3] in object space; None if it is not.

    Not in Edit mode.
    """
    if obj.partsam_view.factor <= 0:
        return None
    moved = group_offset(obj)
    if moved is not None:
        return np.tile(np.array(moved), (element_count(obj.data), 1))
    part_ids = read_part_ids(obj.data)
    return unit_offsets(obj.data)[part_ids] * obj.partsam_view.factor


def group_offset(obj: bpy.types.Object) -> Vector | None:
    """How far a member of a separated group is drawn from its place, in object space; None if not one."""
    group = separated_group(obj)
    if len(group) < 2 or obj.partsam_view.factor <= 0:
        return None
    middle = _middle([_center(other) for other in group])
    inverse = obj.matrix_world.to_3x3().inverted_safe()
    return inverse @ ((_center(obj) - middle) * obj.partsam_view.factor)


def unit_offsets(mesh: bpy.types.Mesh) -> FloatArray:
    """From the middle of the mesh to that of each part, by area: float64 [largest id + 1, 3]."""
    part_ids = read_part_ids(mesh)
    areas = np.nan_to_num(element_sizes(mesh)).astype(np.float64) + 1e-12
    moments = areas[:, None] * element_centers(mesh)
    size = int(part_ids.max(initial=0)) + 1
    weights = np.bincount(part_ids, weights=areas, minlength=size)
    sums = np.stack([np.bincount(part_ids, weights=moments[:, k], minlength=size) for k in range(3)], axis=1)
    middle = moments.sum(axis=0) / max(float(areas.sum()), 1e-12)
    offsets: FloatArray = sums / np.maximum(weights, 1e-12)[:, None] - middle
    offsets[weights == 0] = 0
    return offsets


def _members(obj: bpy.types.Object) -> list[bpy.types.Object]:
    group = separated_group(obj)
    if len(group) > 1:
        return [member for member in group if member.is_editable]
    return [obj] if obj.type == "MESH" and has_parts(obj.data) and obj.is_editable else []


def _center(obj: bpy.types.Object) -> Vector:
    """Middle of the object's bounding box in the world."""
    return obj.matrix_world @ _middle([Vector(corner) for corner in obj.bound_box])


def _middle(points: list[Vector]) -> Vector:
    """Centre of the bounding box."""
    array = np.array(points)
    return Vector((array.min(axis=0) + array.max(axis=0)) / 2)


def _get_factor(obj: bpy.types.Object) -> float:
    group = separated_group(obj) if obj.type == "EMPTY" else []
    return float((group[0] if group else obj).partsam_view.factor)


def _set_factor(obj: bpy.types.Object, factor: float) -> None:
    if _members(obj):
        explode(obj, factor)


def register() -> None:
    """Attach the slider to every object: one for all members of a group."""
    bpy.types.Object.partsam_explode = FloatProperty(
        name="Explode",
        description="Draw the parts apart; renders and exports stay as they are",
        default=0.0,
        min=0.0,
        soft_max=2.0,
        max=100.0,
        get=_get_factor,
        set=_set_factor,
    )


def unregister() -> None:
    """Take the slider from every object."""
    del bpy.types.Object.partsam_explode
