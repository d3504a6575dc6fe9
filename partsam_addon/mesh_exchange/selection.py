# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender's own operators on one object, with the user's selection back afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import bpy
import numpy as np

from .arrays import write_flags

_FLAGS = {"poly": "FACE", "edge": "EDGE", "vert": "POINT"}


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


@contextmanager
def saved_flags(mesh: bpy.types.Mesh) -> Iterator[None]:
    """Bring back which elements were selected and hidden."""
    saved: dict[tuple[str, str], np.ndarray | None] = {}
    for state in ("select", "hide"):
        for kind in _FLAGS:
            attribute = mesh.attributes.get(f".{state}_{kind}")
            flags = None
            if attribute is not None and attribute.data_type == "BOOLEAN":
                flags = np.empty(len(attribute.data), dtype=bool)
                attribute.data.foreach_get("value", flags)
            saved[state, kind] = flags
    try:
        yield
    finally:
        for (state, kind), flags in saved.items():
            name = f".{state}_{kind}"
            if flags is not None:
                write_flags(mesh, name, _FLAGS[kind], flags)
            elif name in mesh.attributes:
                mesh.attributes.remove(mesh.attributes[name])
