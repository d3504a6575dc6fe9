# SPDX-License-Identifier: GPL-3.0-or-later
"""The sidebar tab and the layout of the preferences."""

from __future__ import annotations

from . import apply_panels, list_rows, menus, panels, parts_panel

classes = (*list_rows.classes, *panels.classes, *parts_panel.classes, *apply_panels.classes, *menus.classes)
