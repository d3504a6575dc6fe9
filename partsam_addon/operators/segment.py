# SPDX-License-Identifier: GPL-3.0-or-later
"""Segment, split again and cut: from a selection to parts."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty

from ...backend.errors import PartSAMError, PromptError
from ..mesh_exchange import ReadSettings, editable_problem, sharing_notice
from ..mesh_exchange.elements import is_cloud
from ..parts import PART_ATTRIBUTE, Cut, active_part, has_parts
from ..properties import DEFAULT_PROMPTS, SEVERAL, SOURCES
from ..session import get_session
from ..session.clouds import CloudTask, FoundCloud
from ..session.finished import Finished, cut_found
from ..session.reading import read_tasks
from ..session.recutting import Target, driven_objects, recut, target
from ..session.segmentation import Found, SegmentSettings, Task, segment
from ..session.writing import Change, new_levels, write_changes
from ..wording import say
from .reporting import reports_errors

CUT_PROPERTIES = ("granularity", "refine", "strength")
"""Operator properties that are sliders of the sidebar."""

SCENE_PROPERTIES = ("prompts", "seed", "source", "selected_faces_only", "several")
"""Operator properties that are settings of the scene."""

UNREFINED = "borders are as the network drew them: to refine them anew, segment again"
"""Where the backend that found the parts has ended, or the mesh was edited since."""


class CutProperties:
    """Where the part tree is cut."""

    if TYPE_CHECKING:  # what the operators that mix this in have
        bl_label: str
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

    count: IntProperty(
        name="Number of Parts",
        description="Find about so many parts, whatever the granularity; 0: as the granularity says",
        default=0,
        min=0,
        soft_max=64,
        max=1024,
    )

    def cut(self) -> Cut:
        return Cut(self.granularity, self.strength if self.refine else None)

    def take_sliders(self, context: bpy.types.Context) -> None:
        """Start from the sidebar's sliders, except for what the caller set."""
        _take_settings(self, CUT_PROPERTIES, context.window_manager.partsam)

    def draw_cut(self) -> None:
        column = self.layout.column()
        column.use_property_split = True
        row = column.row()
        row.active = not self.count
        row.prop(self, "granularity")
        column.prop(self, "count")
        column.prop(self, "refine")
        row = column.row()
        row.active = self.refine
        row.prop(self, "strength")


class SegmentingOperator(CutProperties):
    """What Segment and Split Again have in common: start from the window, wait in scripts."""

    title = ""

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
        flow = segment(session, self.tasks(context), self.settings(context))
        done = partial(finish_in_window, self.bl_label, asked=properties_of(self))
        session.start(self.title, flow, done=done)
        session.notices += self.warnings(context)
        return {"INTERFACE"}

    @reports_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        session = get_session()
        if session.is_written:  # from the window: what remains is the undo step
            return {"FINISHED"}
        objects = write_changes(context, new_levels(self.find(context), session.held))
        session.redraw()
        warnings = self.warnings(context)
        self.report({"WARNING" if warnings else "INFO"}, "; ".join([summary(objects), *warnings]))
        return {"FINISHED"}

    def find(self, context: bpy.types.Context) -> list[Found | FoundCloud]:
        """What the network finds; where the redo panel only cuts elsewhere, what it has found."""
        session, settings = get_session(), self.settings(context)
        finished = session.finished
        if self.is_found and finished is not None and finished.asked == without_cut(properties_of(self)):
            with suppress(PartSAMError):  # a backend that was started anew has forgotten it
                flow = cut_found(session, finished.found, settings.cut, count=settings.count)
                return list(session.run_now(flow))
        return list(session.run_now(segment(session, self.tasks(context), settings)))

    def tasks(self, context: bpy.types.Context) -> list[Task | CloudTask]:
        raise NotImplementedError

    def settings(self, context: bpy.types.Context) -> SegmentSettings:
        raise NotImplementedError

    def warnings(self, context: bpy.types.Context) -> tuple[str, ...]:
        """What the user should know beside the result."""
        return ()


class PARTSAM_OT_segment(SegmentingOperator, bpy.types.Operator):
    """Find the parts of the selected meshes. Runs in the background; the parts appear when it is done"""

    bl_idname = "partsam.segment"
    bl_label = "Segment"
    bl_options = {"REGISTER", "UNDO", "PRESET"}
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

    keep_edits: BoolProperty(
        name="Keep Edits by Hand",
        description="Parts that were made or changed by hand keep their faces",
        default=True,
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return poll_idle(cls) and _poll_mesh(cls, context)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        _take_settings(self, SCENE_PROPERTIES, context.scene.partsam)
        return super().invoke(context, event)

    def draw(self, _context: bpy.types.Context) -> None:
        self.draw_cut()
        column = self.layout.column()
        column.use_property_split = True
        for name in (*SCENE_PROPERTIES, "keep_edits"):
            column.prop(self, name)

    def tasks(self, context: bpy.types.Context) -> list[Task | CloudTask]:
        objects = target_objects(context)
        reading = ReadSettings(evaluated=self.source == "EVALUATED", selected_only=self.selected_faces_only)
        joined = self.several == "JOINED"
        return read_tasks(context, objects, reading, joined=joined, keep_edits=self.keep_edits)

    def settings(self, _context: bpy.types.Context) -> SegmentSettings:
        return SegmentSettings(prompts=self.prompts, seed=self.seed, cut=self.cut(), count=self.count)

    def warnings(self, context: bpy.types.Context) -> tuple[str, ...]:
        notices = [sharing_notice(obj) for obj in target_objects(context)]
        return tuple(dict.fromkeys(notice for notice in notices if notice))


class PARTSAM_OT_split_part(SegmentingOperator, bpy.types.Operator):
    """Segment again inside the active part only; the other parts stay as they are"""

    bl_idname = "partsam.split_part"
    bl_label = "Split Again"
    bl_options = {"REGISTER", "UNDO"}
    title = "Splitting"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not (poll_idle(cls) and _poll_mesh(cls, context)):
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
        options = context.scene.partsam
        return SegmentSettings(prompts=options.prompts, seed=options.seed, cut=self.cut(), count=self.count)


class CuttingOperator(CutProperties):
    """Cut what is there anew: in the background where the backend refines, else at once."""

    @reports_errors
    def begin(self, context: bpy.types.Context) -> set[str]:
        """Cut in the background where the backend refines: a large mesh takes seconds."""
        targets = self._targets(context)
        if not any(one.is_refined for one in targets):
            return self.execute(context)
        session = get_session()
        session.start("Cutting", recut(session, targets), done=partial(write_in_window, self.bl_label))
        return {"INTERFACE"}

    @reports_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        session, targets = get_session(), self._targets(context)
        if any(one.is_refined for one in targets):
            changes = session.run_now(recut(session, targets))
        else:
            changes = [one.from_tree() for one in targets]
        objects = write_changes(context, changes)
        session.redraw()
        with_faces = [one for one, obj in zip(targets, objects, strict=True) if not is_cloud(obj.data)]
        notices = [UNREFINED] if self.refine and not all(one.is_refined for one in with_faces) else []
        self.report({"INFO"}, "; ".join([summary(objects), *notices]))
        return {"FINISHED"}

    def _targets(self, context: bpy.types.Context) -> list[Target]:
        """What to cut. PromptError where no mesh has a part tree."""
        session = get_session()
        objects = driven_objects(context)
        found = [target(session, obj, self.cut(), count=self.count) for obj in objects]
        targets = [one for one in found if one is not None]
        if not targets:
            raise PromptError("No selected mesh has a part tree to cut; press Segment first")
        return targets


class PARTSAM_OT_cut(CuttingOperator, bpy.types.Operator):
    """Cut the parts of the selected meshes at another granularity, without inference"""

    bl_idname = "partsam.cut"
    bl_label = "Cut Parts"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        return poll_idle(cls)

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        self.take_sliders(context)
        return self.execute(context) if bpy.app.background else self.begin(context)

    def draw(self, _context: bpy.types.Context) -> None:
        self.draw_cut()


class PARTSAM_OT_cut_to_count(CuttingOperator, bpy.types.Operator):
    """Say how many parts there should be, instead of moving the slider until there are so many"""

    bl_idname = "partsam.cut_to_count"
    bl_label = "Set Number of Parts"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not poll_idle(cls):
            return False
        if not driven_objects(context):
            cls.poll_message_set("Segment the mesh first")
            return False
        return True

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        self.take_sliders(context)
        if not self.properties.is_property_set("count"):
            self.count = len(driven_objects(context)[0].data.partsam.parts)
        if bpy.app.background:
            return self.execute(context)
        return context.window_manager.invoke_props_dialog(self)

    def draw(self, _context: bpy.types.Context) -> None:
        column = self.layout.column()
        column.use_property_split = True
        column.prop(self, "count")


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

    The redo panel would otherwise show an operator from before, and take the result back.
    """
    session = get_session()
    values = {name: value for name, value in asked.items() if name != "operator"}
    operator = getattr(bpy.ops.partsam, str(asked["operator"]).partition(".")[2])
    if not operator.poll():
        bpy.ops.ed.undo_push(message=label)
        return
    session.is_written = True
    try:
        operator("EXEC_DEFAULT", True, **(values | {"is_found": True}))
    finally:
        session.is_written = False


def properties_of(operator: bpy.types.Operator) -> dict[str, object]:
    """The operator's name and the values of its properties."""
    properties = operator.properties.bl_rna.properties
    names = [prop.identifier for prop in properties if not prop.is_readonly]
    return {"operator": type(operator).bl_idname} | {name: getattr(operator, name) for name in names}


def without_cut(asked: dict[str, object]) -> dict[str, object]:
    """Of `properties_of`: all that decides on what the network finds."""
    left_out = {*CUT_PROPERTIES, "count", "is_found"}
    return {name: value for name, value in asked.items() if name not in left_out}


def write_in_window(label: str, changes: list[Change]) -> None:
    """Write changes from the timer, as one undo step."""
    write_changes(bpy.context, changes, undo_message=label)
    get_session().redraw()


def summary(objects: list[bpy.types.Object]) -> str:
    """A sentence on what was found: the parts that the lists have now."""
    meshes = {obj.data.session_uid: obj.data for obj in objects}.values()
    count = sum(len(mesh.partsam.parts) for mesh in meshes)
    if len(meshes) == 1:
        return say("One part") if count == 1 else say("{count} parts", count=count)
    return say("{count} parts in {meshes} meshes", count=count, meshes=len(meshes))


def _take_settings(
    operator: bpy.types.Operator, names: tuple[str, ...], settings: bpy.types.PropertyGroup
) -> None:
    for name in names:
        if not operator.properties.is_property_set(name):
            setattr(operator, name, getattr(settings, name))


def poll_idle(cls: type[bpy.types.Operator]) -> bool:
    """Whether nothing is in progress; else the poll message says so."""
    session = get_session()
    if not session.is_free:
        cls.poll_message_set("PartSAM is still working; wait for it or press Cancel")
        return False
    return True


def _poll_mesh(cls: type[bpy.types.Operator], context: bpy.types.Context) -> bool:
    if problem := editable_problem(context.object):
        cls.poll_message_set(problem)
        return False
    return True


classes = (
    PARTSAM_OT_segment,
    PARTSAM_OT_split_part,
    PARTSAM_OT_cut,
    PARTSAM_OT_cut_to_count,
    PARTSAM_OT_cancel,
)
