# SPDX-License-Identifier: GPL-3.0-or-later
"""What describes one target: a thing that parts become. Panels, menus and docs are built from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import bpy

Section = Literal["APPLY", "RIG", "TEXTURE", "REPAIR"]
"""Where a target stands in panels and menus."""

Needs = Literal["PARTS", "MESH"]
"""What the active object must have: parts, or just faces."""


@dataclass(frozen=True)
class Target:
    """One button.

    operator: the operator class; its label is the button's text
    icon: one of Blender's
    order: its place among the targets of its section
    row: what it does, for the table in docs/scripting.md, with the values of its enums
    """

    operator: type[bpy.types.Operator]
    icon: str
    section: Section
    order: int
    row: str
    needs: Needs = "PARTS"

    @property
    def idname(self) -> str:
        """As `layout.operator` wants it."""
        return str(self.operator.bl_idname)

    def doc_row(self) -> str:
        """The target's line in the table of operators."""
        names = [name for name in self.operator.__annotations__ if not name.startswith("_")]
        several = " *" if self.needs == "PARTS" and getattr(self.operator, "several", False) else ""
        return f"| `{self.idname.partition('.')[2]}({', '.join(names)})`{several} | {self.row} |"

    def draw(self, layout: bpy.types.UILayout) -> None:
        """Its button or menu entry."""
        layout.operator(self.idname, icon=self.icon)
