# SPDX-License-Identifier: GPL-3.0-or-later
"""The modal operator that picks parts."""

from __future__ import annotations

import bpy

from ...backend.errors import PartSAMError, PromptError
from ..click_tool.keys import PRESSES, KeyTable
from ..click_tool.views import View, has_viewport, over_navigation_gizmo, view_under
from ..mesh_exchange import check_editable, hidden_notice, object_mode
from ..mesh_exchange.elements import is_cloud
from ..operators.parts_operator import parts_problem
from ..operators.reporting import reports_errors
from ..parts import UNASSIGNED, bring_together, get_part, merge_checked
from ..session import get_session
from ..session.undo_steps import push_undo_step
from ..wording import say
from .picking import PartPicking

MOVES = {"MOUSEMOVE", "INBETWEEN_MOUSEMOVE"}
MERGE = {"RET", "NUMPAD_ENTER", "M"}
LEAVE = {"ESC", "RIGHTMOUSE"}
PASSING = {"TAB", "NONE", "WINDOW_DEACTIVATE"}

HINTS = (
    ("MOUSE_LMB", "Pick Part"),
    ("MOUSE_LMB", "Shift: Pick Several"),
    ("EVENT_RETURN", "Merge Picked"),
    ("EVENT_ESC", "Leave"),
)


class PARTSAM_OT_part_pick(bpy.types.Operator):
    """Click parts in the viewport to choose them in the list; Shift-click several, Enter merges them"""

    bl_idname = "partsam.part_pick"
    bl_label = "Pick Parts"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        problem = parts_problem(context.object)
        if problem is None and context.mode not in {"OBJECT", "EDIT_MESH"}:
            problem = "Go to Object or Edit mode first"
        if problem is None and is_cloud(context.object.data):
            problem = f'"{context.object.name}" is a point cloud; {cls.bl_label} needs faces'
        problem = problem or hidden_notice(context.object)
        if problem is None and get_session().clicks is not None:
            problem = "Leave Part by Clicks first"
        if problem:
            cls.poll_message_set(problem)
        return problem is None

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        if get_session().picking is not None:  # the button once more
            get_session().end_picking()
            return {"FINISHED"}
        if context.window is None or not has_viewport(context.window):
            self.report({"ERROR"}, "Open a 3D viewport first")
            return {"CANCELLED"}
        return self.begin(context)

    @reports_errors
    def begin(self, context: bpy.types.Context) -> set[str]:
        """Read the surface and listen to the mouse."""
        check_editable(context.object)
        self._picking = PartPicking(context, context.object)
        self._keys = KeyTable.of_user(context.window_manager)
        get_session().start_picking(self._picking)
        context.workspace.status_text_set(draw_hints)
        context.window_manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        try:
            result = self._handle(context, event)
        except PartSAMError as error:
            self.report({"WARNING"}, str(error))
            self._picking.hint = str(error)
            get_session().redraw(panels=False)
            result = {"RUNNING_MODAL"}
        except Exception:
            self._end(context)
            raise
        get_session().input.hear(context.window, event, passed="PASS_THROUGH" in result)
        return result

    def cancel(self, context: bpy.types.Context) -> None:
        """Blender ends the operator."""
        self._end(context)

    def _handle(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if self._picking.is_ended or get_session().clicks is not None or not self._picking.fits(context):
            self._end(context)
            return {"FINISHED", "PASS_THROUGH"}
        if event.type in PASSING or event.type.startswith("TIMER"):
            return {"PASS_THROUGH"}
        view = view_under(context.window, event.mouse_x, event.mouse_y)
        if event.type in MOVES:
            self._hover(view)
            return {"PASS_THROUGH"}
        is_undo = event.type == "Z" and (event.ctrl or event.oskey)
        if view is None or is_undo or self._keys.is_navigation(event) or over_navigation_gizmo(view):
            return {"PASS_THROUGH"}
        if event.value not in PRESSES:
            return {"RUNNING_MODAL"}
        return self._pressed(context, event, view)

    def _pressed(self, context: bpy.types.Context, event: bpy.types.Event, view: View) -> set[str]:
        self._picking.hint = ""
        if event.type in LEAVE:
            self._end(context)
            return {"FINISHED"}
        if event.type == "LEFTMOUSE":
            self._pick(view, several=event.shift or event.ctrl)
        elif event.type in MERGE:
            self._merge(context)
        return {"RUNNING_MODAL"}

    def _hover(self, view: View | None) -> None:
        try:
            self._picking.hover(view)
        except PromptError:  # the object has left the view layer
            self._picking.stop()

    def _pick(self, view: View, *, several: bool) -> None:
        part_id = self._picking.part_at(view)
        if part_id != UNASSIGNED:
            self._picking.pick(part_id, several=several)
            get_session().redraw()
        else:
            raise PromptError(self._picking.why_missed(view))

    def _merge(self, context: bpy.types.Context) -> None:
        obj = context.object
        with object_mode(context, obj):
            bring_together(obj.data)
            count, into = merge_checked(obj.data)
        push_undo_step("Merge Picked Parts")
        get_session().redraw()
        name = get_part(obj.data, into).name
        self.report({"INFO"}, say('{count} parts are merged into "{name}"', count=count, name=name))

    def _end(self, context: bpy.types.Context) -> None:
        self._picking.stop()
        get_session().end_picking()
        if context.workspace is not None:
            context.workspace.status_text_set(None)


def draw_hints(header: bpy.types.Header, _context: bpy.types.Context) -> None:
    """The keys, in the status bar."""
    row = header.layout.row(align=False)
    for icon, text in HINTS:
        row.label(text=text, icon=icon)


classes = (PARTSAM_OT_part_pick,)
