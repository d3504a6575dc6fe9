# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies in the list, parts that go to another mesh in the background, and a point cloud."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import bpy
import numpy as np
from driver import Steps, WindowDriver, run
from mathutils import Matrix, Vector

WEDGE = [(x, y, z) for z in (0.0, 2.0) for x, y in ((0, 0), (0.6, 0), (0.6, 0.3), (0, 0.4))]
BOARD = [(x, y, z) for z in (2.0, 2.4) for x, y in ((-2, -1.5), (2, -1.5), (2, 1.5), (-2, 1.5))]
FACES = [[0, 3, 2, 1], [4, 5, 6, 7], [0, 1, 5, 4], [1, 2, 6, 5], [2, 3, 7, 6], [3, 0, 4, 7]]
LEGS = [Matrix.Translation(place) for place in ((1, 1, 0), (-1.6, 1, 0), (-1.6, -1.3, 0), (1, -1.3, 0))]


def table(window: WindowDriver) -> bpy.types.Object:
    """A board on four legs, with parts; the only object of the scene, active and selected."""
    for obj in list(bpy.data.objects):
        bpy.data.objects.remove(obj)
    points, polygons = list(BOARD), [list(face) for face in FACES]
    for motion in LEGS:
        polygons += [[len(points) + corner for corner in face] for face in FACES]
        points += [tuple(motion @ Vector(point)) for point in WEDGE]
    mesh = bpy.data.meshes.new("Table")
    mesh.from_pydata(points, [], polygons)
    obj = shown("Table", mesh)
    window.addon("parts").write_labels(mesh, np.repeat(np.arange(5), 6).astype(np.int32))
    return obj


def shown(name: str, mesh: bpy.types.Mesh) -> bpy.types.Object:
    """A new object, active and the only selected one."""
    obj = bpy.data.objects.new(name, mesh)
    bpy.context.scene.collection.objects.link(obj)
    bpy.context.view_layer.update()
    for other in bpy.context.view_layer.objects:
        other.select_set(other == obj)
    bpy.context.view_layer.objects.active = obj
    return obj


def scenario(window: WindowDriver) -> Steps:
    session, record = window.session(), window.record
    obj = table(window)
    yield from window.frame_selected()
    yield from window.open_tab()
    bpy.ops.partsam.find_repeats("INVOKE_DEFAULT")
    record["busy"] = session.is_busy
    yield from window.wait_for(lambda: not session.is_busy, 120, "copies were found")
    bpy.ops.partsam.part_rename(part=2, name="Leg", copies=True)
    record["repeats"] = [part.repeat for part in obj.data.partsam.parts]
    yield 0.5
    window.shot("copies")

    finer = shown("Finer", obj.data.copy())
    bpy.ops.partsam.parts_clear()
    modifier = finer.modifiers.new("Fine", "SUBSURF")
    modifier.subdivision_type, modifier.levels = "SIMPLE", 5
    bpy.ops.object.modifier_apply(modifier="Fine")
    obj.select_set(True)
    bpy.context.view_layer.objects.active = obj
    bpy.ops.ed.undo_push(message="finer")
    bpy.ops.partsam.transfer_parts("INVOKE_DEFAULT")
    yield 0.3
    window.shot("transferring")
    yield from window.wait_for(lambda: not session.is_busy, 120, "the parts were transferred")
    obj.hide_set(True)
    bpy.context.view_layer.objects.active = finer
    yield 0.5
    record["transferred"] = [part.name for part in finer.data.partsam.parts]
    window.shot("transferred")
    bpy.ops.ed.undo()
    record["after_undo"] = len(bpy.data.objects["Finer"].data.partsam.parts)

    mesh = window.import_mesh(os.environ["PARTSAM_WINDOW_MESH"])()
    surface = window.addon("mesh_exchange").read_surface(mesh)[0]
    drawn = surface.vertices[surface.triangles].mean(axis=1)
    bpy.data.objects.remove(mesh)
    cloud = bpy.data.meshes.new("Scan")
    cloud.from_pydata(drawn.tolist(), [], [])
    shown("Scan", cloud)
    yield from window.frame_selected()
    window.shot("cloud_bare")
    bpy.ops.partsam.segment("INVOKE_DEFAULT", prompts=64)
    yield from window.wait_for(lambda: not session.is_busy, 240, "the cloud was segmented")
    yield 0.5
    record["cloud_parts"] = len(cloud.partsam.parts)
    record["problem"] = str(session.problem)
    window.shot("cloud")
    bpy.ops.partsam.part_isolate()
    yield 0.5
    window.shot("cloud_isolated")
    bpy.ops.partsam.part_isolate()
    bpy.ops.object.mode_set(mode="EDIT")
    yield 0.5
    window.shot("cloud_edit")


run(scenario)
