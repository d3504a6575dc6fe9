# SPDX-License-Identifier: GPL-3.0-or-later
"""The modal operator: events in, clicks out."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import bpy
import numpy as np
from bpy.props import BoolProperty

from ...backend.errors import MeshError, PartSAMError, PromptError
from ..mesh_exchange import (
    ReadSettings,
    editable_problem,
    hidden_notice,
    main_object,
    make_active,
    object_mode,
)
from ..operators.reporting import reports_errors
from ..session import get_session
from ..session.reading import read_objects
from ..wording import say
from .gestures import Gestures
from .keys import EVERYWHERE, MODIFIERS, MOUSE_ACTIONS, PRESSES, UNDO, KeyTable
from .picker import Picker
from .preview import Surroundings
from .surface import hidden_polygons
from .tool import TOOL, activate_tool, active_tool, leave_tool
from .views import View, area_under, has_viewport, over_navigation_gizmo, view_under
from .work import ClickSettings, ClickWork, Phase

MOVES = {"MOUSEMOVE", "INBETWEEN_MOUSEMOVE"}
PASSING = {"TIMER", "TIMER_REPORT", "TIMER_REGION", "TIMER0", "TIMER1", "TIMER2", "WINDOW_DEACTIVATE", "NONE"}
"""Events that are nobody's input."""
MOUSE_BUTTONS = {"LEFTMOUSE", "MIDDLEMOUSE", "RIGHTMOUSE"}
TYPING_EDITORS = {"TEXT_EDITOR", "CONSOLE"}
HINT_SECONDS = 4.0
"""For so long it stands beside the mouse why a press did nothing, or until the next one."""


@dataclass
class ClickRun:
    """One run of the tool: what all windows that listen to the mouse for it share.

    in_toolbar: whether the toolbar shows it
    windows: addresses of the windows that listen
    hint_until: when the hint beside the mouse goes, on the monotonic clock
    """

    work: ClickWork
    gestures: Gestures
    keys: KeyTable
    in_toolbar: bool
    windows: set[int] = field(default_factory=set)
    hint_until: float = 0.0


class PARTSAM_OT_click_part(bpy.types.Operator):
    """Click on a part of the active mesh to select all of it, accept it, and go on with the next"""

    bl_idname = "partsam.click_part"
    bl_label = "Part by Clicks"
    bl_options = {"REGISTER"}

    from_tool: BoolProperty(
        name="From Tool",
        description="Started by the mouse while the tool is active in the toolbar",
        options={"HIDDEN", "SKIP_SAVE"},
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        session = get_session()
        obj = main_object(context)
        problem = editable_problem(obj)
        if session.is_busy or (session.clicks is not None and run_to_join(context) is None):
            problem = "PartSAM is still working; wait for it or press Cancel"
        elif context.mode not in {"OBJECT", "EDIT_MESH"}:
            problem = "Go to Object or Edit mode first"
        if problem is None and obj is not None:
            problem = hidden_notice(obj)
        if problem:
            cls.poll_message_set(problem)
        return problem is None

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if context.window is None or not has_viewport(context.window):
            self.report({"ERROR"}, "Open a 3D viewport first")
            return {"CANCELLED"}
        other = run_to_join(context)
        self._joins = other is not None
        result = self.begin(context) if other is None else self._listen(context, other)
        if self.from_tool and result == {"CANCELLED"}:
            leave_tool("")  # else each movement of the mouse fails again
        elif self.from_tool and event.type not in MOVES:
            self.modal(context, event)
        return result

    @reports_errors
    def begin(self, context: bpy.types.Context) -> set[str]:
        """Encode the shape in the background, and listen to the mouse at once."""
        session, obj = get_session(), main_object(context)
        assert obj is not None, "poll has looked"
        make_active(context, obj)
        work, picker = begin_work(context, obj, undo_message="Part by Clicks")
        before = activate_tool(context)
        keys = KeyTable.of_user(context.window_manager)
        surroundings = Surroundings(context, work, picker, draw_status=status_drawer(keys))
        gestures = Gestures(work, picker, surroundings.preview)

        def end() -> None:
            surroundings.remove()
            leave_tool(before)

        work.at_end = end
        work.host = run = ClickRun(work, gestures, keys, active_tool(context) == TOOL)
        work.prepare(seed=context.scene.partsam.seed)
        session.watch(work.poll)
        session.input.begin()
        return self._listen(context, run)

    def _listen(self, context: bpy.types.Context, run: ClickRun) -> set[str]:
        """Have the events of this window: a modal operator gets those of no other."""
        self._run, self._work, self._gestures, self._keys = run, run.work, run.gestures, run.keys
        self._window = context.window.as_pointer()
        run.windows.add(self._window)
        context.window_manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        try:
            result = self._handle(context, event)
        except PartSAMError as error:
            self.report({"WARNING"}, str(error))
            self._hint(str(error))
            result = {"RUNNING_MODAL"}
        except Exception:
            get_session().end_clicks()
            raise
        get_session().input.hear(context.window, event, passed="PASS_THROUGH" in result)
        return result

    def cancel(self, _context: bpy.types.Context) -> None:
        """Blender ends the tool (a window is closed, a file is loaded, Blender quits)."""
        self._run.windows.discard(self._window)
        if not self._joins:
            get_session().end_clicks()

    def _handle(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if self._work.phase is Phase.ENDED:
            return {"FINISHED", "PASS_THROUGH"}
        if event.type == "TIMER":
            return self._tick(context)
        if event.type in PASSING or event.type.startswith("TIMER"):
            return {"PASS_THROUGH"}
        view = view_under(context.window, event.mouse_x, event.mouse_y)
        if event.type in MOVES:
            self._gestures.move(view, self._window, (event.mouse_x, event.mouse_y))
            return {"RUNNING_MODAL"} if self._gestures.is_dragging else {"PASS_THROUGH"}
        action = self._keys.action(event)
        if view is None and action not in EVERYWHERE:
            return self._beside(context, event)
        if view is None and self._is_typing(context, event):
            return {"PASS_THROUGH"}
        return self._over_view(event, view, action)

    def _beside(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """An event over another editor, a header or a sidebar. Buttons there can be pressed."""
        if self._gestures.is_dragging and event.value == "RELEASE":
            self._gestures.release(None)
        area = area_under(context.window, event.mouse_x, event.mouse_y)
        is_blenders = self._keys.is_navigation(event) or self._is_for_blender(event)
        if area is None or area.type != "VIEW_3D" or is_blenders:
            return {"PASS_THROUGH"}
        # Below its panels a sidebar lets events through to the viewport under it.
        harmless = event.type in MOUSE_BUTTONS and event.value not in {"CLICK", "CLICK_DRAG"}
        return {"PASS_THROUGH"} if harmless or event.type.startswith("WHEEL") else {"RUNNING_MODAL"}

    def _over_view(self, event: bpy.types.Event, view: View | None, action: str | None) -> set[str]:
        gestures = self._gestures
        if event.value in PRESSES and self._work.hint:
            self._hint("")
        if gestures.is_dragging and event.type == "LEFTMOUSE" and event.value == "RELEASE":
            gestures.release(view)
            return {"RUNNING_MODAL"}
        if action in MOUSE_ACTIONS and view is not None:
            if over_navigation_gizmo(view):
                return {"PASS_THROUGH"}
            gestures.press(view, action)
        elif self._is_for_blender(event):
            return {"PASS_THROUGH"}
        elif action is not None:
            gestures.perform(action, view)
        elif self._keys.is_navigation(event):
            return {"PASS_THROUGH"}
        if event.value in PRESSES:
            self._advance()
        return {"RUNNING_MODAL"}

    def _is_for_blender(self, event: bpy.types.Event) -> bool:
        """Whether it is undo or redo, and of parts accepted in this run: without clicks there is nothing else
        to take back. What was done before the tool was started stays.
        """
        step, work = self._keys.undo_operator(event), self._work
        if step is None or (work.part.clicks and step == UNDO):
            return False
        return not work.is_accepting and (bool(work.accepted) if step == UNDO else work.can_redo)

    def _is_typing(self, context: bpy.types.Context, event: bpy.types.Event) -> bool:
        area = area_under(context.window, event.mouse_x, event.mouse_y)
        return area is not None and area.type in TYPING_EDITORS

    def _hint(self, text: str) -> None:
        """Have this stand beside the mouse for a while."""
        self._work.hint, self._run.hint_until = text, time.monotonic() + HINT_SECONDS
        self._work.redraw()

    def _tick(self, context: bpy.types.Context) -> set[str]:
        """Ask for what the mouse rests on; end where there is nothing left to click in."""
        windows = listening(self._run)
        lost = not any(map(has_viewport, windows)) or (self._run.in_toolbar and active_tool(context) != TOOL)
        if lost or context.mode not in {"OBJECT", "EDIT_MESH"}:
            self._work.leave()
        try:
            self._gestures.hover(windows)
        except PromptError:  # the object is gone
            self._work.leave()
        if self._work.hint and time.monotonic() > self._run.hint_until:
            self._hint("")
        self._advance()
        return {"PASS_THROUGH"}

    def _advance(self) -> None:
        """Take what the backend has said and send what is new, without waiting for the session's timer."""
        session = get_session()
        if session.backend is not None:
            session.backend.pump()
        self._work.poll()


def run_to_join(context: bpy.types.Context) -> ClickRun | None:
    """The run of the tool, if there is one that does not listen to this window yet."""
    work, window = get_session().clicks, context.window
    run = work.host if isinstance(work, ClickWork) else None
    if not isinstance(run, ClickRun) or window is None or window.as_pointer() in run.windows:
        return None
    return run


def listening(run: ClickRun) -> list[bpy.types.Window]:
    """The windows that listen to the mouse for a run."""
    windows = bpy.context.window_manager.windows
    return [window for window in windows if window.as_pointer() in run.windows]


def begin_work(
    context: bpy.types.Context, obj: bpy.types.Object, *, undo_message: str = ""
) -> tuple[ClickWork, Picker]:
    """Read `obj` and make the work on it the session's. Raises PartSAMError where it cannot be segmented.

    undo_message: of the undo step of each part; empty: none is pushed
    """
    if np.linalg.matrix_rank(np.array(obj.matrix_world, dtype=np.float64)) < 4:
        raise MeshError(
            say(
                '"{name}" is scaled to 0 along an axis, so no place on it can be pointed at; give it another '
                "scale first (sidebar, tab Item)",
                name=obj.name,
            )
        )
    session, settings = get_session(), context.scene.partsam
    as_seen = settings.source == "EVALUATED"
    session.open_backend()
    session.problem, session.notices = None, ()
    in_edit_mode = obj.mode == "EDIT"
    with object_mode(context, obj):
        shape = read_objects(context, [obj], ReadSettings(evaluated=as_seen))
        hidden = hidden_polygons(obj, in_edit_mode=in_edit_mode)
    work = ClickWork(session, shape, np.array(obj.matrix_world, dtype=np.float64))
    sliders = context.window_manager.partsam
    strength = sliders.strength if sliders.refine else None
    work.settings = ClickSettings(strength=strength, undo_message=undo_message)
    work.set_mirror(context.window_manager.partsam_clicks.mirror)
    session.clicks = work
    return work, Picker(obj.session_uid, hidden, as_seen_places=as_seen)


def status_drawer(keys: KeyTable) -> Callable[[bpy.types.Header, bpy.types.Context], None]:
    """What draws the tool's keys into the status bar."""
    hints = [
        ("MOUSE_LMB", "Part of It", ""),
        ("MOUSE_LMB", "Not Part of It", keys.keys_of("EXCLUDE")),
        ("MOUSE_MMB", "Size", keys.keys_of("LARGER")),
        ("EVENT_TAB", "Whole / Part / Sub-part", ""),
        ("EVENT_RETURN", "Accept", ""),
        ("EVENT_ESC", "Leave", ""),
    ]

    def draw(header: bpy.types.Header, _context: bpy.types.Context) -> None:
        row = header.layout.row(align=False)
        for icon, text, key in hints:
            held = [word for word in key.split() if word.lower() in MODIFIERS]  # the icon shows the button
            row.label(text=" ".join([*held, text]), icon=icon)

    return draw


classes = (PARTSAM_OT_click_part,)
