# SPDX-License-Identifier: GPL-3.0-or-later
"""Overlay, outline, exploded view and isolation as they look in each mode, and
work that is done beside Blender; needs no backend."""

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
    window.label_by_height(obj())
    obj().data.partsam.active_index = 2
    bpy.context.window_manager.partsam.overlay_opacity = 1.0  # strong colors, which the test counts
    yield from window.frame_selected()
    yield from window.open_tab()
    window.shot("overlay")
    record = window.record

    obj().partsam_explode = 0.8
    yield 0.5
    window.shot("exploded")
    record["modifiers"] = len(obj().modifiers)
    bpy.context.window_manager.partsam.show_overlay = False
    yield 0.5
    window.shot("exploded_clay")
    bpy.context.window_manager.partsam.show_overlay = True
    obj().partsam_explode = 0.0
    bpy.ops.partsam.part_isolate(part=3)
    yield 0.5
    window.shot("isolated")
    bpy.ops.object.mode_set(mode="EDIT")
    yield 0.5
    window.shot("isolated_edit")
    bpy.ops.object.mode_set(mode="OBJECT")
    bpy.ops.partsam.part_isolate(part=3)
    for mode in ("EDIT", "SCULPT"):
        bpy.ops.object.mode_set(mode=mode)
        yield 0.7
        window.shot(mode.lower())
        bpy.ops.object.mode_set(mode="OBJECT")
    yield from interior_faces(window)


def interior_faces(window: WindowDriver) -> Steps:
    """A cube in a sphere that is large enough to be looked at in the background."""
    record, session = window.record, window.session()
    bpy.ops.mesh.primitive_uv_sphere_add(segments=256, ring_count=128)
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.primitive_cube_add(size=0.5)
    bpy.ops.object.mode_set(mode="OBJECT")
    bpy.ops.ed.undo_push(message="Sphere")
    before = len(bpy.context.object.data.polygons)
    middle = (window.area.x + window.area.width / 2, window.area.y + window.area.height / 2)
    yield from window.move(*middle)
    bpy.ops.partsam.remove_interior("INVOKE_DEFAULT")
    yield 0.7
    window.shot("interior")
    yield from window.key("RET", *middle)
    yield from window.wait_for(lambda: session.notices and not session.is_busy, 100, "the rays were cast")
    record["interior"] = [before - len(bpy.context.object.data.polygons), *session.notices]
    bpy.ops.ed.undo()
    record["brought_back"] = len(bpy.context.object.data.polygons) == before
    yield 0.3


run(scenario)
