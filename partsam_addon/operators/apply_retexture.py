# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators for texturing: unwrap part by part, ID map."""

from __future__ import annotations

import bpy
from bpy.props import EnumProperty, FloatProperty, IntProperty

from ..retexture.id_map import bake_id_map
from ..retexture.unwrap import unwrap_parts
from .parts_operator import ApplyOperator


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

    def work(self, context: bpy.types.Context, obj: bpy.types.Object) -> str:
        name = unwrap_parts(
            context, obj, method=self.method, margin=self.margin, new_map=self.uv_map == "NEW"
        )
        return f'{len(obj.data.partsam.parts)} parts are unwrapped in "{name}"'


class PARTSAM_OT_apply_id_map(ApplyOperator, bpy.types.Operator):
    """Paint the part colours through the active UV map into an image"""

    bl_idname = "partsam.apply_id_map"
    bl_label = "Bake ID Map"
    changes_mesh = False

    size: IntProperty(
        name="Size",
        description="Side of the image in pixels",
        default=1024,
        min=16,
        max=8192,
        subtype="PIXEL",
    )
    margin: IntProperty(
        name="Margin",
        description="Pixels that the colours extend beyond the UV islands",
        default=4,
        min=0,
        max=64,
        subtype="PIXEL",
    )

    def work(self, _context: bpy.types.Context, obj: bpy.types.Object) -> str:
        return f'The ID map is the image "{bake_id_map(obj, size=self.size, margin=self.margin).name}"'


classes: tuple[type, ...] = (PARTSAM_OT_apply_unwrap, PARTSAM_OT_apply_id_map)
