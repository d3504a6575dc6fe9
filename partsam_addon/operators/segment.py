# SPDX-License-Identifier: GPL-3.0-or-later
"""Segment and Split Again: from a selection to parts."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial

import bpy
from bpy.props import BoolProperty, EnumProperty, IntProperty

from ...backend.errors import Cancelled, PartSAMError, PromptError
from ..constants import WAITED_FACES
from ..mesh_exchange import (
    ReadSettings,
    editable_problem,
    hidden_notice,
    main_object,
    make_active,
    sharing_notice,
)
from ..parts import PART_ATTRIBUTE, active_part, has_parts
from ..properties import DEFAULT_PROMPTS, MAX_POSES, POSES, SEVERAL, SOURCES
from ..session import get_session
from ..session.clouds import CloudTask, FoundCloud
from ..session.find_parts import Found, SegmentSettings, Task, cut_found, segment
from ..session.finished import is_refined_slowly
from ..session.flow import Flow
from ..session.reading import read_tasks
from ..session.writing import new_levels, write_changes
from .cutting import CutProperties
from .reporting import reports_errors
from .running import (
    finish_in_window,
    poll_idle,
    press_again,
    properties_of,
    summary,
    take_settings,
    without_cut,
)

SCENE_PROPERTIES = ("prompts", "poses", "seed", "source", "selected_faces_only", "several")
"""Operator properties that are settings of the scene."""


class SegmentingOperator(CutProperties):
    """What Segment and Split Again have in common: start from the window, wait in scripts.

    Nothing that waits for the network, or long for refined borders, runs in the redo panel: there the
    work starts anew in the background, and until it ends the parts stay as they are.
    """

    title = ""
    keep_edits = False

    is_found: BoolProperty(
        name="Found",
        description="The parts were found in the background; the redo panel cuts them anew",
        options={"HIDDEN", "SKIP_SAVE"},
    )

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        self.take_sliders(context)
        return self.execute(context) if bpy.app.background else self.begin(context)

    @reports_errors
    def begin(self, context: bpy.types.Context) -> set[str]:
        """Start in the background. No undo step yet: nothing has changed."""
        session = get_session()
        done = partial(finish_in_window, self.bl_label, asked=properties_of(self))
        tasks, settings = self.tasks(context), self.settings(context)
        session.start(self.title, find(tasks, settings, self.found_before()), done=done)
        session.notices += self.warnings(context)
        return {"INTERFACE"}

    @reports_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        session = get_session()
        if session.is_written:  # from the window: what remains is the undo step
            return {"FINISHED"}
        self.forget_count()
        if not bpy.app.background and self.options.is_repeat_last:  # perhaps of other objects
            self.is_found = False
            return self.begin(context)
        found = self.cut_now()
        if found is None:
            if self.is_found and not bpy.app.background:
                return self.find_again(context)
            found = session.run_now(segment(session, self.tasks(context), self.settings(context)))
        objects = write_changes(context, new_levels(found, session.held))
        session.redraw()
        warnings = self.warnings(context)
        self.report({"WARNING" if warnings else "INFO"}, "; ".join([summary(objects), *warnings]))
        return {"FINISHED"}

    def cut_now(self) -> list[Found | FoundCloud] | None:
        """What was found before, cut elsewhere; None where that takes long, or something else is asked."""
        session, settings, found = get_session(), self.settings(bpy.context), self.found_before()
        if found is None:
            return None
        if not bpy.app.background and is_refined_slowly(found, settings.cut, WAITED_FACES):
            return None
        with suppress(PartSAMError):  # a backend that was started anew has forgotten it
            return list(session.run_now(cut_found(session, found, settings.cut, count=settings.count)))
        return None

    def found_before(self) -> list[Found | FoundCloud] | None:
        """What the last segmentation has found, if in the redo panel only where it is cut was changed."""
        finished = get_session().finished
        if not self.is_found or finished is None or finished.asked != without_cut(properties_of(self)):
            return None
        return [one.with_edits(self.keep_edits) for one in finished.found]

    def find_again(self, context: bpy.types.Context) -> set[str]:
        """From the redo panel: in the background, as the button does, once the values have settled.

        Cancelled here, Blender puts back the state that the redo panel has taken away.
        """
        finished = get_session().finished
        chosen = {obj.data.session_uid for obj in target_objects(context)}
        if finished is not None and finished.meshes() != chosen:
            raise PromptError("Other objects are selected now; select those again, or press Segment")
        press_again(properties_of(self))
        return {"CANCELLED"}

    def tasks(self, context: bpy.types.Context) -> list[Task | CloudTask]:
        raise NotImplementedError

    def settings(self, context: bpy.types.Context) -> SegmentSettings:
        raise NotImplementedError

    def segment_settings(self, options: bpy.types.PropertyGroup | bpy.types.Operator) -> SegmentSettings:
        """The settings of a segmentation with the scene's or the operator's `options`."""
        return SegmentSettings(
            prompts=options.prompts,
            poses=options.poses,
            seed=options.seed,
            cut=self.cut(),
            count=self.count,
        )

    def warnings(self, context: bpy.types.Context) -> tuple[str, ...]:
        """What the user should know beside the result."""
        return ()


def find(
    tasks: Sequence[Task | CloudTask],
    settings: SegmentSettings,
    before: Sequence[Found | FoundCloud] | None = None,
) -> Flow:
    """The flow to the parts of `tasks`: from what was found `before`, if the backend still knows it."""
    session = get_session()
    if before is not None:
        try:
            return (yield from cut_found(session, before, settings.cut, count=settings.count))
        except Cancelled:
            raise
        except PartSAMError:  # a backend that was started anew has forgotten it
            pass
    return (yield from segment(session, tasks, settings))


class PARTSAM_OT_segment(SegmentingOperator, bpy.types.Operator):
    """Find the parts of the selected meshes. Runs in the background; the parts appear when it is done"""

    bl_idname = "partsam.segment"
    bl_label = "Segment"
    bl_options = {"REGISTER", "UNDO", "PRESET"}
    title = "Segmenting"

    prompts: IntProperty(
        name="Prompts",
        description="Points that the network is asked about. More find smaller parts and take longer. "
        "Changed in the redo panel, the new result is an undo step of its own",
        default=DEFAULT_PROMPTS,
        min=1,
        soft_max=1024,
        max=4096,
    )
    poses: IntProperty(name="Poses", description=POSES, default=1, min=1, max=MAX_POSES)
    seed: IntProperty(name="Seed", description="Start of the random sampling", default=0, min=0)
    source: EnumProperty(name="Mesh", description="Which mesh to look at", items=SOURCES, default="BASE")
    selected_faces_only: BoolProperty(
        name="Selected Faces Only", description="Segment only the faces selected in Edit mode"
    )
    several: EnumProperty(
        name="Several Objects",
        description="What to do when several meshes are selected",
        items=SEVERAL,
        default="EACH",
    )

    keep_edits: BoolProperty(
        name="Keep Edits by Hand",
        description="Parts that were made or changed by hand keep their faces",
        default=True,
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return poll_idle(cls, or_again=True) and _poll_mesh(cls, main_object(context))

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        take_settings(self, SCENE_PROPERTIES, context.scene.partsam)
        return super().invoke(context, event)

    def draw(self, _context: bpy.types.Context) -> None:
        self.draw_cut()
        column = self.layout.column()
        column.use_property_split = True
        for name in (*SCENE_PROPERTIES, "keep_edits"):
            column.prop(self, name)

    def tasks(self, context: bpy.types.Context) -> list[Task | CloudTask]:
        objects = target_objects(context)
        make_active(context, objects[0])
        reading = ReadSettings(evaluated=self.source == "EVALUATED", selected_only=self.selected_faces_only)
        joined = self.several == "JOINED"
        return read_tasks(context, objects, reading, joined=joined, keep_edits=self.keep_edits)

    def settings(self, _context: bpy.types.Context) -> SegmentSettings:
        return self.segment_settings(self)

    def warnings(self, context: bpy.types.Context) -> tuple[str, ...]:
        notices = [
            notice(obj) for obj in target_objects(context) for notice in (hidden_notice, sharing_notice)
        ]
        return tuple(dict.fromkeys(notice for notice in notices if notice))


class PARTSAM_OT_split_part(SegmentingOperator, bpy.types.Operator):
    """Segment again inside the active part only; the other parts stay as they are"""

    bl_idname = "partsam.split_part"
    bl_label = "Split Again"
    bl_options = {"REGISTER", "UNDO"}
    title = "Splitting"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not (poll_idle(cls, or_again=True) and _poll_mesh(cls, context.object)):
            return False
        part = active_part(context.object.data) if has_parts(context.object.data) else None
        if part is None:
            cls.poll_message_set("Segment the mesh and choose a part in the list first")
        elif part.locked:
            cls.poll_message_set("The active part is locked")
        return part is not None and not part.locked

    def draw(self, _context: bpy.types.Context) -> None:
        self.draw_cut()

    def tasks(self, context: bpy.types.Context) -> list[Task | CloudTask]:
        part = active_part(context.object.data)
        if part is None:
            raise PromptError("Segment the mesh and choose a part in the list first")
        within = ReadSettings(within=(PART_ATTRIBUTE, part.part_id))
        # Also a part by hand: the user asks for this one.
        return read_tasks(context, [context.object], within, title=part.name, keep_edits=False)

    def settings(self, context: bpy.types.Context) -> SegmentSettings:
        return self.segment_settings(context.scene.partsam)


def target_objects(context: bpy.types.Context) -> list[bpy.types.Object]:
    """The selected meshes, the active one first; the active object alone where none is selected."""
    chosen = [obj for obj in context.selected_objects if obj.type == "MESH"]
    active = main_object(context)
    if active is not None and (active in chosen or not chosen):
        chosen = [active, *(obj for obj in chosen if obj != active)]
    return chosen


def _poll_mesh(cls: type[bpy.types.Operator], obj: bpy.types.Object | None) -> bool:
    if problem := editable_problem(obj):
        cls.poll_message_set(problem)
        return False
    return True


classes: tuple[type, ...] = (PARTSAM_OT_segment, PARTSAM_OT_split_part)
