# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender's own operators on one object, with the user's selection back afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import bpy


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
