# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of a mesh's parts."""

from __future__ import annotations

import bpy
import numpy as np
from bpy.props import BoolProperty, EnumProperty

from ..parts.repeats import copies_of
from ..view import isolated_part

WIDE_PIXELS = 330
"""Width of the sidebar, at scale 1, from which the rows also show numbers."""


class PARTSAM_UL_parts(bpy.types.UIList):
    """Check mark, color, name, visibility and lock of each part; its numbers where there is room."""

    order: EnumProperty(
        name="Order",
        description="What the list is sorted by",
        items=(
            ("SIZE", "Size", "The largest part first"),
            ("NAME", "Name", "By name"),
            ("CONFIDENCE", "Confidence", "The surest part first"),
            ("NUMBER", "Number", "By the id of the part"),
        ),
        default="SIZE",
    )

    group_copies: BoolProperty(
        name="Group Copies", description="Of parts that are copies of each other show the first one only"
    )

    def draw_item(
        self,
        context: bpy.types.Context,
        layout: bpy.types.UILayout,
        _data: object,
        item: bpy.types.PropertyGroup,
        _icon: int,
        _active_data: object,
        _active_property: str,
        _index: int = 0,
        _flag: int = 0,
    ) -> None:
        row = layout.row(align=True)
        check = "CHECKBOX_HLT" if item.checked else "CHECKBOX_DEHLT"
        icon_slot(row).prop(item, "checked", text="", emboss=False, icon=check)
        swatch = row.row()
        swatch.ui_units_x = 0.6
        swatch.prop(item, "color", text="")
        row.separator(factor=0.2)
        row.prop(item, "name", text="", emboss=False)
        count = len(copies_of(item.id_data, item))
        if count > 1:
            copies = row.row()
            copies.active, copies.alignment = False, "RIGHT"
            copies.label(text=f"×{count}")
        if item.by_hand:
            row.label(text="", icon="VIEW_PAN")
        if is_wide(context):
            numbers = row.row()
            numbers.active, numbers.alignment = False, "RIGHT"
            numbers.label(text=f"{compact_count(item.face_count)}  {confidence_text(item.confidence)}")
        isolated = isolated_part(context.object)
        hidden = bool(isolated) and isolated != item.part_id
        eye = icon_slot(row).operator(
            "partsam.part_isolate", text="", emboss=False, icon="HIDE_ON" if hidden else "HIDE_OFF"
        )
        eye.part = item.part_id
        lock = "LOCKED" if item.locked else "UNLOCKED"
        icon_slot(row).prop(item, "locked", text="", emboss=False, icon=lock)

    def draw_filter(self, _context: bpy.types.Context, layout: bpy.types.UILayout) -> None:
        row = layout.row(align=True)
        row.prop(self, "filter_name", text="", icon="VIEWZOOM")
        row.prop(self, "order", text="")
        row.prop(self, "use_filter_sort_reverse", text="", icon="ARROW_LEFTRIGHT")
        row.prop(self, "group_copies", text="", icon="MOD_ARRAY")

    def filter_items(
        self, _context: bpy.types.Context, data: bpy.types.PropertyGroup, name: str
    ) -> tuple[list[int], list[int]]:
        """Which rows are shown, and the place of each."""
        parts = getattr(data, name)
        helper = bpy.types.UI_UL_list
        shown = []
        if self.filter_name:
            shown = helper.filter_items_by_name(self.filter_name, self.bitflag_filter_item, parts, "name")
        if self.group_copies:
            shown = shown or [self.bitflag_filter_item] * len(parts)
            shown = [flag if first else 0 for flag, first in zip(shown, firsts(parts), strict=True)]
        return shown, places(parts, self.order)


def icon_slot(row: bpy.types.UILayout) -> bpy.types.UILayout:
    """Room for one icon, a little narrower than Blender's own: names need it at the sidebar's usual width."""
    slot = row.row()
    slot.ui_units_x = 0.8
    return slot


def firsts(parts: bpy.types.bpy_prop_collection) -> list[bool]:
    """Which parts are the first of their copies, or have none."""
    seen: set[int] = set()
    result = []
    for part in parts:
        result.append(part.repeat not in seen)
        seen |= {part.repeat} - {0}
    return result


def places(parts: bpy.types.bpy_prop_collection, order: str) -> list[int]:
    """The place of each part in the list: see `PARTSAM_UL_parts.order`. Ties go to the smaller id."""
    keys = {
        "SIZE": lambda part: (-part.area, part.part_id),
        "NAME": lambda part: (part.name.casefold(), part.part_id),
        "CONFIDENCE": lambda part: (-part.confidence, part.part_id),
        "NUMBER": lambda part: (part.part_id,),
    }
    key = keys[order]
    sorted_rows = sorted(range(len(parts)), key=lambda row: key(parts[row]))
    return np.argsort(sorted_rows).tolist()


def is_wide(context: bpy.types.Context) -> bool:
    """Whether rows have room for numbers beside the name."""
    region = context.region
    return region is not None and region.width / context.preferences.system.ui_scale >= WIDE_PIXELS


def confidence_text(confidence: float) -> str:
    """A confidence in percent, or a dash where there is none: by hand, or in no mask of the network's."""
    return f"{confidence:.0%}" if confidence > 0 else "–"


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
