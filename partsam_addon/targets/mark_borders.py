# SPDX-License-Identifier: GPL-3.0-or-later
"""Mark Part Borders: seams, sharp edges, creases."""

from __future__ import annotations

import bpy
from bpy.props import BoolProperty, FloatProperty

from ...backend.errors import PromptError
from ..apply.marks import mark_borders
from ..wording import say_count
from .apply_operator import ApplyOperator, Write
from .target import Target


class PARTSAM_OT_apply_edge_marks(ApplyOperator, bpy.types.Operator):
    """Mark the edges between parts as UV seams, sharp or creased"""

    bl_idname = "partsam.apply_edge_marks"
    bl_label = "Mark Part Borders"

    seam: BoolProperty(name="UV Seams", description="Mark the borders as UV seams", default=True)
    sharp: BoolProperty(name="Sharp Edges", description="Mark the borders as sharp edges")
    crease: FloatProperty(
        name="Crease",
        description="Subdivision crease of the borders; 0: leave creases alone",
        default=0.0,
        min=0.0,
        max=1.0,
        subtype="FACTOR",
    )
    clear: BoolProperty(
        name="Clear Others", description="First remove marks of the chosen kinds from all other edges"
    )

    def plan(self, _context: bpy.types.Context, obj: bpy.types.Object) -> Write:
        if not (self.seam or self.sharp or self.crease > 0):
            raise PromptError("Choose at least one of seams, sharp edges and crease")

        def write(warnings: list[str]) -> str:
            count = mark_borders(
                obj.data, seam=self.seam, sharp=self.sharp, crease=self.crease, clear=self.clear
            )
            return say_count(count, "One border edge is marked", "{count} border edges are marked")

        return write


TARGET = Target(
    PARTSAM_OT_apply_edge_marks,
    icon="EDGESEL",
    section="APPLY",
    order=6,
    row="marks the borders",
)
