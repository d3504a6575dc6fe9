# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators that make objects of parts, and show them apart."""

from __future__ import annotations

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty

from ..separation.separation import SeparateSettings, separate_parts
from ..view import explode, separated_group
from .parts_operator import ApplyOperator, parts_problem
from .reporting import reports_errors


class PARTSAM_OT_apply_separate(ApplyOperator, bpy.types.Operator):
    """Make an object of each part. UVs, materials, weights, shape keys, normals and marks are kept"""

    bl_idname = "partsam.apply_separate"
    bl_label = "Separate Objects"
    changes_mesh = False

    grouping: EnumProperty(
        name="Group",
        description="How the new objects are kept together",
        items=(
            ("EMPTY", "Under an Empty", "An empty takes the original's place; the parts are its children"),
            ("COLLECTION", "In a Collection", "A collection of their own, with the original's parent"),
            ("NONE", "As the Original", "In the original's collections, with the original's parent"),
        ),
    )
    own_origin: BoolProperty(
        name="Own Origins",
        description="Put each origin at the middle of its part, unless a modifier, constraint or animation "
        "depends on it",
        default=True,
    )
    cap_holes: BoolProperty(
        name="Cap Holes", description="Close the holes that cutting the parts apart leaves"
    )
    original: EnumProperty(
        name="Original",
        description="What happens to the original object",
        items=(
            ("HIDE", "Hide", "Keep the original, hidden in viewport and render"),
            ("REMOVE", "Remove", "Delete the original object"),
        ),
    )

    def work(self, context: bpy.types.Context, obj: bpy.types.Object) -> str:
        settings = SeparateSettings(
            grouping=self.grouping,
            own_origin=self.own_origin,
            cap=self.cap_holes,
            remove_original=self.original == "REMOVE",
        )
        name = obj.name
        made = separate_parts(context, obj, settings)
        if made.dropped:
            self.report({"WARNING"}, f"Not kept: {', '.join(made.dropped)}")
        return f'{len(made.objects)} objects from "{name}"'


class PARTSAM_OT_explode(bpy.types.Operator):
    """Move the parts apart for viewing; factor 0 puts everything back as it was"""

    bl_idname = "partsam.explode"
    bl_label = "Explode"
    bl_options = {"REGISTER", "UNDO"}

    factor: FloatProperty(
        name="Factor",
        description="How far each part moves, in units of its distance from the middle",
        default=0.5,
        min=0.0,
        soft_max=2.0,
        max=100.0,
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        obj = context.object
        if obj is not None and len(separated_group(obj)) > 1:
            return True
        problem = parts_problem(obj)
        if problem:
            cls.poll_message_set(problem)
        return problem is None

    @reports_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        explode(context.object, self.factor)
        return {"FINISHED"}


classes: tuple[type, ...] = (PARTSAM_OT_apply_separate, PARTSAM_OT_explode)
