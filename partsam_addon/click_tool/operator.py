# SPDX-License-Identifier: GPL-3.0-or-later
"""The modal operator: events in, clicks out."""

from __future__ import annotations

import bpy

from ...backend.errors import Cancelled, PartSAMError, PromptError
from ..mesh_exchange import ReadSettings, editable_problem
from ..operators.reporting import reports_errors
from ..session import get_session
from ..session.reading import read_objects
from .picking import MeshPicker
from .surroundings import Surroundings
from .work import Click, ClickWork, Phase

CLICK_HINTS = (
    ("Click", "part of it"),
    ("Ctrl Click", "not part of it"),
    ("Backspace", "take back"),
    ("Enter", "accept"),
    ("Esc", "cancel"),
)
HINT = "    ".join(f"{keys}: {meaning}" for keys, meaning in CLICK_HINTS)
ACCEPT_KEYS = {"RET", "NUMPAD_ENTER"}


class PARTSAM_OT_click_part(bpy.types.Operator):
    """Click on a part of the active mesh to select all of it, and accept it as a new part"""

    bl_idname = "partsam.click_part"
    bl_label = "Part by Clicks"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        session = get_session()
        problem = editable_problem(context.object)
        if session.is_busy or session.clicks is not None:
            problem = "PartSAM is still working; wait for it or press Cancel"
        elif context.mode not in {"OBJECT", "EDIT_MESH"}:
            problem = "Go to Object or Edit mode first"
        if problem:
            cls.poll_message_set(problem)
        return problem is None

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        if context.area is None or context.area.type != "VIEW_3D":
            self.report({"ERROR"}, "Start this tool in a 3D viewport")
            return {"CANCELLED"}
        return self.begin(context)

    @reports_errors
    def begin(self, context: bpy.types.Context) -> set[str]:
        """Encode the shape in the background, and listen to the mouse at once."""
        session, obj = get_session(), context.object
        if obj.mode == "EDIT":
            bpy.ops.object.mode_set(mode="OBJECT")
        work = ClickWork(session, read_objects(context, [obj], ReadSettings()))
        session.start("Preparing", work.prepare(seed=context.scene.partsam.seed))
        self._work, self._object = work, work.shape.sources[0].object_name
        self._picker = MeshPicker(context, obj)
        work.at_end = Surroundings(context, work, hint=HINT).remove
        session.clicks = work
        session.watch(work.poll)
        context.window_manager.modal_handler_add(self)
        self._tell(context)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        try:
            return self._handle(context, event)
        except PartSAMError as error:
            self.report({"WARNING"}, str(error))
            return {"RUNNING_MODAL"}
        except Exception:
            self._end()
            raise

    def cancel(self, _context: bpy.types.Context) -> None:
        """Blender ends the tool (a file is loaded, Blender quits)."""
        self._end()

    def _handle(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if event.type == "TIMER":
            return self._check(context)
        if event.value != "PRESS" or not _over_viewport(context, event):
            return {"PASS_THROUGH"}
        if event.type == "ESC":
            self._end()
            return {"CANCELLED"}
        if event.type in ACCEPT_KEYS:
            self._accept(context)
        elif event.type == "BACK_SPACE" or (event.type == "Z" and event.ctrl):
            self._work.remove_last()
        elif is_click(context, event):
            return self._click(context, event)
        else:
            return {"PASS_THROUGH"}
        self._tell(context)
        return {"RUNNING_MODAL"}

    def _check(self, context: bpy.types.Context) -> set[str]:
        """End when the work has: accepted, failed, or dropped with its session."""
        self._tell(context)
        if self._work.phase is Phase.ACCEPTED:
            self._end()
            return {"FINISHED"}
        if self._work.phase is Phase.FAILED:
            self._end()
            return {"CANCELLED"}
        return {"PASS_THROUGH"}

    def _click(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        obj = context.view_layer.objects.get(self._object)
        if obj is None:
            raise PromptError("The mesh is gone; press Esc")
        mouse = (event.mouse_region_x, event.mouse_region_y)
        position = self._picker.pick(context.region, context.region_data, obj.matrix_world, mouse)
        if position is None:
            return {"PASS_THROUGH"}
        negative = event.ctrl or event.shift or event.alt or event.type == "RIGHTMOUSE"
        self._work.add(Click((position.x, position.y, position.z), positive=not negative))
        get_session().wake()
        self._tell(context)
        return {"RUNNING_MODAL"}

    def _accept(self, context: bpy.types.Context) -> None:
        sliders = context.window_manager.partsam
        strength = sliders.strength if sliders.refine else None
        get_session().start("Accepting", self._work.accept(strength=strength))

    def _tell(self, context: bpy.types.Context) -> None:
        if context.area is not None:
            context.area.header_text_set(f"Part by Clicks: {progress_text(self._work)}")

    def _end(self) -> None:
        """Undo what `begin` set up. Nothing of the work goes on."""
        session = get_session()
        session.end_clicks()
        if session.run is not None:
            session.run.abandon(Cancelled())


def progress_text(work: ClickWork) -> str:
    """What the tool is doing, for the header."""
    if work.phase is Phase.PREPARING:
        return "looking at the shape; you may click already"
    if work.phase is Phase.ACCEPTING:
        return "refining the border"
    if work.is_thinking:
        return "thinking"
    if work.preview is None:
        return "click on a part"
    faces = int(work.preview.polygons.sum())
    return f"{faces:,} faces, confidence {work.preview.score:.0%}; Enter accepts"


def is_click(context: bpy.types.Context, event: bpy.types.Event) -> bool:
    """Whether the event is one of the tool's clicks and not one that navigates."""
    if event.type == "RIGHTMOUSE":
        return bool(event.shift)
    emulates = context.preferences.inputs.use_mouse_emulate_3_button
    return event.type == "LEFTMOUSE" and not (event.alt and emulates)


def _over_viewport(context: bpy.types.Context, event: bpy.types.Event) -> bool:
    """Whether the mouse is over the bare viewport that the tool was started in.

    Events of other regions and editors arrive here as well, with this area as their context.
    """
    if context.area is None:
        return False
    for region in context.area.regions:
        inside = (
            region.x <= event.mouse_x < region.x + region.width
            and region.y <= event.mouse_y < region.y + region.height
        )
        if region.type == "WINDOW" and not inside:
            return False
        if region.type != "WINDOW" and inside and region.width > 1 and region.height > 1:
            return False
    return True


classes = (PARTSAM_OT_click_part,)
