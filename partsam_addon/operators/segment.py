# SPDX-License-Identifier: GPL-3.0-or-later
"""Segment, split again and cut: from a selection to parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty, StringProperty

from ...backend.errors import PromptError
from ..mesh_exchange import ReadSettings, editable_problem, sharing_notice
from ..parts import PART_ATTRIBUTE, active_part, has_parts
from ..properties import DEFAULT_PROMPTS, SEVERAL, SOURCES
from ..session import Session, get_session
from ..session.flow import Flow
from ..session.publish import publish
from ..session.reading import read_tasks
from ..session.results import Cut, Segmentation
from ..session.segmentation import SegmentSettings, Task, cut_again, segment
from .reporting import reports_errors

CUT_PROPERTIES = ("granularity", "refine", "strength")
"""Operator properties that are sliders of the sidebar."""

SCENE_PROPERTIES = ("prompts", "seed", "source", "selected_faces_only", "several")
"""Operator properties that are settings of the scene."""


class CutProperties:
    """Where the part tree is cut."""

    if TYPE_CHECKING:  # what the operators that mix this in have
        layout: bpy.types.UILayout
        properties: bpy.types.OperatorProperties
        report: Callable[[set[str], str], None]

    granularity: FloatProperty(
        name="Granularity",
        description="Few large parts (0) to many small ones (1)",
        default=0.5,
        min=0.0,
        max=1.0,
        subtype="FACTOR",
    )
    refine: BoolProperty(
        name="Refine Borders",
        description="Move part borders to creases of the surface and remove stray islands",
        default=True,
    )
    strength: FloatProperty(
        name="Strength",
        description="How strongly borders are drawn to creases and kept short",
        default=1.0,
        min=0.0,
        soft_max=4.0,
        max=10.0,
    )

    def cut(self) -> Cut:
        return Cut(self.granularity, self.strength if self.refine else None)

    def take_sliders(self, context: bpy.types.Context) -> None:
        """Start from the sidebar's sliders, except for what the caller set."""
        _take_settings(self, CUT_PROPERTIES, context.window_manager.partsam)

    def draw_cut(self) -> None:
        column = self.layout.column()
        column.use_property_split = True
        column.prop(self, "granularity")
        column.prop(self, "refine")
        row = column.row()
        row.active = self.refine
        row.prop(self, "strength")


class SegmentingOperator(CutProperties):
    """What Segment and Split Again have in common: start from the window, wait in scripts."""

    title = ""

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        self.take_sliders(context)
        return self.execute(context) if bpy.app.background else self.begin(context)

    @reports_errors
    def begin(self, context: bpy.types.Context) -> set[str]:
        """Start in the background. No undo step yet: nothing has changed."""
        session = get_session()
        flow = segment(session, self.tasks(context), self.settings(context))
        session.start(self.title, flow, done=finish_in_window)
        return {"INTERFACE"}

    @reports_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        session = get_session()
        found = session.run_now(segment(session, self.tasks(context), self.settings(context)))
        publish_all(context, session, found)
        self.report({"INFO"}, summary(found))
        return {"FINISHED"}

    def tasks(self, context: bpy.types.Context) -> list[Task]:
        raise NotImplementedError

    def settings(self, context: bpy.types.Context) -> SegmentSettings:
        raise NotImplementedError


class PARTSAM_OT_segment(SegmentingOperator, bpy.types.Operator):
    """Find the parts of the selected meshes. Runs in the background; the parts appear when it is done"""

    bl_idname = "partsam.segment"
    bl_label = "Segment"
    bl_options = {"REGISTER", "UNDO"}
    title = "Segmenting"

    prompts: IntProperty(
        name="Prompts",
        description="Points that the network is asked about. More find smaller parts and take longer",
        default=DEFAULT_PROMPTS,
        min=1,
        soft_max=1024,
        max=4096,
    )
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

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return _poll_idle(cls) and _poll_mesh(cls, context)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        _take_settings(self, SCENE_PROPERTIES, context.scene.partsam)
        return super().invoke(context, event)

    def draw(self, _context: bpy.types.Context) -> None:
        self.draw_cut()
        column = self.layout.column()
        column.use_property_split = True
        for name in SCENE_PROPERTIES:
            column.prop(self, name)

    def tasks(self, context: bpy.types.Context) -> list[Task]:
        objects = target_objects(context)
        for obj in objects:
            if notice := sharing_notice(obj):
                self.report({"WARNING"}, notice)
        reading = ReadSettings(evaluated=self.source == "EVALUATED", selected_only=self.selected_faces_only)
        return read_tasks(context, objects, reading, joined=self.several == "JOINED")

    def settings(self, _context: bpy.types.Context) -> SegmentSettings:
        return SegmentSettings(prompts=self.prompts, seed=self.seed, cut=self.cut())


class PARTSAM_OT_split_part(SegmentingOperator, bpy.types.Operator):
    """Segment again inside the active part only; the other parts stay as they are"""

    bl_idname = "partsam.split_part"
    bl_label = "Split Again"
    bl_options = {"REGISTER", "UNDO"}
    title = "Splitting"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not (_poll_idle(cls) and _poll_mesh(cls, context)):
            return False
        part = active_part(context.object.data) if has_parts(context.object.data) else None
        if part is None:
            cls.poll_message_set("Segment the mesh and choose a part in the list first")
        elif part.locked:
            cls.poll_message_set("The active part is locked")
        return part is not None and not part.locked

    def draw(self, _context: bpy.types.Context) -> None:
        self.draw_cut()

    def tasks(self, context: bpy.types.Context) -> list[Task]:
        part = active_part(context.object.data)
        if part is None:
            raise PromptError("Segment the mesh and choose a part in the list first")
        return read_tasks(context, [context.object], ReadSettings(within=(PART_ATTRIBUTE, part.part_id)))

    def settings(self, context: bpy.types.Context) -> SegmentSettings:
        options = context.scene.partsam
        return SegmentSettings(prompts=options.prompts, seed=options.seed, cut=self.cut())


class PARTSAM_OT_cut(CutProperties, bpy.types.Operator):
    """Cut the parts of the last segmentation at another granularity, without inference"""

    bl_idname = "partsam.cut"
    bl_label = "Cut Parts"
    bl_options = {"REGISTER", "UNDO"}

    numbers: StringProperty(
        name="Segmentations",
        description="Numbers of the segmentations, with commas; empty for the active object's last one",
        options={"HIDDEN", "SKIP_SAVE"},
    )

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        return _poll_idle(cls)

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        self.take_sliders(context)
        return self.execute(context) if bpy.app.background else self.begin(context)

    @reports_errors
    def begin(self, context: bpy.types.Context) -> set[str]:
        """Cut in the background: refining a large mesh takes seconds."""
        session = get_session()
        flow = self._cut_all(session, self._last(context, session))
        session.start("Cutting", flow, done=finish_in_window)
        return {"INTERFACE"}

    @reports_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        session = get_session()
        last = self._last(context, session)
        # Nothing to ask where the labels at hand are already cut there.
        known = all(segmentation.cut == self.cut() for segmentation in last)
        newer = last if known else session.run_now(self._cut_all(session, last))
        publish_all(context, session, newer)
        self.report({"INFO"}, summary(newer))
        return {"FINISHED"}

    def draw(self, _context: bpy.types.Context) -> None:
        self.draw_cut()

    def _cut_all(self, session: Session, last: list[Segmentation]) -> Flow:
        newer = []
        for segmentation in last:
            again = yield from cut_again(session, segmentation, self.cut())
            newer.append(again)
        return newer

    def _last(self, context: bpy.types.Context, session: Session) -> list[Segmentation]:
        """What to cut. PromptError where it is no longer held."""
        if self.numbers:
            found = [session.results.get(int(number)) for number in self.numbers.split(",")]
        else:
            obj = context.object
            found = [None if obj is None else session.results.of_object(obj.session_uid)]
        held = [segmentation for segmentation in found if segmentation is not None]
        if len(held) < len(found):
            raise PromptError("This segmentation is no longer held; press Segment again")
        return held


class PARTSAM_OT_cancel(bpy.types.Operator):
    """Stop the work in progress; nothing is changed"""

    bl_idname = "partsam.cancel"
    bl_label = "Cancel"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        return get_session().is_busy

    def execute(self, _context: bpy.types.Context) -> set[str]:
        get_session().cancel()
        return {"FINISHED"}


def target_objects(context: bpy.types.Context) -> list[bpy.types.Object]:
    """The selected meshes, the active one first; the active object alone where none is selected."""
    chosen = [obj for obj in context.selected_objects if obj.type == "MESH"]
    active = context.object
    if active is not None and (active in chosen or not chosen):
        chosen = [active, *(obj for obj in chosen if obj != active)]
    return chosen


def finish_in_window(found: list[Segmentation]) -> None:
    """Write what a flow has found, as one undo step whose redo panel has the sliders."""
    session = get_session()
    for segmentation in found:
        session.results.keep(segmentation)
    cut = found[0].cut
    arguments: dict[str, object] = {"granularity": cut.granularity, "refine": cut.strength is not None}
    if cut.strength is not None:
        arguments["strength"] = cut.strength
    numbers = ",".join(str(segmentation.id) for segmentation in found)
    # The second argument makes the call push an undo step, as a button press would.
    bpy.ops.partsam.cut("EXEC_DEFAULT", True, numbers=numbers, **arguments)


def summary(found: list[Segmentation]) -> str:
    """A sentence on what was found."""
    parts = sum(len(set(segmentation.labels.labels.tolist())) for segmentation in found)
    return f"{parts} parts" if parts != 1 else "One part"


def publish_all(context: bpy.types.Context, session: Session, found: list[Segmentation]) -> None:
    """Write segmentations into the scene and remember them."""
    for segmentation in found:
        publish(context, segmentation)
        session.results.keep(segmentation)
    session.redraw()


def _take_settings(
    operator: bpy.types.Operator, names: tuple[str, ...], settings: bpy.types.PropertyGroup
) -> None:
    for name in names:
        if not operator.properties.is_property_set(name):
            setattr(operator, name, getattr(settings, name))


def _poll_idle(cls: type[bpy.types.Operator]) -> bool:
    session = get_session()
    if session.is_busy or session.clicks is not None:
        cls.poll_message_set("PartSAM is still working; wait for it or press Cancel")
        return False
    return True


def _poll_mesh(cls: type[bpy.types.Operator], context: bpy.types.Context) -> bool:
    if problem := editable_problem(context.object):
        cls.poll_message_set(problem)
        return False
    return True


classes = (PARTSAM_OT_segment, PARTSAM_OT_split_part, PARTSAM_OT_cut, PARTSAM_OT_cancel)
