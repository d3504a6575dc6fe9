# SPDX-License-Identifier: GPL-3.0-or-later
"""Sentences in panels, whose labels do not wrap by themselves."""

from __future__ import annotations

import textwrap

import bpy

CHARACTER_PIXELS = 6.0
"""Mean width of a character of Blender's interface font at scale 1."""


def draw_text(layout: bpy.types.UILayout, text: str, *, icon: str = "NONE", margin: int = 0) -> None:
    """Labels with `text`, wrapped to the width of the region being drawn, less so many characters."""
    column = layout.column(align=True)
    column.scale_y = 0.8
    following = "NONE" if icon == "NONE" else "BLANK1"
    for number, line in enumerate(textwrap.wrap(text, max(20, line_width() - margin))):
        column.label(text=line, icon=icon if number == 0 else following)


def draw_online_access(layout: bpy.types.UILayout) -> None:
    """The switch that Set Up needs, where it is off."""
    if bpy.app.online_access:
        return
    if getattr(bpy.app, "online_access_override", False) or getattr(
        bpy.app, "online_access_overriden", False
    ):
        draw_text(layout, "Blender was started in offline mode, so Set Up cannot download.", icon="ERROR")
    else:
        layout.prop(bpy.context.preferences.system, "use_online_access", text="Allow Online Access to Set Up")


def line_width() -> int:
    """Characters that fit beside an icon and a box's border."""
    region = bpy.context.region
    width = 250 if region is None else region.width
    scale = bpy.context.preferences.system.ui_scale
    return max(20, int((width / scale - 80) / CHARACTER_PIXELS))
