# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts to Materials."""

from __future__ import annotations

import bpy
from bpy.props import EnumProperty

from ..apply.materials import assign_materials
from ..wording import say_count
from .apply_operator import ApplyOperator, Write
from .target import Target


class PARTSAM_OT_apply_materials(ApplyOperator, bpy.types.Operator):
    """Give each part a material of its own. Materials that were in the slots before stay in the file"""

    bl_idname = "partsam.apply_materials"
    bl_label = "Parts to Materials"

    base: EnumProperty(
        name="Base",
        description="What the materials are made of",
        items=(
            ("NEW", "Part Color", "A plain material in the color of the part"),
            ("COPY", "Original", "A copy of the material that covers most of the part"),
        ),
    )

    def plan(self, _context: bpy.types.Context, obj: bpy.types.Object) -> Write:
        def write(warnings: list[str]) -> str:
            made = assign_materials(obj, copy_original=self.base == "COPY")
            return say_count(len(made), "One material", "{count} materials")

        return write


TARGET = Target(
    PARTSAM_OT_apply_materials,
    icon="MATERIAL",
    section="APPLY",
    order=3,
    row="a material per part: `NEW` in the part's color, `COPY` of the original",
)
