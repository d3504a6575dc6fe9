# SPDX-License-Identifier: GPL-3.0-or-later
"""Results wait for what is open in any of Blender's windows, and for nothing in one that is closed.

They are parts that the scenario hands out when it likes; what they go through is the session's own way.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import bpy
import numpy as np
from driver import Steps, WindowDriver, run

MOVE_X_IN_REDO = 207, -78
"""From the mouse, where Adjust Last Operation opens, to the first value of Move."""


def scenario(window: WindowDriver) -> Steps:
    obj = window.import_mesh(os.environ["PARTSAM_WINDOW_MESH"])
    yield 0.5
    yield from opened_meanwhile(window, obj)
    yield from closed_meanwhile(window, obj)
    yield from first_one_closed(window, obj)
    window.record["problem"] = str(window.session().problem)


def new_window(window: WindowDriver, *, main: bool = False) -> Steps:
    """Open another window and go there. main: it does not close with the first one"""
    before = {each.as_pointer() for each in bpy.context.window_manager.windows}
    if main:
        bpy.ops.wm.window_new_main()
    else:
        bpy.ops.wm.window_new()
    now = {each.as_pointer() for each in bpy.context.window_manager.windows}
    (window.address,) = now - before
    yield 1.0


def close(window: bpy.types.Window) -> Steps:
    with bpy.context.temp_override(window=window):
        bpy.ops.wm.window_close()
    yield 0.5


def start(window: WindowDriver, obj: object) -> Callable[[], None]:
    """Move the object, which is what the redo panel shows then, and start work on its first faces.

    Whoever calls what is returned has the work end.
    """
    bpy.ops.transform.translate("EXEC_DEFAULT", True, value=(0.0, 0.0, 0.1))
    flow, writing = window.addon("session.flow"), window.addon("session.writing")
    first = np.arange(len(obj().data.polygons)) < 50
    part = writing.NewPart(obj().session_uid, first, 0.5)
    write = window.addon("operators.running").write_in_window
    is_found = threading.Event()

    def found() -> object:
        yield flow.Calculation("parts", is_found.wait)

    session = window.session()
    session.start("Segmenting", found(), done=lambda _: write("Segment", [part]), needs_backend=False)
    return is_found.set


def state(window: WindowDriver, obj: object) -> list:
    """What a result waits for, and the number of parts."""
    return [window.session().waits_for, len(obj().data.partsam.parts)]


def decided(window: WindowDriver) -> Steps:
    """Until the result waits or is written."""
    session = window.session()
    yield from window.wait_for(lambda: bool(session.waits_for) or not session.is_busy, 20, "it was decided")
    yield 0.5


def written(window: WindowDriver) -> Steps:
    session = window.session()
    yield from window.wait_for(lambda: not session.is_busy, 20, "the result was written")
    yield 0.5


def opened_meanwhile(window: WindowDriver, obj: object) -> Steps:
    """The second window is opened after the work was begun; there a value of Move is dragged."""
    told = window.record["opened_meanwhile"] = {}
    find = start(window, obj)
    yield from new_window(window)
    x, y = window.view_point(0.2, 0.75)
    yield from window.key("F9", x, y)
    yield 0.7
    find()
    yield from decided(window)
    told["open"] = state(window, obj)
    window.shot("redo_panel")
    value = x + MOVE_X_IN_REDO[0], y + MOVE_X_IN_REDO[1]
    yield from window.drag(value, (value[0] + 60, value[1]))
    yield 0.5
    told["dragged"] = [*state(window, obj), list(obj().location)]
    yield from window.key("ESC", *value)
    yield from written(window)
    told["parts"] = len(obj().data.partsam.parts)
    told["last"] = [operator.bl_idname for operator in bpy.context.window_manager.operators][-2:]
    told["place"] = list(obj().location)


def closed_meanwhile(window: WindowDriver, obj: object) -> Steps:
    """A name is being typed in the second window, which is closed with that."""
    told = window.record["closed_meanwhile"] = {}
    bpy.ops.partsam.parts_clear("EXEC_DEFAULT", True)
    find = start(window, obj)
    yield 0.5
    yield from window.key("F2", *window.view_point(0.3, 0.5))
    yield 0.7
    find()
    yield from decided(window)
    told["open"] = state(window, obj)
    window.shot("name")
    yield from close(window.window)
    window.address = 0
    yield from written(window)
    told["parts"] = len(obj().data.partsam.parts)


def first_one_closed(window: WindowDriver, obj: object) -> Steps:
    """The window in which the work began is closed, and the redo panel is open in the other one."""
    told = window.record["first_one_closed"] = {}
    bpy.ops.partsam.parts_clear("EXEC_DEFAULT", True)
    first = bpy.context.window
    find = start(window, obj)
    yield from new_window(window, main=True)
    yield from close(first)
    yield from window.key("F9", *window.view_point(0.2, 0.75))
    yield 0.7
    find()
    yield from decided(window)
    told["open"] = state(window, obj)
    window.shot("other_window")
    yield from window.key("ESC", *window.view_point(0.2, 0.75))
    yield from written(window)
    told["parts"] = len(obj().data.partsam.parts)
    told["windows"] = len(bpy.context.window_manager.windows)


run(scenario)
