# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts to Face Sets."""

from __future__ import annotations

import bpy

from ..apply.marks import has_foreign_face_sets, write_face_sets
from ..wording import say, say_count
from .apply_operator import ApplyOperator, Write
from .target import Target


class PARTSAM_OT_apply_face_sets(ApplyOperator, bpy.types.Operator):
    """Make a face set of each part, for Sculpt mode. They take the place of those that the mesh has"""

    bl_idname = "partsam.apply_face_sets"
    bl_label = "Parts to Face Sets"

    def plan(self, _context: bpy.types.Context, obj: bpy.types.Object) -> Write:
        def write(warnings: list[str]) -> str:
            if has_foreign_face_sets(obj.data):
                text = say(
                    'The face sets that "{name}" had are replaced; undo brings them back', name=obj.name
                )
                warnings.append(text)
            write_face_sets(obj.data)
            return say_count(len(obj.data.partsam.parts), "One face set", "{count} face sets")

        return write


TARGET = Target(
    PARTSAM_OT_apply_face_sets,
    icon="FACE_MAPS",
    section="APPLY",
    order=5,
    row="face sets for Sculpt mode",
)
