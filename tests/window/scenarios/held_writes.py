# SPDX-License-Identifier: GPL-3.0-or-later
"""What the sliders write waits for a redo panel that is open, but not for the slider itself; and while the
click tool runs it is noticed what takes the input, too."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import bpy
import numpy as np
from driver import Steps, WindowDriver, run

BODY = 0.46, 0.42
GRANULARITY_BELOW_TOP = 168
"""Pixels from the sidebar's top edge to the slider."""
MOVE_Z = 222, 92
"""Pixels to the right of the mouse and below it, to that field of the redo panel of a move."""
EDIT_MENU = 83, 14
"""Pixels from the left and the top of the window."""
UNDO_IN_MENU = 27, 24
"""Pixels to the right of those and below them."""


def scenario(window: WindowDriver) -> Steps:
    obj = window.import_mesh(os.environ["PARTSAM_WINDOW_MESH"])
    yield 0.5
    yield from window.frame_selected()
    give_tree(window, obj())
    yield from window.open_tab()
    yield from slider(window, obj)
    yield from slider_and_undo_menu(window, obj)
    yield from slider_and_redo_panel(window, obj)
    yield from click_tool(window)
    window.record["problem"] = str(window.session().problem)


def give_tree(window: WindowDriver, obj: object) -> None:
    """A part tree of 8 parts, one above the other, that are one at granularity 0."""
    parts = window.addon("parts")
    heights = np.array([polygon.center[2] for polygon in obj.data.polygons])
    atoms = np.digitize(heights, np.quantile(heights, np.arange(1, 8) / 8)).astype(np.int32)
    steps = np.stack([np.arange(8) * count // 8 for count in range(1, 9)]).astype(np.int32)
    tree = parts.PartTree(steps, np.full((8, 8), 0.5, dtype=np.float32))
    cut = parts.Cut(0.0, None)
    level = parts.store_level(obj.data, atoms, tree, tree_id="tree", cut=cut, title="", whole=True)
    labels, confidence = parts.cut_labels(obj.data, level, 0.0)
    parts.write_labels(obj.data, labels, confidences=confidence)
    parts.note_cut(obj.data, level, cut)
    bpy.ops.ed.undo_push(message="parts")


def last_operators() -> list[str]:
    return [operator.bl_idname for operator in bpy.context.window_manager.operators][-2:]


def move_up(obj: object) -> None:
    """What the redo panel shows then."""
    bpy.ops.transform.translate("EXEC_DEFAULT", True, value=(0.0, 0.0, 0.1))


def slider(window: WindowDriver, obj: object) -> Steps:
    """Granularity is dragged twice: the first press may only give the sidebar the focus."""
    session, told = window.session(), {}
    window.record["slider"] = told
    move_up(obj)
    x, y = window.sidebar_point(GRANULARITY_BELOW_TOP)
    counts = told["counts"] = []
    window.shot("slider")
    for _ in range(2):
        yield from window.move(x, y)
        event = window.window.event_simulate
        event(type="LEFTMOUSE", value="PRESS", x=int(x), y=int(y))
        yield 0.15
        for way in (30, 60, 90, 120):
            event(type="MOUSEMOVE", value="NOTHING", x=int(x) + way, y=int(y))
            yield 0.3
            counts.append(len(obj().data.partsam.parts))
        event(type="LEFTMOUSE", value="RELEASE", x=int(x) + 120, y=int(y))
        yield 0.1
    window.shot("dragged")
    yield from window.wait_for(lambda: not session.live.is_waiting, 20, "the drag was settled")
    told["last"] = last_operators()


def slider_and_redo_panel(window: WindowDriver, obj: object) -> Steps:
    """A redo panel is opened before the new position has settled, and one of its values is dragged."""
    session, told = window.session(), {}
    window.record["slider_and_redo_panel"] = told
    move_up(obj)
    before = len(obj().data.partsam.parts)
    place = window.view_point(0.2, 0.6)
    yield from window.move(*place)
    bpy.context.window_manager.partsam.granularity = 0.0 if before > 1 else 1.0
    yield 0.15  # until the session has noticed
    for value in ("PRESS", "RELEASE"):
        window.window.event_simulate(type="F9", value=value, x=int(place[0]), y=int(place[1]))
    yield 1.5
    told["open"] = [session.live.is_waiting, last_operators()[-1]]
    height = obj().location.z
    across, below = MOVE_Z
    yield from window.drag((place[0] + across, place[1] - below), (place[0] + across + 60, place[1] - below))
    told["moved"] = obj().location.z - height
    told["taken_back"] = len(obj().data.partsam.parts) == before
    window.shot("slider_and_redo_panel")
    yield from window.key("ESC", *place)
    yield from window.wait_for(lambda: not session.live.is_waiting, 20, "it was settled")
    told["last"] = last_operators()
    told["other"] = len(obj().data.partsam.parts) != before


def slider_and_undo_menu(window: WindowDriver, obj: object) -> Steps:
    """Undo is chosen from a menu that was opened before the new position has settled."""
    session, told = window.session(), {}
    window.record["slider_and_undo_menu"] = told
    move_up(obj)
    before, height = len(obj().data.partsam.parts), obj().location.z
    x, y = EDIT_MENU[0], window.window.height - EDIT_MENU[1]
    yield from window.move(x, y)
    bpy.context.window_manager.partsam.granularity = 0.0 if before > 1 else 1.0
    yield 0.15  # until the session has noticed
    for value in ("PRESS", "RELEASE"):
        window.window.event_simulate(type="LEFTMOUSE", value=value, x=x, y=y)
        yield 0.05
    yield 1.0
    told["open"] = [session.live.is_waiting, bool(session.obstacle())]
    told["cut"] = len(obj().data.partsam.parts) != before
    window.shot("undo_menu")
    yield from window.click(x + UNDO_IN_MENU[0], y - UNDO_IN_MENU[1])
    yield from window.wait_for(lambda: not session.live.is_waiting, 20, "it was settled")
    told["undone"] = [len(obj().data.partsam.parts) == before, obj().location.z == height]
    yield from window.key("Z", *window.view_point(0.2, 0.6), ctrl=True, shift=True)
    yield 0.5
    told["redone"] = len(obj().data.partsam.parts) != before


def click_tool(window: WindowDriver) -> Steps:
    """The tool's own clicks and Enter take the input from nobody; the redo panel over another editor does."""
    session = window.session()
    taken = window.record["taken"] = []

    def note() -> None:
        taken.append(bool(session.obstacle()))

    bpy.ops.partsam.click_part("INVOKE_DEFAULT")
    body = window.view_point(*BODY)
    yield from window.click(*body)
    yield from window.key("RET", *body)
    yield 0.5
    note()
    window.record["accepting"] = session.clicks.is_accepting
    editor = next(area for area in window.window.screen.areas if area.type == "PROPERTIES")
    place = editor.x + editor.width * 0.3, editor.y + editor.height * 0.5
    yield from window.key("F9", *place)
    yield 1.0
    note()
    window.shot("click_tool")
    yield from window.key("ESC", *place)
    yield from window.move(*body)
    yield 0.5
    note()
    window.record["still_running"] = session.clicks is not None
    session.end_clicks()
    yield 0.5


run(scenario)
