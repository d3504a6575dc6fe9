# SPDX-License-Identifier: GPL-3.0-or-later
"""Results wait for what the user is in the middle of: a grab, the redo panel of another operator, a name."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import bpy
from driver import Steps, WindowDriver, run

MOVE_X_IN_REDO = 207, -78
"""From the mouse, where Adjust Last Operation opens, to the first value of Move."""

SECOND_PART_BELOW_TOP = 270
"""Pixels from the sidebar's top edge to the second row of the list."""


def scenario(window: WindowDriver) -> Steps:
    obj = window.import_mesh(os.environ["PARTSAM_WINDOW_MESH"])
    yield 0.5
    yield from window.frame_selected()
    yield from window.open_tab()
    yield from grab(window, obj)
    yield from redo_panel(window, obj)
    yield from typing(window, obj)
    window.record["problem"] = str(window.session().problem)


def grab(window: WindowDriver, obj: object) -> Steps:
    session = window.session()
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.select_all(action="SELECT")
    bpy.ops.partsam.segment("INVOKE_DEFAULT", prompts=32)
    yield from window.wait_for(lambda: session.is_busy, 10, "Segment was started")
    # The first key press in a viewport may only give it the focus.
    for _ in range(5):
        yield from window.key("G", *window.view_point(0.5, 0.5))
        yield 0.5
        modal = [op.bl_idname for op in bpy.context.window_manager.windows[0].modal_operators]
        if "TRANSFORM_OT_translate" in modal:
            break
    window.record["modal"] = modal
    yield from window.wait_for(lambda: bool(session.waits_for), 300, "the result waits")
    yield 1.0
    window.record["while_grabbing"] = [obj().mode, len(obj().data.partsam.parts), session.waits_for]
    window.shot("waiting")
    yield from window.key("ESC", *window.view_point(0.5, 0.5))
    yield from window.wait_for(lambda: not session.is_busy, 300, "the result was written")
    yield 0.5
    window.record["afterwards"] = [obj().mode, len(obj().data.partsam.parts) > 1]
    window.shot("written")
    bpy.ops.object.mode_set(mode="OBJECT")
    yield 1.0
    window.shot("list")


def redo_panel(window: WindowDriver, obj: object) -> Steps:
    """The panel of Move is open as the result comes, and one of its values is dragged."""
    session, told = window.session(), {}
    window.record["redo_panel"] = told
    bpy.ops.partsam.parts_clear("EXEC_DEFAULT", True)
    bpy.ops.transform.translate("EXEC_DEFAULT", True, value=(0.0, 0.0, 0.1))
    x, y = window.view_point(0.2, 0.6)
    bpy.ops.partsam.segment("INVOKE_DEFAULT", prompts=32)
    yield from window.key("F9", x, y)
    yield from window.wait_for(lambda: bool(session.waits_for), 100, "the result waits")
    window.shot("redo_panel")
    value = x + MOVE_X_IN_REDO[0], y + MOVE_X_IN_REDO[1]
    yield from window.drag(value, (value[0] + 60, value[1]))
    yield 0.5
    window.shot("dragged")
    told["open"] = [session.waits_for, len(obj().data.partsam.parts), list(obj().location)]
    yield from window.key("ESC", *value)
    yield from window.wait_for(lambda: not session.is_busy, 20, "the result was written")
    yield 0.5
    told["parts"] = len(obj().data.partsam.parts)
    told["last"] = [operator.bl_idname for operator in bpy.context.window_manager.operators][-2:]
    told["place"] = list(obj().location)
    told["notices"] = list(session.notices)


def typing(window: WindowDriver, obj: object) -> Steps:
    """A part is being renamed as the result comes."""
    session, told = window.session(), {}
    window.record["typing"] = told
    bpy.ops.partsam.segment("INVOKE_DEFAULT", prompts=64)
    row = window.sidebar_point(SECOND_PART_BELOW_TOP)
    yield from window.click(*row, ctrl=True)
    yield from window.wait_for(lambda: bool(session.waits_for), 100, "the result waits")
    for letter in "HAT":
        for value in ("PRESS", "RELEASE"):
            x, y = map(int, row)
            typed = {"unicode": letter} if value == "PRESS" else {}
            bpy.context.window.event_simulate(type=letter, value=value, x=x, y=y, **typed)
            yield 0.1
    window.shot("typing")
    told["waits_for"] = session.waits_for
    yield from window.key("RET", *row)
    yield from window.move(row[0] + 5, row[1])
    yield from window.wait_for(lambda: not session.is_busy, 20, "the result was written")
    yield 0.5
    window.shot("typed")
    told["names"] = [part.name for part in obj().data.partsam.parts]


run(scenario)
