# SPDX-License-Identifier: GPL-3.0-or-later
"""The sidebar tab, the preferences' layout and what is drawn in the viewports."""

from __future__ import annotations

from . import panels, parts_list

classes = (*parts_list.classes, *panels.classes)
