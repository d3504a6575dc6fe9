# SPDX-License-Identifier: GPL-3.0-or-later
"""PartSAM's operators in Blender's own menus, where keyboards and the menu search find them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import bpy

from ..targets import SECTIONS, Section, targets_of

if TYPE_CHECKING:
    from bpy.types import Menu as _MenuBase
else:
    _MenuBase = object

EDIT_PARTS = (
    ("partsam.part_new_from_selected", "ADD"),
    ("partsam.part_assign_selected", "NONE"),
    ("partsam.part_select", "RESTRICT_SELECT_OFF"),
    (),
    ("partsam.part_pick", "EYEDROPPER"),
    ("partsam.part_isolate", "HIDE_OFF"),
    ("partsam.explode", "FULLSCREEN_ENTER"),
    (),
    ("partsam.part_rename", "NONE"),
    ("partsam.part_recolor", "NONE"),
    ("partsam.part_lock", "LOCKED"),
    (),
    ("partsam.part_merge", "AUTOMERGE_ON"),
    ("partsam.parts_merge_checked", "CHECKBOX_HLT"),
    ("partsam.part_delete", "REMOVE"),
    ("partsam.parts_remove_small", "NONE"),
    ("partsam.parts_release", "NONE"),
    ("partsam.find_repeats", "MOD_ARRAY"),
    ("partsam.transfer_parts", "NONE"),
    ("partsam.parts_clear", "X"),
)
"""Operators on the list of parts with their icons; an empty entry is a line."""


class PARTSAM_MT_main(bpy.types.Menu):
    """Find parts of meshes, edit them, and make something of them"""

    bl_label = "PartSAM"

    def draw(self, _context: bpy.types.Context) -> None:
        layout = self.layout
        layout.operator_context = "INVOKE_DEFAULT"
        layout.operator("partsam.segment", icon="MOD_EXPLODE")
        layout.operator("partsam.click_part", icon="RESTRICT_SELECT_OFF")
        layout.operator("partsam.cut")
        layout.operator("partsam.cut_to_count")
        layout.operator("partsam.split_part", icon="MOD_EDGESPLIT")
        layout.separator()
        layout.menu("PARTSAM_MT_edit_parts")
        layout.separator()
        for menu in TARGET_MENUS:
            layout.menu(menu.__name__)


class PARTSAM_MT_edit_parts(bpy.types.Menu):
    """Change the parts of the active mesh, and look at them"""

    bl_label = "Edit Parts"

    def draw(self, _context: bpy.types.Context) -> None:
        layout = self.layout
        layout.operator_context = "INVOKE_DEFAULT"
        for entry in EDIT_PARTS:
            if entry:
                layout.operator(entry[0], icon=entry[1])
            else:
                layout.separator()


class TargetsMenu(_MenuBase):
    """The targets of one section."""

    section: Section

    def draw(self, _context: bpy.types.Context) -> None:
        layout = self.layout
        layout.operator_context = "INVOKE_DEFAULT"
        for target in targets_of(self.section):
            target.draw(layout)


class PARTSAM_MT_apply(TargetsMenu, bpy.types.Menu):
    """What parts can become"""

    bl_label = SECTIONS["APPLY"]
    section = "APPLY"


class PARTSAM_MT_rig(TargetsMenu, bpy.types.Menu):
    """Bones of parts"""

    bl_label = SECTIONS["RIG"]
    section = "RIG"


class PARTSAM_MT_retexture(TargetsMenu, bpy.types.Menu):
    """UVs and images of parts"""

    bl_label = SECTIONS["TEXTURE"]
    section = "TEXTURE"


class PARTSAM_MT_repair(TargetsMenu, bpy.types.Menu):
    """Faults of generated meshes"""

    bl_label = SECTIONS["REPAIR"]
    section = "REPAIR"


TARGET_MENUS = (PARTSAM_MT_apply, PARTSAM_MT_rig, PARTSAM_MT_retexture, PARTSAM_MT_repair)

HOSTS = (
    "VIEW3D_MT_object",
    "VIEW3D_MT_edit_mesh",
    "VIEW3D_MT_object_context_menu",
    "VIEW3D_MT_edit_mesh_context_menu",
)
"""Blender's menus that get an entry."""


def _draw_entry(self: bpy.types.Menu, context: bpy.types.Context) -> None:
    if context.object is not None and context.object.type == "MESH":
        self.layout.separator()
        self.layout.menu("PARTSAM_MT_main")


def register() -> None:
    for host in HOSTS:
        getattr(bpy.types, host).append(_draw_entry)


def unregister() -> None:
    for host in HOSTS:
        getattr(bpy.types, host).remove(_draw_entry)


classes = (PARTSAM_MT_main, PARTSAM_MT_edit_parts, *TARGET_MENUS)
