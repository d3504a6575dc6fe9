# SPDX-License-Identifier: GPL-3.0-or-later
"""The click tool in the sidebar and in the add-on's preferences."""

from __future__ import annotations

import bpy

from ..session import get_session
from ..wording import say
from .keys import ACTION_OPERATOR, ACTIONS, KeyTable, own_keymap
from .tool import draw_tool_settings
from .work import ClickWork

PANEL_ACTIONS = ("CLICK", "EXCLUDE", "ACCEPT", "LEAVE", "LARGER", "NEXT_LEVEL", "TAKE_BACK", "ADD_TO", "BOX")
"""What the sidebar names; the preferences have all."""


def draw_click_panel(context: bpy.types.Context, layout: bpy.types.UILayout) -> None:
    """Buttons and keys, while the tool runs."""
    box = layout.box()
    box.label(text="Part by Clicks", icon="RESTRICT_SELECT_OFF")
    work = get_session().clicks
    if isinstance(work, ClickWork):  # also while nothing is going on, so that nothing below it moves
        box.progress(factor=work.bar.fraction, text=work.bar.text or say("Ready"), type="BAR")
    column = box.column()
    column.scale_y = 1.2
    draw_tool_settings(context, column)
    table = KeyTable.of_user(context.window_manager)
    hints = box.column(align=True)
    hints.scale_y = 0.85
    labels = {name: label for name, label, _text in ACTIONS}
    for action in PANEL_ACTIONS:
        row = hints.split(factor=0.5)
        row.label(text=table.keys_of(action))
        row.label(text=labels[action])


def draw_keys(context: bpy.types.Context, layout: bpy.types.UILayout) -> None:
    """The tool's keys, to be changed by the user."""
    import rna_keymap_ui

    config, keymap = context.window_manager.keyconfigs.user, own_keymap(context.window_manager)
    for item in () if keymap is None else keymap.keymap_items:
        if item.idname == ACTION_OPERATOR:
            row = layout.row()
            row.label(text=next(label for name, label, _ in ACTIONS if name == item.properties.action))
            row = row.row()
            rna_keymap_ui.draw_kmi([], config, keymap, item, row, 0)
