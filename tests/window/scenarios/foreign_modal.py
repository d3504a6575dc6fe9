# SPDX-License-Identifier: GPL-3.0-or-later
"""Segment in Edit mode and hold a grab until it ends: the result waits for the grab."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import bpy
from driver import Steps, WindowDriver, run


def scenario(window: WindowDriver) -> Steps:
    obj = window.import_mesh(os.environ["PARTSAM_WINDOW_MESH"])
    yield 0.5
    yield from window.frame_selected()
    yield from window.open_tab()
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
    window.record["problem"] = str(session.problem)
    window.record["afterwards"] = [obj().mode, len(obj().data.partsam.parts) > 1]
    window.shot("written")
    bpy.ops.object.mode_set(mode="OBJECT")
    yield 1.0
    window.shot("list")


run(scenario)
