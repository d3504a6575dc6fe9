# SPDX-License-Identifier: GPL-3.0-or-later
"""Which object is meant; and Blender's own operators on one, with the user's selection back afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import bpy


def main_object(context: bpy.types.Context) -> bpy.types.Object | None:
    """The object that the user means: the active one, or the first selected mesh where that is none.

    Importers leave the parent of all that they bring active, an Empty (glTF), or nothing at all (FBX).
    """
    active = context.object
    if active is not None and (active.type == "MESH" or active.mode != "OBJECT"):
        return active
    return next((obj for obj in context.selected_objects if obj.type == "MESH"), active)


def make_active(context: bpy.types.Context, obj: bpy.types.Object) -> None:
    """Make `obj` the active one, as whose parts the sidebar shows, unless the user is at work in another."""
    layer = context.view_layer
    active = layer.objects.active
    if active != obj and (active is None or active.mode == "OBJECT"):
        layer.objects.active = obj


@contextmanager
def only_object(context: bpy.types.Context, obj: bpy.types.Object) -> Iterator[None]:
    """Make `obj` the active and only selected object for the block.

    Entering Edit mode would take all selected meshes along.
    """
    layer = context.view_layer
    active, selected = layer.objects.active, [other.name for other in context.selected_objects]
    for other in list(context.selected_objects):
        other.select_set(False)
    obj.select_set(True)
    layer.objects.active = obj
    try:
        yield
    finally:
        obj.select_set(obj.name in selected)
        for name in selected:
            layer.objects[name].select_set(True)
        layer.objects.active = active
