# SPDX-License-Identifier: GPL-3.0-or-later
"""Access to mesh data from any mode, and the checks that come before every access."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import bpy

from ...backend.errors import MeshError


@contextmanager
def object_mode(context: bpy.types.Context, obj: bpy.types.Object) -> Iterator[None]:
    """Leave `obj`'s mode (Edit, Sculpt, paint) for the block and return to it afterwards.

    In Edit mode a mesh's arrays are empty: the data live in the edit mesh until the mode is left.
    """
    mode = obj.mode
    if mode == "OBJECT":
        yield
        return
    name, uid = obj.name, obj.session_uid
    _set_mode(context, obj, "OBJECT")
    try:
        yield
    finally:
        remaining = bpy.data.objects.get(name)
        if remaining is not None and remaining.session_uid == uid and remaining.visible_get():
            _set_mode(context, remaining, mode)


def check_editable(obj: bpy.types.Object) -> None:
    """Raise MeshError, with what to do, unless `obj` is a mesh object of this file."""
    problem = editable_problem(obj)
    if problem:
        raise MeshError(problem)


def editable_problem(obj: bpy.types.Object | None) -> str | None:
    """Why `obj` cannot be worked on, for poll messages and errors; None if it can."""
    if obj is None:
        return "Select a mesh object first"
    if obj.type != "MESH":
        return f'"{obj.name}" is not a mesh; convert it first (Object > Convert > Mesh)'
    if not obj.is_editable or not obj.data.is_editable:
        return (
            f'"{obj.name}" is linked from another file; make it local first (Object > Relations > Make Local)'
        )
    return None


def sharing_notice(obj: bpy.types.Object) -> str | None:
    """A sentence for the user if other objects share `obj`'s mesh and so change with it."""
    users = obj.data.users - int(obj.data.use_fake_user)
    if users < 2:
        return None
    return (
        f'The mesh "{obj.data.name}" is shared by {users} objects, and all of them change; '
        "to avoid it: Object > Relations > Make Single User"
    )


def _set_mode(context: bpy.types.Context, obj: bpy.types.Object, mode: str) -> None:
    """Set the mode of `obj`, active or not. Raises MeshError where the view layer does not have it.

    The operator works on the active object of the view layer, whatever `context.temp_override` says.
    And an operator must not be called in `temp_override`: it runs without the interpreter's lock and,
    up to Python 3.11, looks up the overridden members without taking it if another thread has it just
    then. The threads that read the backend's pipes sometimes have it, and Blender crashes.
    """
    layer = context.view_layer
    active = layer.objects.active
    try:
        layer.objects.active = obj
    except RuntimeError as error:
        raise MeshError(
            f'"{obj.name}" is in {obj.mode.replace("_", " ").title()} mode, but not in this view layer; '
            "go to its scene and leave that mode first"
        ) from error
    try:
        bpy.ops.object.mode_set(mode=mode)
    finally:
        layer.objects.active = active
