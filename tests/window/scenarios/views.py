# SPDX-License-Identifier: GPL-3.0-or-later
"""Overlay, outline, exploded view and isolation as they look in each mode, and
work that is done beside Blender; needs no backend."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import bpy
import numpy as np
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
    obj().data.partsam.active_index = 0  # as a click in the list does
    yield 0.5
    window.shot("isolated_other_row")
    faces = obj().data.polygons
    record["hidden"] = [sum(face.hide for face in faces), len(faces) - obj().data.partsam.parts[0].face_count]
    bpy.ops.partsam.part_isolate(part=1)
    for mode in ("EDIT", "SCULPT", "VERTEX_PAINT"):
        bpy.ops.object.mode_set(mode=mode)
        yield 0.7
        window.shot(mode.lower())
        bpy.ops.object.mode_set(mode="OBJECT")
    yield from closed_piece(window, obj())
    yield from beside_blender(window)


def closed_piece(window: WindowDriver, knight: bpy.types.Object) -> Steps:
    """A part without a border, in a mode that shows what is painted."""
    knight.hide_set(True)
    bpy.ops.mesh.primitive_uv_sphere_add(radius=0.5, location=(0, 0, 0.5))
    sphere = bpy.context.object
    window.addon("parts").write_labels(sphere.data, np.zeros(len(sphere.data.polygons), dtype=np.int32))
    bpy.ops.object.mode_set(mode="VERTEX_PAINT")
    for shown in (True, False):
        bpy.context.window_manager.partsam.show_overlay = shown
        yield 0.5
        window.shot("closed_piece" if shown else "closed_piece_bare")
    bpy.context.window_manager.partsam.show_overlay = True
    bpy.ops.object.mode_set(mode="OBJECT")
    bpy.data.objects.remove(sphere)
    knight.hide_set(False)


def beside_blender(window: WindowDriver) -> Steps:
    """A cube in a sphere large enough for work in the background: options, the work, one undo step."""
    record = window.record
    bpy.ops.mesh.primitive_uv_sphere_add(segments=256, ring_count=128)
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.primitive_cube_add(size=0.5)
    bpy.ops.object.mode_set(mode="OBJECT")
    bpy.ops.ed.undo_push(message="Sphere")
    faces = len(bpy.context.object.data.polygons)
    yield from run_with_options(window, bpy.ops.partsam.remove_interior, "interior")
    record["interior"].append(faces - len(bpy.context.object.data.polygons))
    bpy.ops.ed.undo()
    record["brought_back"] = len(bpy.context.object.data.polygons) == faces
    window.label_by_height(bpy.context.object)
    bpy.ops.ed.undo_push(message="Parts")
    yield from run_with_options(window, bpy.ops.partsam.apply_unwrap, "unwrap")
    record["unwrap"].append(bpy.context.object.data.uv_layers.keys())
    yield from run_with_options(window, bpy.ops.partsam.apply_id_map, "id_map")
    record["id_map"].append([i.name for i in bpy.data.images if "Parts" in i.name])
    bpy.ops.ed.undo()
    bpy.ops.ed.undo()
    record["maps_left"] = bpy.context.object.data.uv_layers.keys()
    yield 0.3


def run_with_options(window: WindowDriver, operator: Callable[[str], object], name: str) -> Steps:
    """Press a button whose options come first, press Enter, and wait; what was said goes into the record."""
    session = window.session()
    middle = (window.area.x + window.area.width / 2, window.area.y + window.area.height / 2)
    yield from window.move(*middle)
    session.notices = ()
    operator("INVOKE_DEFAULT")
    yield 0.7
    window.shot(name)
    yield from window.key("RET", *middle)
    yield from window.wait_for(lambda: session.notices and not session.is_busy, 100, f"{name} ended")
    window.record[name] = list(session.notices)


run(scenario)
