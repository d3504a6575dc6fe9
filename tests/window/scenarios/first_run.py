# SPDX-License-Identifier: GPL-3.0-or-later
"""A fresh installation: the tab points to Set Up; an existing Python is chosen and checked."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import bpy
from driver import Steps, WindowDriver, run


def scenario(window: WindowDriver) -> Steps:
    window.import_mesh(os.environ["PARTSAM_WINDOW_MESH"])
    yield 0.5
    yield from window.frame_selected()
    yield from window.open_tab()
    session = window.session()
    window.shot("tab")
    window.record["segment_can_be_pressed"] = bpy.ops.partsam.segment.poll()
    try:
        bpy.ops.partsam.segment("INVOKE_DEFAULT")
    except RuntimeError as error:
        window.record["problem"] = str(error)
    yield 0.3

    package = type(session).__module__.rpartition(".partsam_addon")[0]
    preferences = bpy.context.preferences.addons[package].preferences
    bpy.context.preferences.active_section = "ADDONS"
    window.area.type = "PREFERENCES"
    area = next(area for area in bpy.context.window.screen.areas if area.type == "PREFERENCES")
    bpy.context.window_manager.addon_search = "PartSAM"
    with bpy.context.temp_override(area=area):
        bpy.ops.preferences.addon_expand(module=package)
    yield 1.0
    window.shot("preferences")
    preferences.python_path = os.environ["PARTSAM_WINDOW_PYTHON"]
    bpy.ops.partsam.check()
    yield 0.3
    window.record["progress"] = session.setup.title
    yield from window.wait_for(lambda: session.setup.progress is None, 120, "the check ended")
    yield 0.5
    report = session.setup.report
    window.record["checked"] = {"is_usable": report.is_usable, "device": report.device}
    window.record["lines"] = report.lines()
    window.shot("checked")
    preferences.python_path = ""


run(scenario)
