# SPDX-License-Identifier: GPL-3.0-or-later
"""A segmented mesh exploded and taken apart; the pictures are the README's."""

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
    bpy.ops.partsam.segment("INVOKE_DEFAULT")
    yield 3.0
    window.shot("running")
    yield from window.wait_for(lambda: not session.is_busy, 300, "the segmentation ended")
    yield 1.0
    window.shot("parts")
    record = window.record
    record["parts"] = len(obj().data.partsam.parts)

    obj().partsam_explode = 0.35
    yield 0.5
    window.shot("exploded")
    obj().partsam_explode = 0.0
    record["modifiers_left"] = len(obj().modifiers)

    polygons = len(obj().data.polygons)
    bpy.ops.partsam.apply_separate("EXEC_DEFAULT", True)
    yield 0.5
    pieces = [other for other in bpy.context.scene.objects if other.type == "MESH" and other.visible_get()]
    record["objects"] = len(pieces)
    record["no_face_lost"] = sum(len(piece.data.polygons) for piece in pieces) == polygons
    window.shot("separated")


run(scenario)
