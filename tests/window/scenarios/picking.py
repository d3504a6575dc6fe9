# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts picked in the viewport, in Object and Edit mode; needs no backend."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import bpy
from driver import Steps, WindowDriver, run
from mathutils import Vector

ACROSS = 0.46
HEIGHTS = (0.24, 0.44, 0.58, 0.78)
"""Where the four parts are seen, the lowest first."""


def scenario(window: WindowDriver) -> Steps:
    obj = window.import_mesh(os.environ["PARTSAM_WINDOW_MESH"])
    yield 0.5
    window.label_by_height(obj())
    bpy.ops.ed.undo_push(message="parts")
    yield from window.frame_selected()
    yield from window.open_tab()
    yield from picking(window, obj)
    yield from merging(window, obj)
    yield from leaving(window, obj)
    yield from in_edit_mode(window, obj)
    yield from search(window, obj)


def start(window: WindowDriver) -> Steps:
    session = window.session()
    bpy.ops.partsam.part_pick("INVOKE_DEFAULT")
    yield from window.wait_for(lambda: session.picking is not None, 10, "picking was started")


def names_at(window: WindowDriver) -> Steps:
    """What is said at the mouse over each part."""
    window.record["names"] = []
    for height in HEIGHTS:
        yield from window.move(*window.view_point(ACROSS, height))
        window.record["names"].append(window.session().picking.lines())


def state(obj: object) -> list:
    """The active part and those that are checked."""
    table = obj().data.partsam
    return [table.parts[table.active_index].part_id, [p.part_id for p in table.parts if p.checked]]


def picking(window: WindowDriver, obj: object) -> Steps:
    record = window.record
    yield from start(window)
    yield from names_at(window)
    yield from window.move(*window.view_point(0.1, 0.15))
    record["beside"] = window.session().picking.lines()
    record["picked"] = []
    for height, keys in (
        (HEIGHTS[3], {}),
        (HEIGHTS[0], {}),
        (HEIGHTS[2], {"shift": True}),
        (HEIGHTS[1], {"ctrl": True}),
    ):
        yield from window.click(*window.view_point(ACROSS, height), **keys)
        record["picked"].append(state(obj))
    window.shot("collected")
    yield from window.click(*window.view_point(ACROSS, HEIGHTS[1]), shift=True)
    record["picked"].append(state(obj))
    turned = window.view_matrix()
    yield from window.key("NUMPAD_6", *window.view_point(0.3, 0.3))
    yield from window.wait_for(lambda: window.view_matrix() != turned, 10, "the view was turned meanwhile")
    yield from window.key("NUMPAD_4", *window.view_point(0.3, 0.3))
    yield 0.5
    yield from covered(window)


def covered(window: WindowDriver) -> Steps:
    """Another object stands before the mesh."""
    obj, view = bpy.context.object, window.area.spaces.active.region_3d
    towards = view.view_rotation @ Vector((0.0, 0.0, 1.0))
    place = view.view_location + 0.5 * view.view_distance * towards
    bpy.ops.mesh.primitive_plane_add(size=30.0, location=place)
    wall = bpy.context.object
    wall.rotation_euler = view.view_rotation.to_euler()
    bpy.context.view_layer.objects.active = obj
    wall.select_set(False)
    obj.select_set(True)
    yield 0.5
    yield from window.move(*window.view_point(ACROSS, HEIGHTS[1]))
    window.record["covered"] = window.session().picking.lines()
    bpy.data.objects.remove(wall)
    bpy.ops.ed.undo_push(message="wall removed")
    yield 0.5


def merging(window: WindowDriver, obj: object) -> Steps:
    place = window.view_point(ACROSS, HEIGHTS[0])
    parts = window.record["parts"] = []
    yield from window.key("RET", *place)
    yield 0.3
    parts.append(len(obj().data.partsam.parts))
    yield from window.key("Z", *place, ctrl=True)
    yield 0.5
    parts.append(len(obj().data.partsam.parts))
    window.record["still_picking"] = window.session().picking is not None


def leaving(window: WindowDriver, obj: object) -> Steps:
    before = state(obj)
    yield from window.key("ESC", *window.view_point(0.3, 0.3))
    window.record["left"] = window.session().picking is None
    yield from window.click(*window.view_point(ACROSS, HEIGHTS[1]))
    window.record["unchanged"] = state(obj) == before


def in_edit_mode(window: WindowDriver, obj: object) -> Steps:
    bpy.ops.object.mode_set(mode="EDIT")
    yield 0.5
    yield from start(window)
    yield from window.click(*window.view_point(ACROSS, HEIGHTS[2]))
    window.record["edit_mode"] = [obj().mode, *state(obj)]
    window.shot("edit_mode")
    yield from window.click(*window.view_point(0.3, 0.3), button="RIGHTMOUSE")
    window.record["left_edit_mode"] = window.session().picking is None
    bpy.ops.object.mode_set(mode="OBJECT")
    yield 0.3
    bpy.ops.partsam.part_merge("INVOKE_DEFAULT")
    yield 1.0
    yield from window.move(*window.view_point(0.45, 0.3))
    yield 0.5
    window.shot("merge")
    window.record["offered"] = [tuple(part.color) for part in obj().data.partsam.parts if part.part_id != 3]
    yield from window.key("ESC", *window.view_point(0.5, 0.5))
    yield from error_box(window)


def error_box(window: WindowDriver) -> Steps:
    """An error while the mouse rests in the sidebar is readable at once."""
    yield from window.move(*window.sidebar_point(110))
    with contextlib.suppress(RuntimeError):
        bpy.ops.partsam.parts_merge_checked("EXEC_DEFAULT", True)
    yield 1.0
    window.shot("error")
    region = window.region("UI")
    top = bpy.context.window.height - region.y - region.height
    window.record["error_box"] = [region.x + 30, top + 102, region.x + region.width - 60, top + 150]


def search(window: WindowDriver, obj: object) -> Steps:
    """F3 finds what stands in submenus only."""
    place = window.view_point(0.3, 0.3)
    yield from window.key("F3", *place)
    yield 0.7
    for letter in "face sets":
        kind = "SPACE" if letter == " " else letter.upper()
        for value in ("PRESS", "RELEASE"):
            text = {"unicode": letter} if value == "PRESS" else {}
            bpy.context.window.event_simulate(
                type=kind, value=value, x=int(place[0]), y=int(place[1]), **text
            )
        yield 0.15
    yield 0.7
    window.shot("search")
    yield from window.key("RET", *place)
    yield 0.7
    window.record["found_by_search"] = ".sculpt_face_set" in obj().data.attributes


run(scenario)
