# SPDX-License-Identifier: GPL-3.0-or-later
"""Unwrap Parts."""

from __future__ import annotations

import bpy
from bpy.props import EnumProperty, FloatProperty

from ..retexture.unwrap import check_unwrappable, unwrap_parts
from ..wording import say
from .apply_operator import ApplyOperator, Write
from .target import Target


class PARTSAM_OT_apply_unwrap(ApplyOperator, bpy.types.Operator):
    """Unwrap each part by itself, with seams along the borders, and pack the UVs part by part"""

    bl_idname = "partsam.apply_unwrap"
    bl_label = "Unwrap Parts"

    method: EnumProperty(
        name="Method",
        description="How each part is flattened",
        items=(
            ("SMART", "Smart Project", "Cut by angle: robust for every shape"),
            (
                "ANGLE_BASED",
                "Angle Based",
                "Along the seams only, for parts that can be rolled out",
            ),
            ("CONFORMAL", "Conformal", "Along the seams only, faster and with more stretch"),
        ),
    )
    margin: FloatProperty(
        name="Margin",
        description="Space between islands and around each part, in UV units",
        default=0.005,
        min=0.0,
        max=0.1,
        precision=3,
    )
    uv_map: EnumProperty(
        name="UV Map",
        description="Where the UVs go",
        items=(
            ("NEW", "New Map", 'A map called "Parts"; the others stay as they are'),
            ("ACTIVE", "Active Map", "Replace the active map"),
        ),
    )

    def plan(self, context: bpy.types.Context, obj: bpy.types.Object) -> Write:
        new_map = self.uv_map == "NEW"
        check_unwrappable(obj, new_map=new_map)

        def write(warnings: list[str]) -> str:
            name = unwrap_parts(context, obj, method=self.method, margin=self.margin, new_map=new_map)
            return say(
                '{count} parts are unwrapped in "{name}"', count=len(obj.data.partsam.parts), name=name
            )

        return write


TARGET = Target(
    PARTSAM_OT_apply_unwrap,
    icon="UV",
    section="TEXTURE",
    order=1,
    row="unwraps and packs part by part; `SMART`, `ANGLE_BASED`, `CONFORMAL`; `NEW`, `ACTIVE`",
)
