# SPDX-License-Identifier: GPL-3.0-or-later
"""Where separated parts go: the place of the original in scene and hierarchy."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Literal

import bpy
from mathutils import Matrix

from ..constants import GROUP_PROPERTY
from .animation import PartialActions, copy_animation, copy_drivers
from .heirs import bequeath

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
    """Where the parts go.

    collections: for the parts; empty: stands for the original, if one does; tag: of the group
    left_out: what of the original's animation has no place
    rest: what of it does not move the empty, and so goes to the parts
    """

    collections: list[bpy.types.Collection]
    empty: bpy.types.Object | None
    tag: str
    left_out: list[str] = field(default_factory=list)
    rest: PartialActions = field(default_factory=lambda: PartialActions(lambda path: not _moves(path)))


def arrange(context: bpy.types.Context, obj: bpy.types.Object, grouping: Grouping) -> Place:
    """Prepare the place for the parts of `obj`."""
    homes = homes_of(context, obj)
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
    left_out = [f'NLA strip "{name}"' for name in _take_place(obj, empty)]
    empty[GROUP_PROPERTY] = tag
    return Place(homes, empty, tag, left_out)


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
    copy_drivers(original, part, place.rest.wanted)
    copy_animation(original, part, partial=place.rest)
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
        mesh = obj.data
        bequeath(context, obj, place.empty or largest, largest)
        bpy.data.objects.remove(obj)
        if mesh.users == 0:
            bpy.data.meshes.remove(mesh)
    else:
        _hide_everywhere(obj)
    context.view_layer.update()
    for part in parts:
        part.hide_set(False)
        part.hide_render = False
        part.select_set(True)
    context.view_layer.objects.active = largest


def _take_place(obj: bpy.types.Object, empty: bpy.types.Object) -> list[str]:
    """Give the empty the parent, transform, constraints and animation of `obj`; what has no place there."""
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
    copy_drivers(obj, empty, _moves)
    return copy_animation(obj, empty)


def _moves(data_path: str) -> bool:
    """Whether a driver of an object places it (and not, say, one of its modifiers)."""
    return data_path.startswith(("location", "rotation", "scale", "delta", "constraints"))


def homes_of(context: bpy.types.Context, obj: bpy.types.Object) -> list[bpy.types.Collection]:
    """The collections of scenes that hold `obj`, those that this view layer shows first.

    Physics keeps objects in collections of its own, which are none of these.
    """
    scenes = [context.scene, *(scene for scene in bpy.data.scenes if scene != context.scene)]
    trees = [{scene.collection, *scene.collection.children_recursive} for scene in scenes]
    shown = _shown_collections(context.view_layer.layer_collection)
    found = [home for home in obj.users_collection if any(home in tree for tree in trees)]
    return sorted(found, key=lambda home: (home not in shown, home not in trees[0]))


def _shown_collections(layer: bpy.types.LayerCollection) -> set[bpy.types.Collection]:
    """The collections below `layer` that are not excluded."""
    if layer.exclude:
        return set()
    return {layer.collection}.union(*(_shown_collections(child) for child in layer.children))


def _hide_everywhere(obj: bpy.types.Object) -> None:
    """Hide an object in every view layer, and in renders."""
    for scene in bpy.data.scenes:
        for layer in scene.view_layers:
            if obj.name in layer.objects:
                obj.select_set(False, view_layer=layer)
                obj.hide_set(True, view_layer=layer)
    obj.hide_render = True
