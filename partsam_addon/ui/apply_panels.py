# SPDX-License-Identifier: GPL-3.0-or-later
"""Panels for what parts become: objects, groups, materials, bones, textures."""

from __future__ import annotations

import bpy

from ..parts import has_parts
from .sidebar import SidebarPanel


class PartsPanel(SidebarPanel):
    """Shown for meshes that have parts."""

    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        obj = context.object
        return obj is not None and obj.type == "MESH" and has_parts(obj.data)


class PARTSAM_PT_apply(PartsPanel, bpy.types.Panel):
    bl_label = "Apply Parts As"
    bl_order = 3

    def draw(self, _context: bpy.types.Context) -> None:
        column = self.layout.column(align=True)
        column.scale_y = 1.2
        column.operator("partsam.apply_separate", icon="OBJECT_DATA")
        column.operator("partsam.apply_vertex_groups", icon="GROUP_VERTEX")
        column.operator("partsam.apply_materials", icon="MATERIAL")
        column.operator("partsam.apply_color_attribute", icon="GROUP_VCOL")
        column.operator("partsam.apply_face_sets", icon="FACE_MAPS")
        column.operator("partsam.apply_edge_marks", text="Seams and Edge Marks", icon="EDGESEL")


class PARTSAM_PT_rig(PartsPanel, bpy.types.Panel):
    bl_label = "Rig"
    bl_order = 4

    def draw(self, _context: bpy.types.Context) -> None:
        column = self.layout.column(align=True)
        column.scale_y = 1.2
        column.operator("partsam.parts_name_mirrored", icon="MOD_MIRROR")
        column.operator("partsam.apply_armature", icon="ARMATURE_DATA")


class PARTSAM_PT_retexture(PartsPanel, bpy.types.Panel):
    bl_label = "Retexture and Repair"
    bl_order = 5

    def draw(self, _context: bpy.types.Context) -> None:
        column = self.layout.column(align=True)
        column.scale_y = 1.2
        column.operator("partsam.apply_unwrap", icon="UV")
        column.operator("partsam.apply_id_map", icon="IMAGE_DATA")
        column.separator()
        column.operator("partsam.remove_interior", icon="MOD_SOLIDIFY")


classes = (PARTSAM_PT_apply, PARTSAM_PT_rig, PARTSAM_PT_retexture)
