# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the add-on's panels live."""

from __future__ import annotations

from ..constants import TAB


class SidebarPanel:
    """A panel in the add-on's tab of the 3D viewport's sidebar."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = TAB
