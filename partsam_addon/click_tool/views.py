# SPDX-License-Identifier: GPL-3.0-or-later
"""Which viewport the mouse is over. Looked up at each event: the layout changes while the tool runs."""

from __future__ import annotations

from dataclasses import dataclass

import bpy
import numpy as np

from .screen import Projection

GIZMO_BUTTONS = 5
GIZMO_BUTTON_PIXELS = 30
GIZMO_MARGIN_PIXELS = 20
GIZMO_PIXELS = 80


@dataclass(frozen=True)
class View:
    """A viewport and the mouse in it, in pixels of its region. Lives for one event only."""

    area: bpy.types.Area
    region: bpy.types.Region
    view: bpy.types.RegionView3D
    mouse: tuple[int, int]

    @property
    def space(self) -> bpy.types.SpaceView3D:
        return self.area.spaces.active

    def projection(self, obj: bpy.types.Object) -> Projection:
        """From `obj`'s space to this region's pixels."""
        matrix = np.array(self.view.perspective_matrix @ obj.matrix_world, dtype=np.float64)
        return Projection(matrix, (self.region.width, self.region.height))


def view_under(window: bpy.types.Window, x: int, y: int) -> View | None:
    """The bare viewport at window coordinates; None over anything else, overlapping regions included."""
    for area in window.screen.areas:
        if area.type == "VIEW_3D" and _inside(area, x, y):
            return _view_in(area, x, y)
    return None


def area_under(window: bpy.types.Window, x: int, y: int) -> bpy.types.Area | None:
    """The editor at window coordinates."""
    return next((area for area in window.screen.areas if _inside(area, x, y)), None)


def has_viewport(window: bpy.types.Window) -> bool:
    """Whether a viewport is open in `window`."""
    return any(area.type == "VIEW_3D" for area in window.screen.areas)


def over_navigation_gizmo(view: View) -> bool:
    """Whether the mouse is over the axes and buttons in the viewport's corner, which navigate."""
    space, system = view.space, bpy.context.preferences
    if not (space.show_gizmo and space.show_gizmo_navigate):
        return False
    scale = system.system.ui_scale
    free = _free_corner(view.area, view.region)
    size = GIZMO_MARGIN_PIXELS * scale + getattr(system.view, "gizmo_size_navigate_v3d", GIZMO_PIXELS) * scale
    height = size + GIZMO_BUTTONS * GIZMO_BUTTON_PIXELS * scale
    x, y = view.region.x + view.mouse[0], view.region.y + view.mouse[1]
    below = free[1] - y
    width = size if below < size else (GIZMO_BUTTON_PIXELS + GIZMO_MARGIN_PIXELS) * scale
    return free[0] - x < width and below < height


def _view_in(area: bpy.types.Area, x: int, y: int) -> View | None:
    found = None
    for region in area.regions:
        if region.type == "WINDOW":
            if _inside(region, x, y):
                found = region
        elif region.width > 1 and region.height > 1 and _inside(region, x, y):
            return None  # header, toolbar, sidebar lie over the viewport
    if found is None or not isinstance(found.data, bpy.types.RegionView3D):
        return None
    return View(area, found, found.data, (x - found.x, y - found.y))


def _free_corner(area: bpy.types.Area, region: bpy.types.Region) -> tuple[int, int]:
    """Right and top end of what other regions leave of the viewport."""
    right, top = region.x + region.width, region.y + region.height
    for other in area.regions:
        if other.width <= 1 or other.height <= 1:
            continue
        if other.type == "UI" and other.alignment == "RIGHT":
            right = min(right, other.x)
        elif other.type in {"HEADER", "TOOL_HEADER"} and other.y > region.y + region.height / 2:
            top = min(top, other.y)
    return right, top


def _inside(box: bpy.types.Area | bpy.types.Region, x: int, y: int) -> bool:
    return bool(box.x <= x < box.x + box.width and box.y <= y < box.y + box.height)
