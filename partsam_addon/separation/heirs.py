# SPDX-License-Identifier: GPL-3.0-or-later
"""Who takes the place of a removed original: its children, and all that points to it."""

from __future__ import annotations

from collections.abc import Iterator

import bpy

_BY_PLACE = {"ARRAY", "CAST", "DISPLACE", "HOOK", "MIRROR", "SCREW", "SIMPLE_DEFORM", "UV_PROJECT", "UV_WARP"}
_BY_PLACE |= {"WARP", "WAVE", "VERTEX_WEIGHT_PROXIMITY"}
"""Modifiers that use of another object where it is, and not its shape."""

_BY_SHAPE = {"SHRINKWRAP"}
"""Constraints that use the shape of another object."""


def bequeath(
    context: bpy.types.Context,
    obj: bpy.types.Object,
    place: bpy.types.Object,
    shape: bpy.types.Object,
) -> None:
    """Let all that hangs on `obj` or points to it do so with its heirs, and take it out of the scene.

    place: takes its children and what only needs a place (constraints, drivers, mirrors)
    shape: what needs a mesh (booleans, shrinkwraps, node inputs)
    """
    _adopt_children(context, obj, place)
    pointers = list(_shape_pointers(obj))
    for collection in list(obj.users_collection):
        collection.objects.unlink(obj)
    obj.user_remap(place)
    for owner, name in pointers:
        if name in owner.bl_rna.properties:
            setattr(owner, name, shape)
        else:
            owner[name] = shape  # an input of a node group


def _shape_pointers(obj: bpy.types.Object) -> Iterator[tuple[bpy.types.bpy_struct, str]]:
    """Settings of other objects that point to the shape of `obj`: owner and property."""
    for other in bpy.data.objects:
        if other == obj or not other.is_editable:
            continue
        for modifier in other.modifiers:
            if modifier.type not in _BY_PLACE:
                yield from ((modifier, name) for name in _pointing(modifier, obj))
                if modifier.type == "NODES" and not hasattr(modifier, "properties"):
                    yield from ((modifier, key) for key in list(modifier.keys()) if modifier[key] == obj)
        for constraint in other.constraints:
            if constraint.type in _BY_SHAPE:
                yield from ((constraint, name) for name in _pointing(constraint, obj))


def _pointing(owner: bpy.types.bpy_struct, obj: bpy.types.Object) -> list[str]:
    return [
        prop.identifier
        for prop in owner.bl_rna.properties
        if prop.type == "POINTER" and not prop.is_readonly and getattr(owner, prop.identifier) == obj
    ]


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
