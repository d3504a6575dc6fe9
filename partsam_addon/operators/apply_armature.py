# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators for rigging: armature from parts, left and right names."""

from __future__ import annotations

import bpy
from bpy.props import BoolProperty, FloatProperty, IntProperty

from ..rigging.armature import RigSettings, make_armature, name_mirrored_parts
from .parts_operator import ApplyOperator, PartsOperator


class PARTSAM_OT_apply_armature(ApplyOperator, bpy.types.Operator):
    """Make an armature with a bone along each part, and bind the mesh to it"""

    bl_idname = "partsam.apply_armature"
    bl_label = "Armature"

    root: IntProperty(
        name="Root",
        description="Id of the part at the root of the bones; 0: the largest part",
        default=0,
        min=0,
        options={"SKIP_SAVE"},
    )
    falloff: FloatProperty(
        name="Falloff",
        description="Blend the weights of neighbouring bones over this distance to either side of a border; "
        "0: rigid parts",
        default=0.0,
        min=0.0,
        soft_max=1.0,
        subtype="DISTANCE",
    )
    name_sides: BoolProperty(
        name="Left and Right Names",
        description="Rename parts that mirror each other to .L and .R",
        default=True,
    )

    def objects(self, context: bpy.types.Context) -> list[bpy.types.Object]:
        # A root belongs to one mesh.
        return [context.object] if self.root else super().objects(context)

    def work(self, context: bpy.types.Context, obj: bpy.types.Object) -> str:
        settings = RigSettings(root=self.root, falloff=self.falloff, name_sides=self.name_sides)
        armature = make_armature(context, obj, settings)
        return f'"{armature.name}" has {len(armature.data.bones)} bones'


class PARTSAM_OT_parts_name_mirrored(PartsOperator, bpy.types.Operator):
    """Rename parts that mirror each other across X to .L and .R"""

    bl_idname = "partsam.parts_name_mirrored"
    bl_label = "Name Left and Right"

    def work(self, _context: bpy.types.Context, obj: bpy.types.Object) -> str:
        count = name_mirrored_parts(obj)
        return f"{count} mirrored pairs are named" if count else "No parts mirror each other across X"


classes: tuple[type, ...] = (PARTSAM_OT_apply_armature, PARTSAM_OT_parts_name_mirrored)
