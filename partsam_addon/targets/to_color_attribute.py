# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts to Color Attribute."""

from __future__ import annotations

import bpy

from ..apply.marks import write_part_colors
from ..wording import say
from .apply_operator import ApplyOperator, Write
from .target import Target


class PARTSAM_OT_apply_color_attribute(ApplyOperator, bpy.types.Operator):
    """Write the part colors into a color attribute, to see and render them without the overlay"""

    bl_idname = "partsam.apply_color_attribute"
    bl_label = "Parts to Color Attribute"
    needs_faces = False

    def plan(self, _context: bpy.types.Context, obj: bpy.types.Object) -> Write:
        def write(warnings: list[str]) -> str:
            write_part_colors(obj.data)
            return say('The part colors are in the color attribute "partsam_color"')

        return write


TARGET = Target(
    PARTSAM_OT_apply_color_attribute,
    icon="GROUP_VCOL",
    section="APPLY",
    order=4,
    row="writes the part colors to `partsam_color`",
)
