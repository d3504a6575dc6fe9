# SPDX-License-Identifier: GPL-3.0-or-later
"""Panels for what parts become, built from the targets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import bpy

from ..parts import has_parts
from ..targets import Section, Target, targets_of
from .panels import SidebarPanel

if TYPE_CHECKING:
    from bpy.types import Panel as _PanelBase
else:
    _PanelBase = object


class TargetsPanel(SidebarPanel, _PanelBase):
    """Buttons for the targets of some sections, as far as they make sense for the active object."""

    bl_options = {"DEFAULT_CLOSED"}
    sections: tuple[Section, ...] = ()

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return any(_fitting(section, context.object) for section in cls.sections)

    def draw(self, context: bpy.types.Context) -> None:
        column = self.layout.column(align=True)
        column.scale_y = 1.2
        for number, section in enumerate(self.sections):
            if number:
                column.separator()
            for target in _fitting(section, context.object):
                target.draw(column)


def _fitting(section: Section, obj: bpy.types.Object | None) -> list[Target]:
    """The targets of a section that `obj` has what they need for."""
    if obj is None or obj.type != "MESH":
        return []
    return [target for target in targets_of(section) if target.needs == "MESH" or has_parts(obj.data)]


class PARTSAM_PT_apply(TargetsPanel, bpy.types.Panel):
    bl_label = "Apply Parts"
    bl_order = 3
    sections = ("APPLY",)


class PARTSAM_PT_rig(TargetsPanel, bpy.types.Panel):
    bl_label = "Rig"
    bl_order = 4
    sections = ("RIG",)


class PARTSAM_PT_retexture(TargetsPanel, bpy.types.Panel):
    bl_label = "Retexture and Repair"
    bl_order = 5
    sections = ("TEXTURE", "REPAIR")


classes = (PARTSAM_PT_apply, PARTSAM_PT_rig, PARTSAM_PT_retexture)
