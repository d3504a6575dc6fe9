# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators that show parts apart."""

from __future__ import annotations

import bpy
from bpy.props import FloatProperty

from ..view import explode, separated_group
from .parts_operator import parts_problem
from .reporting import reports_errors


class PARTSAM_OT_explode(bpy.types.Operator):
    """Draw the parts apart; renders and exports stay as they are"""

    bl_idname = "partsam.explode"
    bl_label = "Explode Parts"
    bl_options = {"REGISTER", "UNDO"}

    factor: FloatProperty(
        name="Factor",
        description="How far from its place each part is drawn, in units of its distance from the middle",
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


classes: tuple[type, ...] = (PARTSAM_OT_explode,)
