# SPDX-License-Identifier: GPL-3.0-or-later
"""Name Left and Right Parts."""

from __future__ import annotations

import bpy

from ..rigging.armature import name_mirrored_parts
from ..wording import say, say_count
from .apply_operator import ApplyOperator, Write
from .target import Target


class PARTSAM_OT_parts_name_mirrored(ApplyOperator, bpy.types.Operator):
    """Rename parts that mirror each other across X to .L and .R. Pairs with two names of yours keep them"""

    bl_idname = "partsam.parts_name_mirrored"
    bl_label = "Name Left and Right Parts"

    def plan(self, _context: bpy.types.Context, obj: bpy.types.Object) -> Write:
        def write(warnings: list[str]) -> str:
            count = name_mirrored_parts(obj)
            if count:
                return say_count(count, "One mirrored pair is named", "{count} mirrored pairs are named")
            return say("No parts mirror each other across X, other than pairs with two names of yours")

        return write


TARGET = Target(
    PARTSAM_OT_parts_name_mirrored,
    icon="MOD_MIRROR",
    section="RIG",
    order=1,
    row="names mirrored parts `.L` and `.R`, except for pairs with two different names of yours",
)
