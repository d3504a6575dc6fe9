# SPDX-License-Identifier: GPL-3.0-or-later
"""Cutting parts anew at another granularity, without the network."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import bpy
from bpy.props import BoolProperty, FloatProperty, IntProperty

from ...backend.errors import PromptError
from ..constants import WAITED_FACES
from ..mesh_exchange.elements import is_cloud
from ..parts import Cut, driven_level
from ..session import get_session
from ..session.recutting import (
    UNREFINED,
    Target,
    candidates,
    driven_objects,
    may_be_driven,
    recut,
    targets_of,
    update_tables,
)
from ..session.writing import write_changes
from .reporting import reports_errors
from .running import (
    CUT_PROPERTIES,
    poll_idle,
    press_again,
    properties_of,
    summary,
    take_settings,
    write_in_window,
)


class CutProperties:
    """Where the part tree is cut."""

    if TYPE_CHECKING:  # what the operators that mix this in have
        bl_label: str
        layout: bpy.types.UILayout
        options: bpy.types.OperatorOptions
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
        description="About so many parts in the list, those that are locked or made by hand included, "
        "whatever the granularity; 0: as the granularity says. In what was split again, so many of its own. "
        "There are at most as many as at granularity 1; more Prompts find more",
        default=0,
        min=0,
        soft_max=64,
        max=1024,
    )

    def cut(self) -> Cut:
        return Cut(self.granularity, self.strength if self.refine else None)

    def take_sliders(self, context: bpy.types.Context) -> None:
        """Start from the sidebar's sliders, except for what the caller set."""
        take_settings(self, CUT_PROPERTIES, context.window_manager.partsam)
        self.forget_count()

    def forget_count(self) -> None:
        """Start without a number of parts, unless the caller set one: what Blender remembers of the last time
        would be wanted again, wherever the sliders stand. Not remembered, presets would not keep it."""
        if not self.properties.is_property_set("count"):
            self.count = 0

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
        self.forget_count()
        session, targets = get_session(), self._targets(context)
        if self.options.is_repeat and not bpy.app.background and any(map(_is_slow, targets)):
            press_again(properties_of(self))
            return {"CANCELLED"}
        if any(one.is_refined for one in targets):
            changes = session.run_now(recut(session, targets))
        else:
            changes = [one.from_tree() for one in targets]
        objects = write_changes(context, changes)
        session.redraw()
        of_faces = [change for change, obj in zip(changes, objects, strict=True) if not is_cloud(obj.data)]
        notices = [UNREFINED] if self.refine and any(one.labels is None for one in of_faces) else []
        self.report({"INFO"}, "; ".join([summary(objects), *notices]))
        return {"FINISHED"}

    def _targets(self, context: bpy.types.Context) -> list[Target]:
        """What to cut. PromptError where no mesh has a part tree."""
        session = get_session()
        update_tables(context, candidates(context))
        objects = driven_objects(context)
        targets = [one for obj in objects for one in targets_of(session, obj, self.cut(), count=self.count)]
        if not targets:
            raise PromptError("No selected mesh has a part tree to cut; press Segment first")
        return targets


def _is_slow(wanted: Target) -> bool:
    return wanted.is_refined and wanted.held is not None and wanted.held.shape_faces > WAITED_FACES


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
    """Say how many parts the list should have. Parts that are locked or made by hand stay, and count"""

    bl_idname = "partsam.cut_to_count"
    bl_label = "Set Number of Parts"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not poll_idle(cls):
            return False
        if not may_be_driven(context):
            cls.poll_message_set("Segment the mesh first")
            return False
        return True

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        is_given = self.properties.is_property_set("count")
        self.take_sliders(context)
        if not is_given:
            self.count = count_now(context)
        if bpy.app.background or not self.count:  # execute says what is missing
            return self.execute(context)
        return context.window_manager.invoke_props_dialog(self)

    def draw(self, _context: bpy.types.Context) -> None:
        column = self.layout.column()
        column.use_property_split = True
        column.prop(self, "count")


def count_now(context: bpy.types.Context) -> int:
    """What `count` is now, for the active object; 0 where there is nothing to cut. Updates the tables."""
    update_tables(context, candidates(context))
    for obj in driven_objects(context):
        level, parts = driven_level(obj.data), obj.data.partsam.parts
        if level is None or not level.title:
            return len(parts)
        return sum(part.level == level.number for part in parts)
    return 0


classes: tuple[type, ...] = (PARTSAM_OT_cut, PARTSAM_OT_cut_to_count)
