# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators that write parts into the mesh: vertex groups, materials, face sets, marks, colours."""

from __future__ import annotations

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty

from ...backend.errors import PromptError
from ..apply.marks import mark_borders, write_face_sets, write_part_colors
from ..apply.materials import assign_materials
from ..apply.vertex_groups import make_vertex_groups
from .parts_operator import ApplyOperator


class PARTSAM_OT_apply_vertex_groups(ApplyOperator, bpy.types.Operator):
    """Make a vertex group of each part"""

    bl_idname = "partsam.apply_vertex_groups"
    bl_label = "Vertex Groups"

    falloff: FloatProperty(
        name="Falloff",
        description="Blend the weights of neighbouring parts over this distance to either side of their "
        "border; 0: whole parts",
        default=0.0,
        min=0.0,
        soft_max=1.0,
        subtype="DISTANCE",
    )

    def work(self, _context: bpy.types.Context, obj: bpy.types.Object) -> str:
        return f"{len(make_vertex_groups(obj, falloff=self.falloff))} vertex groups"


class PARTSAM_OT_apply_materials(ApplyOperator, bpy.types.Operator):
    """Give each part a material of its own"""

    bl_idname = "partsam.apply_materials"
    bl_label = "Materials"

    base: EnumProperty(
        name="Base",
        description="What the materials are made of",
        items=(
            ("NEW", "Part Colour", "A plain material in the colour of the part"),
            ("COPY", "Original", "A copy of the material that covers most of the part"),
        ),
    )

    def work(self, _context: bpy.types.Context, obj: bpy.types.Object) -> str:
        return f"{len(assign_materials(obj, copy_original=self.base == 'COPY'))} materials"


class PARTSAM_OT_apply_face_sets(ApplyOperator, bpy.types.Operator):
    """Make a face set of each part, for Sculpt mode"""

    bl_idname = "partsam.apply_face_sets"
    bl_label = "Face Sets"

    def work(self, _context: bpy.types.Context, obj: bpy.types.Object) -> str:
        write_face_sets(obj.data)
        return f"{len(obj.data.partsam.parts)} face sets"


class PARTSAM_OT_apply_edge_marks(ApplyOperator, bpy.types.Operator):
    """Mark the edges between parts as UV seams, sharp or creased"""

    bl_idname = "partsam.apply_edge_marks"
    bl_label = "Mark Borders"

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

    def work(self, _context: bpy.types.Context, obj: bpy.types.Object) -> str:
        if not (self.seam or self.sharp or self.crease > 0):
            raise PromptError("Choose at least one of seams, sharp edges and crease")
        count = mark_borders(obj.data, seam=self.seam, sharp=self.sharp, crease=self.crease, clear=self.clear)
        return f"{count} border edges are marked"


class PARTSAM_OT_apply_color_attribute(ApplyOperator, bpy.types.Operator):
    """Write the part colours into a colour attribute, to see and render them without the overlay"""

    bl_idname = "partsam.apply_color_attribute"
    bl_label = "Colour Attribute"

    def work(self, _context: bpy.types.Context, obj: bpy.types.Object) -> str:
        write_part_colors(obj.data)
        return 'The part colours are in the colour attribute "partsam_color"'


classes: tuple[type, ...] = (
    PARTSAM_OT_apply_vertex_groups,
    PARTSAM_OT_apply_materials,
    PARTSAM_OT_apply_face_sets,
    PARTSAM_OT_apply_edge_marks,
    PARTSAM_OT_apply_color_attribute,
)
