# SPDX-License-Identifier: GPL-3.0-or-later
"""The operators on parts: exact results, in Object and Edit mode, with undo."""

from __future__ import annotations

import bpy
import numpy as np
import pytest
from meshes import activate, add_object, cube, grid, select_polygons
from test_parts import columns, ids


@pytest.fixture
def parts(addon):
    return addon("parts")


@pytest.fixture
def striped(parts):
    """A 6 x 6 grid of three parts, two columns each: ids 1, 2, 3 from left to right."""
    obj = grid(6)
    parts.write_labels(obj.data, columns(6, [2, 4]))
    bpy.ops.ed.undo_push(message="striped")
    return obj


def selected(obj, kind="poly"):
    data = obj.data.attributes[f".select_{kind}"].data
    flags = np.zeros(len(data), dtype=bool)
    data.foreach_get("value", flags)
    return flags


@pytest.mark.parametrize("mode", ["OBJECT", "EDIT"])
def test_select_exactly_the_faces_of_a_part(striped, parts, mode):
    select_polygons(striped, [0])
    bpy.ops.object.mode_set(mode=mode)
    assert bpy.ops.partsam.part_select(part=2) == {"FINISHED"}
    assert striped.mode == mode
    bpy.ops.object.mode_set(mode="OBJECT")
    chosen = ids(striped, parts) == 2
    assert (selected(striped) == chosen).all()
    assert selected(striped, "vert").sum() == 3 * 7 and selected(striped, "edge").sum() == 2 * 7 + 3 * 6
    bpy.ops.partsam.part_select(part=1, extend=True)
    assert (selected(striped) == (ids(striped, parts) <= 2)).all()


@pytest.mark.parametrize("mode", ["OBJECT", "EDIT"])
def test_isolate_shows_one_part_and_goes_back(striped, addon, parts, mode):
    bpy.ops.object.mode_set(mode=mode)
    bpy.ops.partsam.part_isolate(part=2)
    view = addon("view")
    assert view.isolated_part(striped) == 2
    bpy.ops.object.mode_set(mode="OBJECT")
    assert view.shown_polygons(striped).sum() == 12
    hidden = [polygon.hide for polygon in striped.data.polygons]
    assert hidden == (ids(striped, parts) != 2).tolist()
    bpy.ops.partsam.part_isolate(part=3)
    assert view.shown_polygons(striped).sum() == 12 and not striped.data.polygons[5].hide
    bpy.ops.partsam.part_isolate(part=3)
    assert view.shown_polygons(striped) is None and view.isolated_part(striped) is None
    assert not any(polygon.hide for polygon in striped.data.polygons)


def test_rename_recolor_lock(striped, parts):
    bpy.ops.partsam.part_rename(part=2, name="Belt")
    bpy.ops.partsam.part_recolor(part=2, color=(0.1, 0.2, 0.3))
    bpy.ops.partsam.part_lock(part=2)
    part = parts.get_part(striped.data, 2)
    assert (part.name, part.locked) == ("Belt", True)
    assert tuple(part.color) == pytest.approx((0.1, 0.2, 0.3))
    bpy.ops.partsam.part_lock(part=2, action="LOCK")
    assert part.locked
    bpy.ops.partsam.part_lock(part=2, action="UNLOCK")
    assert not part.locked


def test_merge_into_a_chosen_part_and_into_the_neighbor(striped, parts):
    bpy.ops.partsam.part_merge(part=1, into="3")
    assert [p.part_id for p in striped.data.partsam.parts] == [2, 3]
    assert parts.active_part(striped.data).part_id == 3
    assert (ids(striped, parts) == 3).sum() == 24
    bpy.ops.partsam.part_merge(part=2)
    assert (ids(striped, parts) == 3).all()


def test_neighbor_is_the_one_with_the_longest_border(parts):
    obj = grid(6)
    labels = np.full((6, 6), 1, dtype=np.int32)
    labels[2:4, 2:4] = 0  # a square of 2 x 2 with 8 sides ...
    labels[4:, :] = 2  # ... two of them against part 2
    parts.write_part_ids(obj.data, labels.ravel() + 1)
    assert parts.closest_neighbor(obj.data, 1) == 2
    borders = parts.part_borders(parts.build_polygon_graph(obj.data), ids(obj, parts))
    assert borders == {(1, 2): pytest.approx(2.0), (1, 3): pytest.approx(2 / 3), (2, 3): pytest.approx(4 / 3)}


def test_deleted_part_goes_to_its_neighbors_ring_by_ring(striped, parts):
    bpy.ops.partsam.part_delete(part=2)
    expected = np.repeat([[1, 1, 1, 3, 3, 3]], 6, axis=0).ravel()
    assert (ids(striped, parts) == expected).all()
    assert [p.part_id for p in striped.data.partsam.parts] == [1, 3]
    assert [p.face_count for p in striped.data.partsam.parts] == [18, 18]


def test_locked_parts_neither_give_nor_take(striped, parts, addon):
    parts.get_part(striped.data, 3).locked = True
    bpy.ops.partsam.part_delete(part=2)
    assert (ids(striped, parts) == np.repeat([[1, 1, 1, 1, 3, 3]], 6, axis=0).ravel()).all()
    with pytest.raises(RuntimeError, match="locked"):
        bpy.ops.partsam.part_delete(part=3)
    with pytest.raises(RuntimeError, match="locked"):
        bpy.ops.partsam.part_merge(part=3, into="1")
    with pytest.raises(addon("backend.errors").PromptError, match="locked"):
        parts.merge_parts(striped.data, 1, 3)
    assert (ids(striped, parts) == 3).sum() == 12


def test_deleting_crosses_doubled_vertices_and_gaps(parts):
    # Three squares in a row: the first two touch with doubled vertices, the third stands apart.
    points, polygons = [], []
    for x in (0, 1, 5):
        polygons.append(list(range(len(points), len(points) + 4)))
        points += [(x, 0, 0), (x + 1, 0, 0), (x + 1, 1, 0), (x, 1, 0)]
    obj = add_object("row", points, polygons)
    parts.write_labels(obj.data, np.arange(3))
    parts.delete_part(obj.data, 1)
    assert ids(obj, parts).tolist() == [2, 2, 3]
    parts.delete_part(obj.data, 3)
    assert ids(obj, parts).tolist() == [2, 2, 2]
    parts.delete_part(obj.data, 2)
    assert ids(obj, parts).tolist() == [0, 0, 0] and not parts.has_parts(obj.data)


def test_non_manifold_edge_pairs_each_face_with_the_next(parts):
    points = [(0, 0, 0), (0, 0, 1), (1, 0, 0), (0, 1, 0), (-1, 0, 0)]
    obj = add_object("fan", points, [[0, 1, 2], [0, 1, 3], [0, 1, 4]])
    graph = parts.build_polygon_graph(obj.data)
    assert sorted(map(tuple, graph.pairs.tolist())) == [(0, 1), (1, 2)]
    assert graph.lengths.tolist() == [1, 1]


@pytest.mark.parametrize("mode", ["OBJECT", "EDIT"])
def test_assign_selected_faces_and_make_a_new_part(striped, parts, mode):
    parts.get_part(striped.data, 3).locked = True
    select_polygons(striped, [0, 1, 4])
    bpy.ops.object.mode_set(mode=mode)
    bpy.ops.partsam.part_assign_selected(part=2)
    bpy.ops.object.mode_set(mode="OBJECT")
    assert ids(striped, parts)[:6].tolist() == [2, 2, 2, 2, 3, 3]
    bpy.ops.object.mode_set(mode=mode)
    bpy.ops.partsam.part_new_from_selected(name="Patch")
    bpy.ops.object.mode_set(mode="OBJECT")
    assert ids(striped, parts)[:6].tolist() == [4, 4, 2, 2, 3, 3]
    assert parts.active_part(striped.data).name == "Patch"


def test_first_part_by_hand(parts):
    obj = cube()
    select_polygons(obj, [3])
    bpy.ops.partsam.part_new_from_selected()
    assert ids(obj, parts).tolist() == [0, 0, 0, 1, 0, 0]
    bpy.ops.partsam.parts_clear()
    assert not parts.has_parts(obj.data) and "partsam_part" not in obj.data.attributes


def test_each_edit_is_one_undo_step(striped, parts):
    before = ids(striped, parts)
    bpy.ops.partsam.part_delete("EXEC_DEFAULT", True, part=2)
    assert (ids(striped, parts) != before).any()
    bpy.ops.ed.undo()
    obj = bpy.data.objects["grid"]
    assert (ids(obj, parts) == before).all()
    assert [part.part_id for part in obj.data.partsam.parts] == [1, 2, 3]


def test_undo_from_edit_mode_restores_faces_and_table(striped, parts):
    before = ids(striped, parts)
    parts.get_part(striped.data, 2).name = "Belt"
    bpy.ops.object.mode_set("EXEC_DEFAULT", True, mode="EDIT")
    bpy.ops.partsam.part_delete("EXEC_DEFAULT", True, part=2)
    bpy.ops.ed.undo()
    obj = bpy.data.objects["grid"]
    activate(obj)
    assert obj.mode == "EDIT"
    assert [part.name for part in obj.data.partsam.parts] == ["Part 1", "Belt", "Part 3"]
    assert [part.face_count for part in obj.data.partsam.parts] == [12, 12, 12]
    bpy.ops.object.mode_set(mode="OBJECT")
    assert (ids(obj, parts) == before).all()


def test_poll_messages_and_errors(striped, parts):
    with pytest.raises(RuntimeError, match="no part with the id 9"):
        bpy.ops.partsam.part_delete(part=9)
    cube(name="bare")
    assert not bpy.ops.partsam.part_delete.poll()
    with pytest.raises(RuntimeError, match="press Segment first"):
        bpy.ops.partsam.part_delete()
    lamp = bpy.data.objects.new("lamp", bpy.data.lights.new("lamp", "POINT"))
    bpy.context.scene.collection.objects.link(lamp)
    activate(lamp)
    with pytest.raises(RuntimeError, match="not a mesh"):
        bpy.ops.partsam.part_select()


def test_linked_meshes_are_refused_with_the_way_out(striped, tmp_path):
    library = str(tmp_path / "library.blend")
    bpy.ops.wm.save_as_mainfile(filepath=library)
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    with bpy.data.libraries.load(library, link=True) as (_, wanted):
        wanted.objects = ["grid"]
    obj = bpy.data.objects["grid"]
    bpy.context.scene.collection.objects.link(obj)
    activate(obj)
    for operator in (
        bpy.ops.partsam.part_delete,
        bpy.ops.partsam.apply_vertex_groups,
        bpy.ops.partsam.apply_separate,
        bpy.ops.partsam.apply_armature,
        bpy.ops.partsam.remove_interior,
    ):
        with pytest.raises(RuntimeError, match="Make Local"):
            operator()
    assert len(bpy.data.objects) == 1 and len(obj.data.partsam.parts) == 3


@pytest.mark.parametrize("mode", ["SCULPT", "WEIGHT_PAINT", "VERTEX_PAINT"])
def test_other_modes_are_left_and_entered_again(striped, parts, mode):
    bpy.ops.object.mode_set(mode=mode)
    bpy.ops.partsam.apply_face_sets()
    bpy.ops.partsam.part_merge(part=1, into="2")
    assert striped.mode == mode and len(striped.data.partsam.parts) == 2


def test_shared_mesh_is_changed_with_a_warning(striped, capfd):
    twin = bpy.data.objects.new("twin", striped.data)
    bpy.context.scene.collection.objects.link(twin)
    bpy.ops.partsam.apply_face_sets()
    assert "shared by 2 objects" in capfd.readouterr().out


def test_large_part_is_deleted(parts):
    obj = grid(320)
    parts.write_labels(obj.data, columns(320, [40, 280]))
    parts.delete_part(obj.data, 2)
    expected = np.tile(np.repeat([1, 3], 160), 320)
    assert (ids(obj, parts) == expected).all()
