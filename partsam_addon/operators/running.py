# SPDX-License-Identifier: GPL-3.0-or-later
"""Work that an operator starts in the window: whether it can, its end as one undo step, and Cancel."""

from __future__ import annotations

import bpy

from ...backend.errors import PartSAMError
from ..session import get_session
from ..session.clouds import FoundCloud
from ..session.find_parts import Found
from ..session.finished import Finished
from ..session.undo_steps import push_undo_step
from ..session.writing import Change, new_levels, write_changes
from ..wording import say, say_count

CUT_PROPERTIES = ("granularity", "refine", "strength")
"""Operator properties that are sliders of the sidebar."""


def poll_idle(cls: type[bpy.types.Operator], *, or_again: bool = False) -> bool:
    """Whether nothing is in progress; else the poll message says so.

    or_again: what the redo panel has started counts as nothing: another value there starts it anew
    """
    session = get_session()
    if not session.is_free and not (or_again and session.again.is_running):
        cls.poll_message_set("PartSAM is still working; wait for it or press Cancel")
        return False
    return True


def finish_in_window(
    label: str, found: list[Found | FoundCloud], *, asked: dict[str, object] | None = None
) -> None:
    """Write what a flow has found, as one undo step.

    asked: the operator that began it and its properties, for the redo panel
    """
    session = get_session()
    changes = new_levels(found, session.held)
    if asked is None:
        write_in_window(label, changes)
        return
    write_changes(bpy.context, changes)
    session.finished = Finished(without_cut(asked), found)
    _push_as(label, asked)
    session.redraw()


def _push_as(label: str, asked: dict[str, object]) -> None:
    """Push the undo step of what was just written as the step of the operator that began it.

    The redo panel would otherwise show an operator from before, and take the result back. Where it shows that
    one already, as after other values in the panel, that one goes on: Blender crashes where a panel that is
    still open (F9) changes an operator that is no longer the last.
    """
    session = get_session()
    asked = asked | {"is_found": True}
    operators = bpy.context.window_manager.operators
    is_last = bool(operators) and properties_of(operators[-1]) == asked
    operator = getattr(bpy.ops.partsam, str(asked["operator"]).partition(".")[2])
    if is_last:
        bpy.ops.ed.undo_push(message=label)
        return
    if not operator.poll():
        push_undo_step(label)
        return
    session.is_written = True
    try:
        operator("EXEC_DEFAULT", True, **{name: asked[name] for name in asked if name != "operator"})
    finally:
        session.is_written = False


def press_again(asked: dict[str, object]) -> None:
    """Soon press the button of an operator, with its properties as `properties_of` has them."""

    def press() -> None:
        operator = getattr(bpy.ops.partsam, str(asked["operator"]).partition(".")[2])
        try:
            operator("INVOKE_DEFAULT", **{name: value for name, value in asked.items() if name != "operator"})
        except RuntimeError as error:  # a report of ours, which the panel has already, or poll has failed
            if session.problem is None:
                session.report(PartSAMError(str(error).strip()))

    session = get_session()
    session.again.want(press)


def properties_of(operator: bpy.types.Operator) -> dict[str, object]:
    """The operator's name and the values of its properties."""
    values = operator.properties
    names = [prop.identifier for prop in values.bl_rna.properties if not prop.is_readonly]
    kind = getattr(type(operator), "bl_idname", "")  # Blender's own have none
    return {"operator": kind} | {name: getattr(values, name) for name in names}


def without_cut(asked: dict[str, object]) -> dict[str, object]:
    """Of `properties_of`: all that decides on what the network finds."""
    left_out = {*CUT_PROPERTIES, "count", "is_found", "keep_edits"}
    return {name: value for name, value in asked.items() if name not in left_out}


def write_in_window(label: str, changes: list[Change]) -> None:
    """Write changes from the timer, as one undo step."""
    write_changes(bpy.context, changes, undo_message=label)
    get_session().redraw()


def summary(objects: list[bpy.types.Object]) -> str:
    """A sentence on what was found: the parts that the lists have now."""
    meshes = {obj.data.session_uid: obj.data for obj in objects}.values()
    count = sum(len(mesh.partsam.parts) for mesh in meshes)
    parts = say_count(count, "One part", "{count} parts")
    if len(meshes) == 1:
        return parts
    return say("{parts} in {meshes} meshes", parts=parts, meshes=len(meshes))


def take_settings(
    operator: bpy.types.Operator, names: tuple[str, ...], settings: bpy.types.PropertyGroup
) -> None:
    """Start from `settings`, except for what the caller of the operator set."""
    for name in names:
        if not operator.properties.is_property_set(name):
            setattr(operator, name, getattr(settings, name))


class PARTSAM_OT_cancel(bpy.types.Operator):
    """Stop the work in progress; nothing is changed"""

    bl_idname = "partsam.cancel"
    bl_label = "Cancel"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        session = get_session()
        return session.is_busy or session.again.is_wanted

    def execute(self, _context: bpy.types.Context) -> set[str]:
        get_session().cancel()
        return {"FINISHED"}


class PARTSAM_OT_watch_input(bpy.types.Operator):
    """Notice what the user has open in a window while PartSAM works, so that the result waits for it"""

    bl_idname = "partsam.watch_input"
    bl_label = "Watch Input"
    bl_options = {"INTERNAL"}

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        opened = get_session().input.open_next(list(context.window_manager.windows))
        if opened is None:
            return {"CANCELLED"}
        window, self._ear = opened
        with context.temp_override(window=window):
            context.window_manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if self._ear.is_closed:
            return {"CANCELLED", "PASS_THROUGH"}
        self._ear.hear(context.window, event, passed=True)
        return {"PASS_THROUGH"}

    def cancel(self, _context: bpy.types.Context) -> None:
        """Blender ends it: the window is closed, a file is loaded, Blender quits."""
        get_session().input.close(self._ear)


classes: tuple[type, ...] = (PARTSAM_OT_cancel, PARTSAM_OT_watch_input)


KEYMAP = "3D View"


def register() -> None:
    """Let Esc in the viewport cancel the work in progress; without any it does what it always does."""
    config = bpy.context.window_manager.keyconfigs.addon
    if config is not None:
        keymap = config.keymaps.new(KEYMAP, space_type="VIEW_3D")
        keymap.keymap_items.new(PARTSAM_OT_cancel.bl_idname, "ESC", "PRESS")


def unregister() -> None:
    config = bpy.context.window_manager.keyconfigs.addon
    keymap = None if config is None else config.keymaps.get(KEYMAP)
    if keymap is None:
        return
    for item in list(keymap.keymap_items):
        if item.idname == PARTSAM_OT_cancel.bl_idname:
            keymap.keymap_items.remove(item)
