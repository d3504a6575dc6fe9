# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators between parts and the faces of the mesh: select, isolate, assign."""

from __future__ import annotations

import bpy
from bpy.props import BoolProperty, StringProperty

from ..mesh_exchange import editable_problem
from ..mesh_exchange.elements import is_cloud
from ..parts import (
    assign_selected,
    get_part,
    new_part_from_selected,
    select_part,
)
from ..view import isolate_part, isolated_part, show_all_parts
from ..wording import say
from .parts_operator import CopiesOperator, OnePartOperator, PartsOperator, elements


class PARTSAM_OT_part_select(CopiesOperator, bpy.types.Operator):
    """Select the part's faces in Edit mode"""

    bl_idname = "partsam.part_select"
    bl_label = "Select Faces of Part"

    extend: BoolProperty(name="Extend", description="Add to what is selected already")

    def work(self, context: bpy.types.Context, obj: bpy.types.Object) -> str:
        parts = self.all_parts(obj)
        count = sum(
            select_part(obj.data, part.part_id, extend=self.extend or number > 0)
            for number, part in enumerate(parts)
        )
        name = parts[0].name if len(parts) == 1 else f"{parts[0].name} ×{len(parts)}"
        if is_cloud(obj.data):
            context.scene.tool_settings.mesh_select_mode = (True, False, False)
            return say('Selected {elements} of "{name}"', elements=elements(obj.data, count), name=name)
        # In vertex mode, faces of other parts between selected vertices would count as selected.
        context.scene.tool_settings.mesh_select_mode = (False, False, True)
        return say('Selected {elements} of "{name}"', elements=elements(obj.data, count), name=name)


class PARTSAM_OT_part_isolate(OnePartOperator, bpy.types.Operator):
    """Show only this part in the viewport; once more shows all parts again"""

    bl_idname = "partsam.part_isolate"
    bl_label = "Isolate Part"
    shown: int | None = None
    """The part that is shown alone before."""

    def run(self, context: bpy.types.Context, obj: bpy.types.Object) -> str:
        self.shown = isolated_part(obj)  # out of Edit mode that is the active row already
        return super().run(context, obj)

    def work(self, _context: bpy.types.Context, obj: bpy.types.Object) -> str:
        part_id = self.part_id(obj)
        if self.shown == part_id:
            show_all_parts(obj)
            return say("All parts are shown")
        isolate_part(obj, part_id)
        return say('Only "{name}" is shown', name=get_part(obj.data, part_id).name)


class PARTSAM_OT_part_assign_selected(OnePartOperator, bpy.types.Operator):
    """Put the faces selected in Edit mode into the part; faces of locked parts stay"""

    bl_idname = "partsam.part_assign_selected"
    bl_label = "Assign Selected Faces"

    def work(self, _context: bpy.types.Context, obj: bpy.types.Object) -> str:
        part_id = self.part_id(obj)
        count = assign_selected(obj.data, part_id)
        name = get_part(obj.data, part_id).name
        return say('Put {elements} into "{name}"', elements=elements(obj.data, count), name=name)


class PARTSAM_OT_part_new_from_selected(PartsOperator, bpy.types.Operator):
    """Make a new part of the faces selected in Edit mode; faces of locked parts stay"""

    bl_idname = "partsam.part_new_from_selected"
    bl_label = "New Part from Selected Faces"
    needs_parts = False

    name: StringProperty(
        name="Name", description="Name of the new part; empty: numbered", options={"SKIP_SAVE"}
    )

    def work(self, _context: bpy.types.Context, obj: bpy.types.Object) -> str:
        part = get_part(obj.data, new_part_from_selected(obj.data, self.name))
        return say('"{name}" has {elements}', name=part.name, elements=elements(obj.data, part.face_count))

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        # Also without any parts so far: a first part can be made by hand.
        problem = editable_problem(context.object)
        if problem:
            cls.poll_message_set(problem)
        return problem is None


classes: tuple[type, ...] = (
    PARTSAM_OT_part_select,
    PARTSAM_OT_part_isolate,
    PARTSAM_OT_part_assign_selected,
    PARTSAM_OT_part_new_from_selected,
)
