# SPDX-License-Identifier: GPL-3.0-or-later
"""Access to mesh data from any mode, and the checks that come before every access."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import bpy

from ...backend.errors import MeshError
from ..constants import LISTENER
from ..wording import say

_CONVERTIBLE = {"CURVE", "CURVES", "FONT", "META", "POINTCLOUD", "SURFACE", "GREASEPENCIL", "GPENCIL"}
"""Types of objects that Blender makes meshes of."""


@contextmanager
def object_mode(context: bpy.types.Context, *objects: bpy.types.Object) -> Iterator[None]:
    """Leave the modes of `objects` (Edit, Sculpt, paint) for the block and return to them afterwards.

    In Edit mode a mesh's arrays are empty: the data live in the edit mesh until the mode is left. Leaving
    Edit mode takes along all objects that are in it, so exactly those are brought back.
    """
    layer = context.view_layer
    left: list[tuple[str, list[int]]] = []
    active = layer.objects.active
    active_uid = None if active is None else active.session_uid
    try:
        for obj in objects:
            obj = _in_edit_mode(layer, obj)
            if obj.mode == "OBJECT":
                continue
            mode = obj.mode
            together = [other for other in layer.objects if other.mode == mode and other != obj]
            _set_mode(context, obj, "OBJECT")
            left.append((mode, [obj.session_uid, *(o.session_uid for o in together if o.mode == "OBJECT")]))
        yield
    finally:
        for mode, uids in reversed(left):
            _return_to(context, mode, uids, active_uid)


def is_modal() -> bool:
    """Whether an operator takes the input of a window: a transform keeps pointers into the edit mesh."""
    windows = bpy.context.window_manager.windows
    return any(operator.bl_idname != LISTENER for window in windows for operator in window.modal_operators)


def have_undo_store_the_file() -> None:
    """Make the next undo step of Edit mode store the whole file: call it after data are written from there.

    Else Blender takes the data for what they were when Edit mode was entered, since it compares only what
    it has stored, and undo out of Edit mode leaves them as they were when they were written: faces that
    the user had deleted by then would be gone for good. A new data-block makes it store the file.
    """
    bpy.data.texts.remove(bpy.data.texts.new(".partsam"))


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
        return _no_mesh(obj)
    if obj.data.override_library is not None:
        return say(
            'The mesh of "{name}" is a library override, whose faces cannot get data '
            "of their own; make it local first (Object > Relations > Make Local > "
            "Selected Objects and Data)",
            name=obj.name,
        )
    if not obj.is_editable or not obj.data.is_editable:
        return say(
            '"{name}" is linked from another file; make it local first (Object > Relations > Make Local)',
            name=obj.name,
        )
    return None


def _no_mesh(obj: bpy.types.Object) -> str:
    """What to do with an object that is no mesh."""
    if obj.type in _CONVERTIBLE:
        return say('"{name}" is not a mesh; convert it first (Object > Convert > Mesh)', name=obj.name)
    if obj.instance_collection is not None:
        return say(
            '"{name}" shows the objects of a collection; make them real first '
            "(Object > Apply > Make Instances Real)",
            name=obj.name,
        )
    return say('"{name}" is not a mesh; select a mesh object first', name=obj.name)


def sharing_notice(obj: bpy.types.Object) -> str | None:
    """A sentence for the user if other objects share `obj`'s mesh and so change with it."""
    users = obj.data.users - int(obj.data.use_fake_user)
    if users < 2:
        return None
    return say(
        'The mesh "{name}" is shared by {users} objects, and all of them change; to '
        "avoid it: Object > Relations > Make Single User",
        name=obj.data.name,
        users=users,
    )


def hidden_notice(obj: bpy.types.Object) -> str | None:
    """A sentence for the user if `obj` is not seen in the view layer, and so its parts are not."""
    if obj.visible_get():
        return None
    return say(
        '"{name}" is hidden, and its parts are not seen; show it (Object > Show/Hide, or the eye in the '
        "Outliner)",
        name=obj.name,
    )


def _in_edit_mode(layer: bpy.types.ViewLayer, obj: bpy.types.Object) -> bpy.types.Object:
    """The object through which `obj`'s mesh is being edited: another one may share it. Else `obj`."""
    if obj.mode == "EDIT" or obj.type != "MESH" or not obj.data.is_editmode:
        return obj
    for other in layer.objects:
        if other.data == obj.data and other.mode == "EDIT":
            return other
    raise MeshError(
        say(
            'The mesh of "{name}" is being edited in another scene; leave Edit mode there first',
            name=obj.name,
        )
    )


def _return_to(context: bpy.types.Context, mode: str, uids: list[int], active_uid: int | None) -> None:
    """Put the objects with these uids back into `mode`, and no others."""
    layer = context.view_layer
    by_uid = {obj.session_uid: obj for obj in layer.objects}
    members = [by_uid[uid] for uid in uids if uid in by_uid and by_uid[uid].visible_get()]
    if not members:
        return
    first = next((obj for obj in members if obj.session_uid == active_uid), members[0])
    if mode != "EDIT":
        _set_mode(context, first, mode)
        return
    # All selected meshes would enter Edit mode.
    selected = {uid: obj.select_get() for uid, obj in by_uid.items()}
    for obj in by_uid.values():
        if obj.select_get() != (obj in members):
            obj.select_set(obj in members)
    _set_mode(context, first, mode)
    have_undo_store_the_file()
    for uid, obj in by_uid.items():
        if obj.select_get() != selected[uid]:
            obj.select_set(selected[uid])


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
            say(
                '"{name}" is in {mode} mode, but not in this view layer; go to its scene '
                "and leave that mode first",
                name=obj.name,
                mode=obj.mode.replace("_", " ").title(),
            )
        ) from error
    try:
        bpy.ops.object.mode_set(mode=mode)
    finally:
        layer.objects.active = active
