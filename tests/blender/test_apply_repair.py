# SPDX-License-Identifier: GPL-3.0-or-later
"""Interior faces: exact on built meshes."""

from __future__ import annotations

import bpy
import numpy as np
import pytest
from meshes import activate, add_object, cube, grid
from test_parts import ids


@pytest.fixture
def parts(addon):
    return addon("parts")


def boxes(*sizes, offsets=None):
    """Cubes of these sizes in one mesh; six faces each, in order."""
    points, polygons = [], []
    for number, size in enumerate(sizes):
        solid = cube(size=size)
        shift = (0, 0, 0) if offsets is None else offsets[number]
        base = len(points)
        points += [tuple(np.add(vertex.co, shift)) for vertex in solid.data.vertices]
        polygons += [[base + index for index in polygon.vertices] for polygon in solid.data.polygons]
        bpy.data.objects.remove(solid)
    return add_object("boxes", points, polygons)


def test_inner_shells_go_and_all_layers_stay(parts):
    obj = boxes(1.0, 2.0, 0.5)
    uv = obj.data.uv_layers.new(name="UVMap")
    uv.uv.foreach_set("vector", np.random.default_rng(0).random(144).astype(np.float32))
    obj.shape_key_add(name="Basis")
    obj.shape_key_add(name="Key").data[8].co.x += 1
    group = obj.vertex_groups.new(name="group")
    group.add([9], 0.25, "REPLACE")
    parts.write_labels(obj.data, np.repeat([0, 1, 2], 6))
    parts.get_part(obj.data, 2).name = "Outside"
    expected_uv = [tuple(entry.vector) for entry in uv.uv][24:48]
    expected = [tuple(vertex.co) for vertex in obj.data.vertices][8:16]
    moved = obj.data.shape_keys.key_blocks["Key"].data[8].co.copy()
    assert bpy.ops.partsam.remove_interior() == {"FINISHED"}
    assert [tuple(vertex.co) for vertex in obj.data.vertices] == expected
    assert [tuple(entry.vector) for entry in obj.data.uv_layers["UVMap"].uv] == expected_uv
    assert [part.name for part in obj.data.partsam.parts] == ["Outside"]
    assert (ids(obj, parts) == 2).all()
    assert obj.data.shape_keys.key_blocks["Key"].data[0].co == moved
    assert obj.data.vertices[1].groups[0].weight == 0.25


def test_only_wholly_hidden_faces_of_crossing_solids_go(parts):
    # The small box sticks out of the large one by half: only its inner end is hidden.
    obj = boxes(2.0, 0.8, offsets=[(0, 0, 0), (1.0, 0, 0)])
    centers = [polygon.center.copy() for polygon in obj.data.polygons]
    bpy.ops.partsam.remove_interior(action="SELECT", rays=64)
    chosen = [polygon.index for polygon in obj.data.polygons if polygon.select]
    assert [tuple(round(c, 3) for c in centers[index]) for index in chosen] == [(0.6, 0, 0)]
    assert len(obj.data.polygons) == 12


def test_both_sides_of_an_open_sheet_and_ngons_are_visible():
    obj = grid(4)
    assert bpy.ops.partsam.remove_interior() == {"FINISHED"}  # the redo panel stays, with Openness in it
    assert len(obj.data.polygons) == 16
    bpy.ops.mesh.primitive_circle_add(vertices=12, fill_type="NGON")
    bpy.ops.partsam.remove_interior()
    assert len(bpy.context.object.data.polygons) == 1


def test_a_hole_keeps_the_inside_unless_openness_says_otherwise():
    obj = boxes(2.0, 0.5)
    solid = obj.data
    # Open a slit: replace the top face of the outer box by a frame around a small window.
    top = next(p for p in solid.polygons if p.center.z > 0.99)
    window = [(-0.1, -0.1, 1.0), (0.1, -0.1, 1.0), (0.1, 0.1, 1.0), (-0.1, 0.1, 1.0)]
    corners = sorted((solid.vertices[v].co[:] for v in top.vertices), key=lambda c: np.arctan2(c[1], c[0]))
    points = [tuple(v.co) for v in solid.vertices] + window
    first = len(points) - 4
    ring = [next(v.index for v in solid.vertices if v.co[:] == corner) for corner in corners]
    polygons = [list(p.vertices) for p in solid.polygons if p.index != top.index]
    polygons += [[ring[k], ring[(k + 1) % 4], first + (k + 1) % 4, first + k] for k in range(4)]
    framed = add_object("framed", points, polygons)
    bpy.ops.partsam.remove_interior(action="SELECT", rays=256)
    strict = sum(polygon.select for polygon in framed.data.polygons)
    bpy.ops.partsam.remove_interior(action="SELECT", rays=256, openness=0.05)
    assert strict < 6 and sum(polygon.select for polygon in framed.data.polygons) == 6


def test_from_edit_mode_with_undo_and_without_faces():
    obj = boxes(2.0, 1.0)
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.ed.undo_push(message="edit")
    bpy.ops.partsam.remove_interior("EXEC_DEFAULT", True)
    assert obj.mode == "EDIT"
    bpy.ops.ed.undo()
    obj = bpy.data.objects["boxes"]
    if obj.mode == "EDIT":
        bpy.ops.object.mode_set(mode="OBJECT")
    assert len(obj.data.polygons) == 12
    add_object("points", [(0, 0, 0), (1, 0, 0)], [])
    with pytest.raises(RuntimeError, match="needs faces"):
        bpy.ops.partsam.remove_interior()


def test_a_generated_shell_keeps_its_crevices(repository):
    bpy.ops.import_scene.gltf(filepath=str(repository / "tests" / "data" / "knight_fused.glb"))
    obj = next(o for o in bpy.context.scene.objects if o.type == "MESH")
    activate(obj)
    count = len(obj.data.polygons)
    inside = cube(size=0.1, name="inside")
    inside.location = (0, 0, 1.6)
    bpy.context.view_layer.update()
    inside.select_set(True)
    activate(obj)
    inside.select_set(True)
    bpy.ops.object.join()
    assert len(obj.data.polygons) == count + 6
    bpy.ops.partsam.remove_interior()
    assert len(obj.data.polygons) == count


def test_directions_cover_the_sphere(addon):
    directions = addon("repair.interior").sphere_directions(64)
    assert np.linalg.norm(directions, axis=1) == pytest.approx(np.ones(64))
    assert np.abs(directions.mean(axis=0)).max() < 0.02
    nearest = np.sort(directions @ directions.T, axis=1)[:, -2]
    assert nearest.max() < np.cos(0.2)
