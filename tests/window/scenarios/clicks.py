# SPDX-License-Identifier: GPL-3.0-or-later
"""The click tool with a simulated mouse: add, exclude, take back, navigate meanwhile, accept, undo, Esc."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import bpy
from driver import Steps, WindowDriver, run

CLICKS_BELOW_TOP = 83
"""Pixels from the sidebar's top edge to the middle of the Part by Clicks button."""


def scenario(window: WindowDriver) -> Steps:
    obj = window.import_mesh(os.environ["PARTSAM_WINDOW_MESH"])
    yield 0.5
    yield from window.frame_selected()
    yield from window.open_tab()
    session = window.session()
    record = window.record
    on_head, on_body = window.view_point(0.47, 0.72), window.view_point(0.46, 0.42)

    yield from window.click(*window.sidebar_point(CLICKS_BELOW_TOP))
    yield from window.wait_for(lambda: session.clicks is not None, 10, "the tool was started")
    work = session.clicks
    yield from window.click(*on_head)
    yield from window.wait_for(lambda: not work.is_thinking, 200, "the first click was answered")
    record["clicks"] = [len(work.clicks)]
    record["preview_faces"] = int(work.preview.polygons.sum())
    yield 0.5
    window.shot("first_click")

    yield from window.click(*on_body, ctrl=True)
    yield from window.wait_for(lambda: not work.is_thinking, 60, "the second click was answered")
    record["clicks"].append(len(work.clicks))
    record["signs"] = [click.positive for click in work.clicks]
    yield 0.5
    window.shot("second_click")

    yield from window.key("BACK_SPACE", *on_body)
    yield from window.wait_for(lambda: not work.is_thinking, 60, "taking back was answered")
    record["clicks"].append(len(work.clicks))

    turned = window.view_matrix()
    yield from window.key("NUMPAD_6", *on_body)
    yield from window.wait_for(lambda: window.view_matrix() != turned, 10, "the view was turned meanwhile")
    yield from window.key("NUMPAD_4", *on_body)
    yield from window.click(*window.sidebar_point(400))
    record["clicks"].append(len(work.clicks))

    yield from window.key("RET", *on_body)
    yield from window.wait_for(lambda: session.clicks is None, 60, "the part was accepted")
    yield 0.5
    record["parts"] = len(obj().data.partsam.parts)
    record["problem"] = str(session.problem)
    window.shot("accepted")

    yield from window.key("Z", *on_body, ctrl=True)
    yield 0.5
    record["parts_after_undo"] = len(obj().data.partsam.parts)

    with bpy.context.temp_override(area=window.area, region=window.region()):
        bpy.ops.partsam.click_part("INVOKE_DEFAULT")
    yield 0.3
    yield from window.click(*on_head)
    yield from window.key("ESC", *on_head)
    yield from window.wait_for(lambda: session.clicks is None, 10, "Esc ended the tool")
    record["busy_after_escape"] = session.is_busy
    record["parts_after_escape"] = len(obj().data.partsam.parts)

    with bpy.context.temp_override(area=window.area, region=window.region()):
        bpy.ops.partsam.click_part("INVOKE_DEFAULT")
    yield 0.3
    bpy.ops.wm.read_homefile()
    yield 1.0
    record["after_loading"] = [session.clicks is None, session.is_busy, session.problem.message]

    with bpy.context.temp_override(area=window.area, region=window.region()):
        bpy.ops.partsam.click_part("INVOKE_DEFAULT")
    yield 0.3
    process = session.backend.pid
    name = type(session).__module__.rpartition(".partsam_addon")[0]
    bpy.ops.preferences.addon_disable(module=name)
    yield from window.click(*window.view_point(0.5, 0.5))
    record["after_disabling"] = [session.clicks is None, session.backend is None, is_running(process)]
    bpy.ops.preferences.addon_enable(module=name)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


run(scenario)
