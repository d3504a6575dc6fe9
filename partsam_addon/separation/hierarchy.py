# SPDX-License-Identifier: GPL-3.0-or-later
"""Where separated parts go: the place of the original in scene and hierarchy."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Literal

import bpy
from mathutils import Matrix

from ..constants import GROUP_PROPERTY
from .animation import copy_action, copy_drivers

Grouping = Literal["EMPTY", "COLLECTION", "NONE"]

_TRANSFORM = (
    "rotation_mode",
    "location",
    "rotation_euler",
    "rotation_quaternion",
    "rotation_axis_angle",
    "scale",
    "delta_location",
    "delta_rotation_euler",
    "delta_rotation_quaternion",
    "delta_scale",
)


@dataclass(frozen=True)
class Place:
    """The collection for the parts, the empty that stands for the original if any, and the group's tag."""

    collections: list[bpy.types.Collection]
    empty: bpy.types.Object | None
    tag: str


def arrange(context: bpy.types.Context, obj: bpy.types.Object, grouping: Grouping) -> Place:
    """Prepare the place for the parts of `obj`."""
    homes = _homes(context, obj)
    tag = uuid.uuid4().hex  # unlike those of files that are appended later
    if obj.parent_type == "ARMATURE" and grouping == "EMPTY":
        grouping = "NONE"  # this parent deforms its direct children only
    if grouping == "COLLECTION":
        collection = bpy.data.collections.new(f"{obj.name} Parts")
        homes[0].children.link(collection)
        return Place([collection], None, tag)
    if grouping == "NONE":
        return Place(homes, None, tag)
    empty = bpy.data.objects.new(f"{obj.name} Parts", None)
    empty.empty_display_size = max(0.1, max(obj.dimensions) / 4)
    for home in homes:
        home.objects.link(empty)
    _take_place(obj, empty)
    empty[GROUP_PROPERTY] = tag
    return Place(homes, empty, tag)


def place_part(original: bpy.types.Object, part: bpy.types.Object, place: Place, shift: Matrix) -> None:
    """Link a copy of the original, whose mesh is shifted back by `shift`, so that it stays in place."""
    for collection in place.collections:
        collection.objects.link(part)
    part[GROUP_PROPERTY] = place.tag
    if place.empty is None:
        # By the location alone; matrix_basis has rotation and scale, those by deltas included.
        part.location += part.matrix_basis.to_3x3() @ shift.translation
        return
    part.constraints.clear()
    part.animation_data_clear()
    copy_drivers(original, part, lambda path: not _moves(path))
    part.parent = place.empty
    part.parent_type = "OBJECT"
    part.matrix_parent_inverse = Matrix()
    part.delta_location, part.delta_scale = (0, 0, 0), (1, 1, 1)
    part.delta_rotation_euler, part.delta_rotation_quaternion = (0, 0, 0), (1, 0, 0, 0)
    part.matrix_basis = shift


def replace_original(
    context: bpy.types.Context,
    obj: bpy.types.Object,
    place: Place,
    parts: list[bpy.types.Object],
    *,
    remove: bool,
) -> None:
    """Hide or remove the original and select the parts. Children of a removed one follow the parts."""
    largest = max(parts, key=lambda part: len(part.data.polygons))
    if remove:
        _adopt_children(context, obj, place.empty or largest)
        mesh = obj.data
        bpy.data.objects.remove(obj)
        if mesh.users == 0:
            bpy.data.meshes.remove(mesh)
    else:
        obj.select_set(False)
        obj.hide_set(True)
        obj.hide_render = True
    context.view_layer.update()
    for part in parts:
        part.hide_set(False)
        part.hide_render = False
        part.select_set(True)
    context.view_layer.objects.active = largest


def _take_place(obj: bpy.types.Object, empty: bpy.types.Object) -> None:
    """Give the empty the parent, transform, constraints and animation of `obj`."""
    empty.parent, empty.parent_type = obj.parent, obj.parent_type
    if obj.parent_type == "BONE":
        empty.parent_bone = obj.parent_bone
    elif obj.parent_type in ("VERTEX", "VERTEX_3"):
        empty.parent_vertices = obj.parent_vertices
    empty.matrix_parent_inverse = obj.matrix_parent_inverse
    for name in _TRANSFORM:
        setattr(empty, name, getattr(obj, name))
    for constraint in obj.constraints:
        empty.constraints.copy(constraint)
    copy_action(obj, empty)
    copy_drivers(obj, empty, _moves)


def _moves(data_path: str) -> bool:
    """Whether a driver of an object places it (and not, say, one of its modifiers)."""
    return data_path.startswith(("location", "rotation", "scale", "delta", "constraints"))


def _adopt_children(context: bpy.types.Context, obj: bpy.types.Object, heir: bpy.types.Object) -> None:
    """Make the children of `obj` those of `heir`, without moving them."""
    context.view_layer.update()
    for child in list(obj.children):
        world = child.matrix_world.copy()
        by_vertices = child.parent_type in ("VERTEX", "VERTEX_3")
        child.parent = heir
        child.matrix_parent_inverse = (
            heir.matrix_world.inverted_safe() @ obj.matrix_world @ child.matrix_parent_inverse
        )
        if by_vertices:  # those vertices are gone
            child.parent_type = "OBJECT"
            child.matrix_world = world


def _homes(context: bpy.types.Context, obj: bpy.types.Object) -> list[bpy.types.Collection]:
    """The collections of `obj`, those of the current scene first."""
    scene = context.scene.collection
    here = {scene, *scene.children_recursive}
    homes = sorted(obj.users_collection, key=lambda collection: collection not in here)
    return homes or [scene]
