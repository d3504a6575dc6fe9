# SPDX-License-Identifier: GPL-3.0-or-later
"""How an object is looked at: the settings, and who draws it.

While a view is on, Blender draws the object as its bounds and the overlay draws its parts. In files the
object keeps its own way of display: it is put back before saving.
"""

from __future__ import annotations

from collections.abc import Callable

import bpy
from bpy.app.handlers import persistent
from bpy.props import FloatProperty, IntProperty, PointerProperty, StringProperty

from ..parts import active_part, has_parts

STAND_IN = "BOUNDS"
"""How Blender displays an object whose parts the overlay draws."""


class PARTSAM_PG_view(bpy.types.PropertyGroup):
    """How the parts of an object are looked at."""

    factor: FloatProperty(name="Factor", description="How far the parts are drawn apart", options={"HIDDEN"})
    isolated: IntProperty(
        name="Isolated",
        description="Id of the part that is shown alone, or 0: in Object mode the active one",
        options={"HIDDEN"},
    )
    display: StringProperty(
        name="Display", description="How the object was displayed before", options={"HIDDEN"}
    )


classes: tuple[type, ...] = (PARTSAM_PG_view,)


def isolated_part(obj: bpy.types.Object) -> int | None:
    """Id of the part that is shown alone, if one is: in Object mode the active one of the list."""
    part_id = int(obj.partsam_view.isolated)
    if not part_id or obj.type != "MESH":
        return None
    if not any(part.part_id == part_id for part in obj.data.partsam.parts):
        return None
    active = active_part(obj.data) if is_in_object_mode(obj) else None
    return part_id if active is None else int(active.part_id)


def hidden_parts(obj: bpy.types.Object) -> frozenset[int]:
    """Ids of the parts of `obj` that the click tool hides while it runs."""
    clicks = bpy.context.window_manager.partsam_clicks
    uid, _, parts = clicks.hidden.partition(":")
    if not clicks.is_running or uid != str(obj.session_uid):
        return frozenset()
    return frozenset(int(part_id) for part_id in parts.split(","))


def is_drawn_by_overlay(obj: bpy.types.Object) -> bool:
    """Whether the overlay draws the surface of `obj` in place of Blender."""
    if not is_in_object_mode(obj) or not has_parts(obj.data):
        return False
    return obj.partsam_view.factor > 0 or isolated_part(obj) is not None or bool(hidden_parts(obj))


def is_in_object_mode(obj: bpy.types.Object) -> bool:
    """Whether `obj` is a mesh that no object edits: one that shares it may be in Edit mode."""
    return obj.type == "MESH" and obj.mode == "OBJECT" and not obj.data.is_editmode


def sync_display(obj: bpy.types.Object) -> None:
    """Let Blender draw `obj`, or only its bounds, as its view asks for. Linked objects stay as they are."""
    view = obj.partsam_view
    if not obj.is_editable:
        return
    if is_drawn_by_overlay(obj):
        if not view.display:
            view.display = obj.display_type
            obj.display_type = STAND_IN
    else:
        _give_back(obj)


def reset_view(obj: bpy.types.Object) -> None:
    """End every view of `obj`, which may be a copy of one that is viewed. Hide flags stay."""
    obj.partsam_view.factor, obj.partsam_view.isolated = 0.0, 0
    _give_back(obj)


def _give_back(obj: bpy.types.Object) -> None:
    view = obj.partsam_view
    if view.display:
        if obj.display_type == STAND_IN:  # else the user has chosen another one
            obj.display_type = view.display
        view.display = ""


@persistent
def _after_update(_scene: bpy.types.Scene, depsgraph: bpy.types.Depsgraph) -> None:
    """Entering or leaving a mode changes who draws the object."""
    for update in depsgraph.updates:
        if isinstance(update.id, bpy.types.Object):
            sync_display(update.id.original)


@persistent
def _sync_all(*_arguments: object) -> None:
    for obj in bpy.data.objects:
        sync_display(obj)


@persistent
def _give_all_back(*_arguments: object) -> None:
    for obj in bpy.data.objects:
        if obj.is_editable:
            _give_back(obj)


def _handlers() -> list[tuple[list, Callable[..., None]]]:
    handlers = bpy.app.handlers
    return [
        (handlers.depsgraph_update_post, _after_update),
        (handlers.undo_post, _sync_all),
        (handlers.redo_post, _sync_all),
        (handlers.load_post, _sync_all),
        (handlers.save_pre, _give_all_back),
        (handlers.save_post, _sync_all),
        (handlers.save_post_fail, _sync_all),
    ]


def register() -> None:
    """Attach the view to every object. Call after registering `classes`."""
    bpy.types.Object.partsam_view = PointerProperty(type=PARTSAM_PG_view)
    for handlers, function in _handlers():
        handlers.append(function)


def unregister() -> None:
    """Blender draws every object again. Call before unregistering `classes`."""
    for handlers, function in _handlers():
        if function in handlers:
            handlers.remove(function)
    _give_all_back()
    del bpy.types.Object.partsam_view
