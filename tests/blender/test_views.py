# SPDX-License-Identifier: GPL-3.0-or-later
"""Exploded view and isolation: drawn only, and back without a trace. The drawing itself needs a window."""

from __future__ import annotations

import bpy
import numpy as np
import pytest
from mathutils import Euler, Matrix
from meshes import activate, add_object, cube, grid


@pytest.fixture(scope="session")
def parts(addon):
    return addon("parts")


@pytest.fixture(scope="session")
def view(addon):
    return addon("view")


@pytest.fixture
def striped(parts):
    """A grid of 6 x 6 with parts 1, 2, 3 of two columns each."""
    obj = grid(6)
    parts.write_labels(obj.data, np.tile(np.arange(6) // 2, 6))
    return obj


def evaluated(obj):
    return obj.evaluated_get(bpy.context.evaluated_depsgraph_get()).data


def positions(mesh):
    values = np.empty((len(mesh.vertices), 3), dtype=np.float32)
    mesh.vertices.foreach_get("co", values.ravel())
    return values


def hidden(obj):
    return np.array([polygon.hide for polygon in obj.data.polygons])


def test_views_change_neither_data_nor_results(striped, view, tmp_path):
    before = positions(striped.data)
    bpy.ops.partsam.explode(factor=1.0)
    bpy.ops.partsam.part_isolate(part=2)
    assert striped.display_type == "BOUNDS"  # the overlay draws the parts
    assert not striped.modifiers and not len(bpy.data.node_groups)
    assert (positions(evaluated(striped)) == before).all() and len(evaluated(striped).polygons) == 36
    bpy.ops.export_scene.gltf(filepath=str(tmp_path / "whole.glb"), export_apply=True)
    bpy.ops.partsam.part_isolate(part=2)
    striped.partsam_explode = 0.0
    assert striped.display_type == "TEXTURED" and striped.partsam_view.display == ""
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    bpy.ops.import_scene.gltf(filepath=str(tmp_path / "whole.glb"))
    exported = positions(bpy.context.object.data)
    assert len(bpy.context.object.data.polygons) == 72
    assert exported.min(axis=0) == pytest.approx((-1, -1, 0)) and exported.max(axis=0) == pytest.approx(
        (1, 1, 0)
    )


def test_parts_are_drawn_away_from_the_middle(striped, view):
    bpy.ops.partsam.explode(factor=1.5)
    offsets = view.shown_offsets(striped)
    expected = np.tile(np.repeat([-1.0, 0.0, 1.0], 2), 6)  # 1.5 times 2/3 of a unit between centres
    assert offsets[:, 0] == pytest.approx(expected, abs=1e-6) and offsets[:, 1:] == pytest.approx(0, abs=1e-6)
    striped.partsam_explode = 0.0
    assert view.shown_offsets(striped) is None


def test_separated_objects_are_drawn_apart_and_do_not_move(striped, view):
    striped.matrix_world = Matrix.Translation((3, 1, 0)) @ Euler((0.4, 0, 0.2)).to_matrix().to_4x4()
    bpy.ops.partsam.apply_separate()
    made = [bpy.data.objects[f"Part {number}"] for number in (1, 2, 3)]
    before = [part.matrix_world.copy() for part in made]
    made[1].partsam_explode = 3.0
    bpy.context.view_layer.update()
    assert [part.matrix_world for part in made] == before
    assert [part.partsam_explode for part in made] == [3.0, 3.0, 3.0]
    assert made[0].parent.partsam_explode == 3.0
    shifts = [view.shown_offsets(part)[0] for part in made]
    assert shifts == [pytest.approx((k * 2, 0, 0), abs=1e-5) for k in (-1, 0, 1)]
    made[0].parent.partsam_explode = 0.0
    assert [part.display_type for part in made] == ["TEXTURED"] * 3
    assert {view.shown_offsets(part) is None for part in made} == {True}


def test_faces_that_the_user_hid_stay_hidden(striped):
    striped.data.polygons.foreach_set("hide", [index in (0, 2) for index in range(36)])
    before = hidden(striped)
    bpy.ops.partsam.part_isolate(part=2)
    assert (hidden(striped) == (before | (np.tile(np.arange(6) // 2, 6) != 1))).all()
    bpy.ops.partsam.part_isolate(part=3)
    striped.data.polygons[5].hide = True  # by hand, in the part that is shown
    bpy.ops.partsam.part_isolate(part=3)
    assert np.flatnonzero(hidden(striped)).tolist() == [0, 2, 5]
    assert ".partsam_hidden" not in striped.data.attributes


def test_in_edit_mode_blender_draws_the_object(striped, addon):
    state = addon("view.state")
    bpy.ops.partsam.part_isolate(part=1)
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.context.view_layer.update()
    assert striped.display_type == "TEXTURED" and state.isolated_part(striped) == 1
    bpy.ops.object.mode_set(mode="OBJECT")
    bpy.context.view_layer.update()
    assert striped.display_type == "BOUNDS"


def test_a_file_keeps_the_view_and_the_display_of_the_object(striped, tmp_path):
    striped.display_type = "WIRE"
    bpy.ops.partsam.part_isolate(part=1)
    path = str(tmp_path / "viewed.blend")
    bpy.ops.wm.save_as_mainfile(filepath=path, copy=True)
    assert striped.display_type == "BOUNDS"
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    with bpy.data.libraries.load(path, link=True) as (_, wanted):
        wanted.objects = ["grid"]  # a linked object is left as the file has it
    assert bpy.data.objects["grid"].display_type == "WIRE"
    bpy.ops.wm.open_mainfile(filepath=path)
    obj = bpy.data.objects["grid"]
    assert obj.display_type == "BOUNDS" and obj.partsam_view.isolated == 1
    bpy.ops.partsam.part_isolate(part=1)
    assert obj.display_type == "WIRE"


def test_undo_takes_a_view_back(striped):
    bpy.ops.ed.undo_push(message="before")
    bpy.ops.partsam.explode(factor=1.0)
    bpy.ops.ed.undo_push(message="explode")
    bpy.ops.ed.undo()
    obj = bpy.data.objects["grid"]
    assert (obj.partsam_explode, obj.display_type) == (0.0, "TEXTURED")
    bpy.ops.ed.redo()
    obj = bpy.data.objects["grid"]
    assert (obj.partsam_explode, obj.display_type) == (1.0, "BOUNDS")


@pytest.mark.parametrize("mode", ["OBJECT", "EDIT", "SCULPT"])
def test_surface_that_is_drawn_in_each_mode(striped, addon, mode):
    surface = addon("view.surface")
    striped.data.polygons[0].hide = True
    bpy.ops.object.mode_set(mode=mode)
    found = surface.read_surface(bpy.context, striped)
    assert len(found.triangles) == (72 if mode == "OBJECT" else 70)
    assert np.bincount(found.part_ids)[2:].tolist() == [24, 24]
    edges = surface.part_edges(found, 2).border()
    assert len(edges) == 2 * (6 + 2)
    assert np.abs(edges[:, :, 0]).max() == pytest.approx(1 / 3)


def test_edit_meshes_with_faces_of_any_size(parts, addon):
    """A triangle, a quad and a concave hexagon: the triangles cover exactly their areas."""
    points = [(0, 0), (1, 0), (0, 1), (2, 0), (3, 0), (3, 1), (2, 1)]
    points += [(4, 0), (7, 0), (7, 1), (5, 1), (5, 3), (4, 3)]
    obj = add_object(
        "faces", [(x, y, 0) for x, y in points], [[0, 1, 2], [3, 4, 5, 6], [7, 8, 9, 10, 11, 12]]
    )
    parts.write_labels(obj.data, [0, 1, 2])
    bpy.ops.object.mode_set(mode="EDIT")
    found = addon("view.surface").read_surface(bpy.context, obj)
    corners = found.positions[found.triangles][:, :, :2].astype(float)
    sides = corners[:, 1:] - corners[:, :1]
    areas = np.abs(sides[:, 0, 0] * sides[:, 1, 1] - sides[:, 0, 1] * sides[:, 1, 0]) / 2
    assert np.bincount(found.part_ids, weights=areas)[1:] == pytest.approx([0.5, 1.0, 5.0])
    assert np.bincount(found.part_ids)[1:].tolist() == [1, 2, 4]


def test_outline_passes_over_doubled_vertices(addon):
    surface = addon("view.surface")
    corners = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 0, 0], [1, 1, 0], [0, 1, 0]], dtype=np.float32)
    square = surface.Surface(corners, np.arange(6).reshape(2, 3), np.array([1, 1]))
    assert len(surface.part_edges(square, 1).border()) == 4


def test_a_closed_piece_is_outlined_as_it_is_seen(addon):
    surface = addon("view.surface")
    obj = cube(size=2)
    addon("parts").write_labels(obj.data, np.zeros(6, dtype=np.int32))
    found = surface.read_surface(bpy.context, obj)
    assert len(surface.part_edges(found, 1).border()) == 0
    triangles = found.triangles.copy()
    triangles[::3] = triangles[::3, ::-1]  # inside out
    for seen in (found, surface.Surface(found.positions, triangles, found.part_ids)):
        around = surface.part_edges(seen, 1).silhouette()
        edges = around.seen_from(np.array((0, 0, 5, 1)))
        assert len(edges) == 4 and (edges[..., 2] == 1).all()  # in perspective only the top faces the eye
        assert len(around.seen_from(np.array((0.3, 0.4, 1, 0)))) == 6
        assert len(around.seen_from(-np.array((0.3, 0.4, 1, 0)))) == 6


def test_groups_of_appended_files_stay_apart(striped, view, tmp_path):
    bpy.ops.partsam.apply_separate(grouping="NONE")
    path = str(tmp_path / "separated.blend")
    bpy.ops.wm.save_as_mainfile(filepath=path, copy=True)
    for part in view.separated_group(bpy.context.object):
        bpy.data.objects.remove(part)
    activate(striped)  # separated again, in what is another file now
    bpy.ops.partsam.apply_separate(grouping="NONE")
    with bpy.data.libraries.load(path) as (there, wanted):
        wanted.objects = [name for name in there.objects if name.startswith("Part")][:3]
    assert len(wanted.objects) == 3
    assert len(view.separated_group(wanted.objects[0])) == len(view.separated_group(bpy.context.object)) == 3


def test_isolation_follows_the_row(striped, addon, view):
    bpy.ops.partsam.part_isolate(part=1)
    striped.data.partsam.active_index = 1
    assert view.isolated_part(striped) == 2
    bpy.context.view_layer.update()
    alone = view.shown_polygons(striped)
    assert [polygon.hide for polygon in striped.data.polygons] == (~alone).tolist()
    bpy.ops.object.mode_set(mode="EDIT")
    assert view.isolated_part(striped) == 2
    striped.data.partsam.active_index = 2
    assert view.isolated_part(striped) == 2  # to hide faces here would change the selection
    assert striped.data.partsam.parts[1].name in addon("ui.parts_panel").kept_alone(striped, 2)
    bpy.ops.partsam.part_isolate()  # but it can be asked for
    assert view.isolated_part(striped) == 3
    bpy.ops.partsam.part_isolate(part=2)
    bpy.ops.object.mode_set(mode="OBJECT")
    bpy.ops.partsam.part_isolate(part=2)
    assert view.isolated_part(striped) is None and not any(p.hide for p in striped.data.polygons)


def test_isolation_follows_the_labels(striped, parts, view):
    """Merging and cutting change what the part is, or end it."""
    bpy.ops.partsam.part_isolate(part=2)
    parts.merge_parts(striped.data, 1, 2)
    bpy.context.view_layer.update()
    assert (hidden(striped) == (np.tile(np.arange(6) // 2, 6) == 2)).all()
    parts.merge_parts(striped.data, 2, 3)  # nothing is left of it
    bpy.context.view_layer.update()
    assert not hidden(striped).any() and ".partsam_hidden" not in striped.data.attributes
    assert striped.display_type == "TEXTURED" and view.isolated_part(striped) is None


def test_an_object_whose_mesh_is_edited_through_another(striped, addon, capfd):
    bpy.ops.partsam.part_isolate(part=2)
    bpy.ops.partsam.explode(factor=1.0)
    twin = striped.copy()
    bpy.context.scene.collection.objects.link(twin)
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.context.view_layer.update()
    assert twin.mode == "OBJECT" and not addon("view.state").is_drawn_by_overlay(twin)
    assert len(addon("view.surface").read_surface(bpy.context, twin).triangles) == 24
    bpy.ops.object.mode_set(mode="OBJECT")
    bpy.context.view_layer.update()
    assert addon("view.state").is_drawn_by_overlay(twin)
    assert "Traceback" not in "".join(capfd.readouterr())
