# SPDX-License-Identifier: GPL-3.0-or-later
"""The click tool in the industry-compatible keymap, on a subdivided, turned and scaled mesh: maximised, in
quad view, with two windows, from Edit mode, and when its viewport goes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import bpy
from bpy_extras.view3d_utils import location_3d_to_region_2d
from driver import Steps, WindowDriver, run
from mathutils import Vector

HEAD, BODY = (0.47, 0.72), (0.46, 0.42)


def scenario(window: WindowDriver) -> Steps:
    (folder,) = bpy.utils.preset_paths("keyconfig")
    bpy.utils.keyconfig_set(str(Path(folder) / "Industry_Compatible.py"))
    obj = window.import_mesh(os.environ["PARTSAM_WINDOW_MESH"])
    obj().rotation_mode = "XYZ"
    obj().rotation_euler.z, obj().scale = 0.4, (1.0, 1.5, 1.0)
    obj().modifiers.new("Subdivision", "SUBSURF").levels = 1
    yield 0.5
    yield from window.frame_selected()
    yield from layouts(window, obj)
    yield from covering(window, obj)
    yield from edit_mode(window, obj)
    yield from area_goes(window)


def start(window: WindowDriver, *, region: str = "WINDOW") -> Steps:
    session = window.session()
    with bpy.context.temp_override(area=window.area, region=window.region(region)):
        bpy.ops.partsam.click_part("INVOKE_DEFAULT")
    work = session.clicks
    yield from window.wait_for(lambda: work.phase.value != "preparing", 200, "the shape was encoded")
    yield 0.3


def layouts(window: WindowDriver, obj: object) -> Steps:
    record, session = window.record, window.session()
    yield from start(window, region="HEADER")
    work = session.clicks
    record["started_from_a_header"] = work is not None
    turned = window.view_matrix()
    x, y = window.view_point(*BODY)
    yield from window.move(x, y)
    for kind, value, way in (
        ("LEFTMOUSE", "PRESS", 0),
        ("MOUSEMOVE", "NOTHING", 40),
        ("LEFTMOUSE", "RELEASE", 80),
    ):
        bpy.context.window.event_simulate(type=kind, value=value, x=int(x) + way, y=int(y), alt=True)
        yield 0.3
    record["orbited"] = [window.view_matrix() != turned, len(work.part.clicks)]
    record["clicks"] = clicks = {}

    toggle(window, bpy.ops.screen.screen_full_area)
    yield 1.0
    yield from window.click(*window.view_point(*HEAD))
    clicks["maximised"] = len(work.part.clicks)
    toggle(window, bpy.ops.screen.screen_full_area)
    yield 1.0
    yield from window.click(*window.view_point(*BODY), ctrl=True)
    clicks["restored"] = len(work.part.clicks)
    window.shot("subdivided")
    toggle(window, bpy.ops.screen.region_quadview)
    yield 1.0
    with bpy.context.temp_override(area=window.area, region=window.region()):
        bpy.ops.view3d.view_selected()
    yield 1.0
    region = window.region()
    yield from window.click(region.x + region.width * 0.5, region.y + region.height * 0.5)
    clicks["quad view"] = len(work.part.clicks)
    window.shot("quad_view")
    toggle(window, bpy.ops.screen.region_quadview)
    yield 1.0
    first = bpy.context.window_manager.windows[0]
    bpy.ops.wm.window_new()
    yield 1.0
    other = next(each for each in bpy.context.window_manager.windows if each != first)
    area = next(area for area in other.screen.areas if area.type == "VIEW_3D")
    region = next(region for region in area.regions if region.type == "WINDOW")
    x, y = region.x + region.width // 2, region.y + region.height // 2
    with bpy.context.temp_override(window=other, area=area, region=region):
        bpy.ops.view3d.view_selected()
    yield 1.0
    for kind, value in (("MOUSEMOVE", "NOTHING"),) * 3 + (("LEFTMOUSE", "PRESS"), ("LEFTMOUSE", "RELEASE")):
        other.event_simulate(type=kind, value=value, x=x, y=y)
        yield 0.5
    clicks["the other window"] = len(work.part.clicks)
    window.shot("two_windows")
    with bpy.context.temp_override(window=other):
        bpy.ops.wm.window_close()
    yield 1.0
    x, y = window.view_point(*HEAD)
    yield from window.click(x + 25, y)
    clicks["the first window"] = len(work.part.clicks)
    yield from window.key("RET", x, y)
    yield from window.wait_for(lambda: len(work.accepted) == 1, 100, "the part was accepted")
    record["problem"] = str(session.problem)
    record["parts"] = len(obj().data.partsam.parts)
    yield from window.key("ESC", x, y)
    yield from window.wait_for(lambda: session.clicks is None, 20, "Esc ended the tool")


def toggle(window: WindowDriver, operator: object) -> None:
    with bpy.context.temp_override(area=window.area, region=window.region()):
        operator()


def covering(window: WindowDriver, obj: object) -> Steps:
    """A wall in front of the mesh takes the clicks, and is not selected by them; with X-ray it does not.

    The mesh is deformed by a shape key and a pose; the click lies where it is seen.
    """
    session, moved = window.session(), deform(obj())
    yield from window.frame_selected()
    eye = window.area.spaces.active.region_3d.view_matrix.inverted()
    middle = (eye.translation + obj().matrix_world @ Vector(obj().bound_box[0])) / 2
    bpy.ops.mesh.primitive_plane_add(size=50, rotation=eye.to_euler(), location=middle)
    wall = bpy.context.object
    wall.select_set(False)
    obj().select_set(True)
    bpy.context.view_layer.objects.active = obj()
    yield 0.5
    yield from start(window)
    yield from window.click(*window.view_point(*BODY))
    work = session.clicks
    window.record["covered"] = len(work.part.clicks) + int(bpy.data.objects[wall.name].select_get())
    window.record["covered_hint"] = work.hint
    window.shot("covered")
    yield from window.key("Z", *window.view_point(*BODY), alt=True)
    yield from window.click(*window.view_point(*BODY))
    yield from window.wait_for(lambda: not work.is_thinking, 60, "the click through the wall was answered")
    yield 0.5
    window.shot("through_the_wall")
    seen = obj().matrix_world @ (Vector(work.part.clicks[0].place) + Vector((0, 0, moved)))
    region, space = window.region(), window.area.spaces.active
    pixels = location_3d_to_region_2d(region, space.region_3d, seen)
    asked = Vector(window.view_point(*BODY)) - Vector((region.x, region.y))
    above = location_3d_to_region_2d(region, space.region_3d, seen + Vector((0, 0, moved)))
    window.record["deformed"] = [(pixels - asked).length, (above - asked).length]
    yield from window.key("Z", *window.view_point(*BODY), alt=True)
    yield from window.key("ESC", *window.view_point(*BODY))
    yield from window.wait_for(lambda: session.clicks is None, 20, "Esc ended the tool")
    bpy.data.objects.remove(bpy.data.objects[wall.name])


def deform(obj: object) -> float:
    """Move all of the mesh upwards by a shape key and by a bone; how far, in its own space."""
    height = 0.2 * (max(corner[2] for corner in obj.bound_box) - min(corner[2] for corner in obj.bound_box))
    obj.shape_key_add(name="Basis")
    key = obj.shape_key_add(name="Higher")
    for point in key.data:
        point.co.z += height
    key.value = 1.0
    rig = bpy.data.objects.new("Rig", bpy.data.armatures.new("Rig"))
    bpy.context.scene.collection.objects.link(rig)
    rig.matrix_world = obj.matrix_world
    bpy.context.view_layer.objects.active = rig
    bpy.ops.object.mode_set(mode="EDIT")
    bone = rig.data.edit_bones.new("Bone")
    bone.head, bone.tail = (0, 0, 0), (0, 0, 1)
    bpy.ops.object.mode_set(mode="OBJECT")
    rig.pose.bones["Bone"].location.y = height  # along the bone
    obj.vertex_groups.new(name="Bone").add(range(len(obj.data.vertices)), 1.0, "REPLACE")
    obj.modifiers.new("Armature", "ARMATURE").object = rig
    bpy.context.view_layer.objects.active = obj
    return 2 * height


def edit_mode(window: WindowDriver, obj: object) -> Steps:
    session = window.session()
    bpy.ops.object.mode_set(mode="EDIT")
    yield 0.5
    yield from start(window)
    modes = [obj().mode]
    yield from window.click(*window.view_point(*BODY))
    clicked = len(session.clicks.part.clicks) == 1
    window.shot("edit_mode")
    yield from window.key("ESC", *window.view_point(*BODY))
    yield from window.wait_for(lambda: session.clicks is None, 20, "Esc ended the tool")
    window.record["edit_mode"] = [*modes, obj().mode, clicked]
    bpy.ops.object.mode_set(mode="OBJECT")


def area_goes(window: WindowDriver) -> Steps:
    session = window.session()
    yield from start(window)
    window.area.type = "TEXT_EDITOR"
    yield from window.wait_for(lambda: session.clicks is None, 20, "the tool ended with its viewport")
    window.record["ended_with_its_area"] = not session.is_busy


run(scenario)
