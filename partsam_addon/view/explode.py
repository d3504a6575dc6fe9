# SPDX-License-Identifier: GPL-3.0-or-later
"""The exploded view: parts moved apart for looking at them, and back without a trace.

On a mesh with parts a geometry-nodes modifier does it; separated parts are moved by their delta
location, which leaves their location free. Factor 0 removes the modifier, or restores the deltas.
"""

from __future__ import annotations

import bpy
import numpy as np
from bpy.props import FloatProperty
from mathutils import Matrix, Vector

from ...backend.errors import PromptError
from ..parts import has_parts
from ..separation.hierarchy import GROUP_PROPERTY
from .node_groups import EXPLOSION, explosion_group, set_input

_REST = "partsam_explode_rest"
"""Custom property of a moved object: its own delta location, and its centre in the world at rest."""


def explode(obj: bpy.types.Object, factor: float) -> None:
    """Move the parts of `obj`, or the objects separated together with it, apart by `factor`.

    Each moves by factor times the way from the middle of the whole to its own middle. PromptError for
    an object that is neither.
    """
    group = separated_group(obj)
    if len(group) > 1:
        _explode_objects(group, factor)
    elif obj.type == "MESH" and has_parts(obj.data):
        _explode_mesh(obj, factor)
    else:
        raise PromptError(f'"{obj.name}" has no parts to move apart; press Segment first')


def separated_group(obj: bpy.types.Object) -> list[bpy.types.Object]:
    """The mesh objects that one separation made, if `obj` is one of them or their empty."""
    tag = obj.get(GROUP_PROPERTY)
    if tag is None:
        return []
    return [other for other in bpy.data.objects if other.get(GROUP_PROPERTY) == tag and other.type == "MESH"]


def _explode_mesh(obj: bpy.types.Object, factor: float) -> None:
    modifier = obj.modifiers.get(EXPLOSION)
    if factor == 0:
        if modifier is not None:
            obj.modifiers.remove(modifier)
        return
    if modifier is None:
        modifier = obj.modifiers.new(EXPLOSION, "NODES")
        modifier.show_expanded = False
    modifier.node_group = explosion_group()
    set_input(modifier, "Factor", factor)
    obj.update_tag()


def _explode_objects(objects: list[bpy.types.Object], factor: float) -> None:
    bpy.context.view_layer.update()
    for obj in objects:
        if _REST not in obj:
            center = obj.matrix_world @ _middle([Vector(corner) for corner in obj.bound_box])
            obj[_REST] = [*obj.delta_location, *center]
    centers = [Vector(obj[_REST][3:6]) for obj in objects]
    middle = _middle(centers)
    for obj, center in zip(objects, centers, strict=True):
        rest = Vector(obj[_REST][0:3])
        obj.delta_location = rest + _into_parent(obj) @ ((center - middle) * factor)
        if factor == 0:
            del obj[_REST]


def _middle(points: list[Vector]) -> Vector:
    """Centre of the bounding box."""
    array = np.array(points)
    return Vector((array.min(axis=0) + array.max(axis=0)) / 2)


def _into_parent(obj: bpy.types.Object) -> Matrix:
    """Linear map from the world into the space in which the object's location is given."""
    if obj.parent is None:
        return Matrix.Identity(3)
    return (obj.parent.matrix_world @ obj.matrix_parent_inverse).to_3x3().inverted_safe()


def _slide(obj: bpy.types.Object, _context: bpy.types.Context) -> None:
    if len(separated_group(obj)) > 1 or (obj.type == "MESH" and has_parts(obj.data)):
        explode(obj, obj.partsam_explode)


def register_properties() -> None:
    """Attach the slider to every object."""
    bpy.types.Object.partsam_explode = FloatProperty(
        name="Explode",
        description="Move the parts apart for viewing; 0 puts everything back as it was",
        default=0.0,
        min=0.0,
        soft_max=2.0,
        max=100.0,
        update=_slide,
    )


def unregister_properties() -> None:
    """Take the slider from every object."""
    del bpy.types.Object.partsam_explode
