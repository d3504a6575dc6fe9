# SPDX-License-Identifier: GPL-3.0-or-later
"""Press Segment in the sidebar, go on working meanwhile, move the slider, undo; then kill the backend."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import bpy
from driver import Steps, WindowDriver, run

PROMPTS = 96

GRANULARITY_IN_REDO = 207, -78
"""From the mouse, where Adjust Last Operation opens, to its Granularity."""

PROMPTS_IN_REDO = 207, -167
"""The same to its Prompts."""

SEGMENT_BELOW_TOP = 50
"""Pixels from the sidebar's top edge to the middle of the Segment button."""


def scenario(window: WindowDriver) -> Steps:
    obj = window.import_mesh(os.environ["PARTSAM_WINDOW_MESH"])
    yield 0.5
    yield from window.frame_selected()
    yield from window.open_tab()
    window.shot("ready")
    session = window.session()
    bpy.context.scene.partsam.prompts = PROMPTS

    yield from window.click(*window.sidebar_point(SEGMENT_BELOW_TOP))
    yield from window.wait_for(lambda: session.is_busy, 10, "Segment was pressed")
    window.record["shown_at_once"] = session.run.title
    yield from window.wait_for(lambda: session.progress.fraction >= 0.1, 200, "the shape is being encoded")
    window.shot("running")
    yield from count_redraws(window)
    turned = window.view_matrix()
    yield from window.key("NUMPAD_6", *window.view_point(0.3, 0.3))
    yield from window.wait_for(lambda: window.view_matrix() != turned, 10, "the view was turned meanwhile")
    window.record["still_running_when_turned"] = session.is_busy
    yield from window.key("NUMPAD_4", *window.view_point(0.3, 0.3))
    yield from window.wait_for(lambda: not session.is_busy, 300, "the segmentation ended")
    yield 1.0
    window.shot("parts")
    window.record["problem"] = str(session.problem)
    window.record["parts"] = len(obj().data.partsam.parts)

    yield from redo_panel(window, obj)
    sliders = bpy.context.window_manager.partsam
    sliders.granularity = 0.9
    yield from window.wait_for(lambda: not session.live.is_waiting, 60, "the slider was followed")
    yield 0.5
    window.shot("finer")
    window.record["problem_after_slider"] = str(session.problem)
    window.record["finer_parts"] = len(obj().data.partsam.parts)

    for _ in range(3):  # the slider, Segment from the redo panel, and Segment
        yield from window.key("Z", *window.view_point(0.3, 0.3), ctrl=True)
        yield 0.5
    window.record["parts_after_undo"] = len(obj().data.partsam.parts)
    window.shot("undone")

    sliders.granularity = 0.5
    yield from window.wait_for(lambda: not session.live.is_waiting, 60, "the slider was followed back")
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.partsam.segment("INVOKE_DEFAULT", prompts=PROMPTS)  # undo took the scene's setting back
    yield from window.wait_for(lambda: not session.is_busy, 300, "the segmentation in Edit mode ended")
    window.record["in_edit_mode"] = [obj().mode, len(obj().data.partsam.parts)]
    bpy.ops.object.mode_set(mode="OBJECT")

    bpy.ops.partsam.segment("INVOKE_DEFAULT", seed=1)
    yield 0.3
    os.kill(session.backend.pid, signal.SIGKILL)
    yield from window.wait_for(lambda: not session.is_busy, 20, "the end was noticed")
    yield 0.5
    window.record["problem_after_kill"] = session.problem.message
    window.shot("killed")


def count_redraws(window: WindowDriver) -> Steps:
    """Which regions of the viewport are drawn while nothing but the progress changes."""
    session, drawn = window.session(), {"WINDOW": 0, "UI": 0}

    def count(kind: str) -> None:
        drawn[kind] += session.is_busy

    space = bpy.types.SpaceView3D
    handles = [(space.draw_handler_add(count, (kind,), kind, "POST_PIXEL"), kind) for kind in drawn]
    yield from window.wait_for(lambda: drawn["UI"] > 2 or not session.is_busy, 60, "progress was drawn")
    for handle, kind in handles:
        space.draw_handler_remove(handle, kind)
    window.record["drawn"] = drawn


def redo_panel(window: WindowDriver, obj: object) -> Steps:
    """Adjust Last Operation has Segment, and cuts what was found."""
    window.record["last_operator"] = bpy.context.window_manager.operators[-1].bl_idname
    x, y = window.view_point(0.2, 0.6)
    yield from window.key("F9", x, y)
    yield 0.7
    window.shot("redo")
    slider = x + GRANULARITY_IN_REDO[0], y + GRANULARITY_IN_REDO[1]
    window.record["redone"] = []
    for across in (70, -80):
        yield from window.drag(slider, (slider[0] + across, slider[1]))
        yield 1.0
        window.record["redone"].append(len(obj().data.partsam.parts))
    window.shot("redone")
    yield from window.key("ESC", *window.view_point(0.2, 0.3))
    yield 0.5
    yield from network_settings_in_the_redo_panel(window, obj)


def network_settings_in_the_redo_panel(window: WindowDriver, obj: object) -> Steps:
    """Other Prompts run the network in the background, and Esc ends that. The panel may stay open."""
    session = window.session()
    window.record["other_prompts"] = told = {"parts": [len(obj().data.partsam.parts)]}
    for end, farther in (("cancelled", 200), ("found", 40)):  # many Prompts: it must not end before Esc
        x, y = window.view_point(0.2, 0.6)
        yield from window.key("F9", x, y)
        yield 0.7
        field = x + PROMPTS_IN_REDO[0], y + PROMPTS_IN_REDO[1]
        yield from window.drag(field, (field[0] + farther, field[1]))
        window.shot(f"redo_{end}")
        yield from window.wait_for(lambda: session.is_busy, 10, "other Prompts started the network")
        told["parts"].append(len(obj().data.partsam.parts))
        if end == "cancelled":
            yield from window.key("ESC", *window.view_point(0.2, 0.3))  # the redo panel
            yield from window.key("ESC", *window.view_point(0.2, 0.3))
        yield from window.wait_for(lambda: not session.is_busy, 200, "it ended")
        told[end] = [str(session.problem), *session.notices]
        yield 0.5
    slider = x + GRANULARITY_IN_REDO[0], y + GRANULARITY_IN_REDO[1]
    told["cut_again"] = []
    for across in (70, -80):
        yield from window.drag(slider, (slider[0] + across, slider[1]))
        yield 1.0
        told["cut_again"].append(len(obj().data.partsam.parts))
    yield from window.key("ESC", *window.view_point(0.2, 0.3))
    yield 0.5
    told["prompts"] = bpy.context.window_manager.operators[-1].properties.prompts
    told["parts"].append(len(obj().data.partsam.parts))


run(scenario)
