# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of a mesh's parts."""

from __future__ import annotations

import bpy


class PARTSAM_UL_parts(bpy.types.UIList):
    """Colour, name, faces, confidence and lock of each part."""

    def draw_item(
        self,
        _context: bpy.types.Context,
        layout: bpy.types.UILayout,
        _data: object,
        item: bpy.types.PropertyGroup,
        _icon: int,
        _active_data: object,
        _active_property: str,
        _index: int = 0,
        _flag: int = 0,
    ) -> None:
        columns = layout.split(factor=0.47, align=True)
        row = columns.row(align=True)
        swatch = row.row()
        swatch.ui_units_x = 1.0
        swatch.prop(item, "color", text="")
        row.separator(factor=0.5)
        row.prop(item, "name", text="", emboss=False)
        row = columns.row(align=True)
        row.alignment = "RIGHT"
        numbers = row.row()
        numbers.active = False
        numbers.label(text=f"{compact_count(item.face_count)}  {confidence_text(item.confidence)}")
        row.prop(item, "locked", text="", emboss=False, icon="LOCKED" if item.locked else "UNLOCKED")


def confidence_text(confidence: float) -> str:
    """A confidence in percent, or a dash where the part was made by hand."""
    return f"{confidence:.0%}" if confidence >= 0 else "–"


def compact_count(count: int) -> str:
    """A number of faces in at most four characters, if it is below a billion: 987, 2.7k, 12k, 1.2M."""
    if count < 1000:
        return str(count)
    for unit, name in ((1000, "k"), (1_000_000, "M")):
        if count < 9.95 * unit:
            return f"{count / unit:.1f}{name}"
        if count < 999.5 * unit:
            return f"{count / unit:.0f}{name}"
    return f"{count / 1e9:.1f}G"


classes = (PARTSAM_UL_parts,)
