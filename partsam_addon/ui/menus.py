# SPDX-License-Identifier: GPL-3.0-or-later
"""PartSAM's operators in Blender's own menus, where keyboards and the menu search find them."""

from __future__ import annotations

import bpy


class PARTSAM_MT_main(bpy.types.Menu):
    """Find parts of meshes"""

    bl_label = "PartSAM"

    def draw(self, _context: bpy.types.Context) -> None:
        layout = self.layout
        layout.operator_context = "INVOKE_DEFAULT"
        layout.operator("partsam.segment", icon="MOD_EXPLODE")
        layout.operator("partsam.click_part", icon="RESTRICT_SELECT_OFF")
        layout.operator("partsam.cut")
        layout.operator("partsam.split_part")


def _draw_entry(self: bpy.types.Menu, _context: bpy.types.Context) -> None:
    self.layout.separator()
    self.layout.menu("PARTSAM_MT_main")


def register() -> None:
    for menu in (bpy.types.VIEW3D_MT_object, bpy.types.VIEW3D_MT_edit_mesh):
        menu.append(_draw_entry)


def unregister() -> None:
    for menu in (bpy.types.VIEW3D_MT_object, bpy.types.VIEW3D_MT_edit_mesh):
        menu.remove(_draw_entry)


classes = (PARTSAM_MT_main,)
