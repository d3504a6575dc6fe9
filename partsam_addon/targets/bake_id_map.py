# SPDX-License-Identifier: GPL-3.0-or-later
"""Bake ID Map of Parts."""

from __future__ import annotations

import bpy
from bpy.props import IntProperty

from ..retexture.id_map import Painted, Painting, write_image
from ..session.flow import in_portions
from ..wording import say
from .apply_operator import Plan
from .calculating import CalculatingOperator
from .target import Target


class PARTSAM_OT_apply_id_map(CalculatingOperator, bpy.types.Operator):
    """Paint the part colors through the active UV map into an image"""

    bl_idname = "partsam.apply_id_map"
    bl_label = "Bake ID Map of Parts"
    title = "Painting the ID map"
    waited_faces = 0

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

    def plan(self, _context: bpy.types.Context, obj: bpy.types.Object) -> Plan:
        painting = Painting.read(obj, size=self.size, margin=self.margin)
        return Plan(in_portions("pixels", painting.paint()), _write, check=painting.check)


def _write(obj: bpy.types.Object, painted: Painted, _warnings: list[str]) -> str:
    return say('The ID map is the image "{name}"', name=write_image(obj, painted).name)


TARGET = Target(
    PARTSAM_OT_apply_id_map,
    icon="IMAGE_DATA",
    section="TEXTURE",
    order=2,
    row="an image of the part colors in UV space",
)
