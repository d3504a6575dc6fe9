# SPDX-License-Identifier: GPL-3.0-or-later
"""Bake ID Map of Parts."""

from __future__ import annotations

import bpy
from bpy.props import IntProperty

from ..retexture.id_map import bake_id_map, check_bakeable
from ..wording import say
from .apply_operator import ApplyOperator, Write
from .target import Target


class PARTSAM_OT_apply_id_map(ApplyOperator, bpy.types.Operator):
    """Paint the part colors through the active UV map into an image"""

    bl_idname = "partsam.apply_id_map"
    bl_label = "Bake ID Map of Parts"

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
        description="Pixels that the colors extend beyond the UV islands",
        default=4,
        min=0,
        max=64,
        subtype="PIXEL",
    )

    def plan(self, _context: bpy.types.Context, obj: bpy.types.Object) -> Write:
        check_bakeable(obj)

        def write(warnings: list[str]) -> str:
            image = bake_id_map(obj, size=self.size, margin=self.margin)
            return say('The ID map is the image "{name}"', name=image.name)

        return write


TARGET = Target(
    PARTSAM_OT_apply_id_map,
    icon="IMAGE_DATA",
    section="TEXTURE",
    order=2,
    row="an image of the part colors in UV space",
)
