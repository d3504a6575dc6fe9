# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts of meshes that are joined or edited with Blender's own tools. No backend."""

from __future__ import annotations

import bpy
import numpy as np
import pytest
from meshes import activate, cube, grid, select_polygons, voxels
from part_trees import cut, delete_first_column, give_tree, quartered
from segmenting import tick_until
from test_parts import ids


def test_joined_meshes_keep_their_parts_and_names(quarters, parts):
    quarters.data.partsam.parts[0].name = "Head"
    other = grid(8, name="other")
    give_tree(parts, other)
    other.data.partsam.parts[0].name = "Head"
    other.data.partsam.parts[3].name = "Tail"
    plain = cube(name="plain")
    for obj in (quarters, other, plain):
        obj.select_set(True)
    bpy.context.view_layer.objects.active = quarters
    bpy.ops.object.join()
    bpy.ops.partsam.part_select(part=1)
    table = quarters.data.partsam.parts
    assert [part.name for part in table][:5] == ["Head", "Part 2", "Part 3", "Part 4", "Head.001"]
    assert table[7].name == "Tail" and [part.face_count for part in table] == [16] * 8
    assert (ids(quarters, parts)[128:] == 0).all()
    assert quarters.data.partsam.face_count == 134
    cut(0.0)  # drives the trees of both
    assert [(part.name, part.face_count) for part in table] == [("Head", 64), ("Head.001", 64)]


def test_parts_whose_faces_are_gone_leave_their_number_to_joined_ones_but_not_their_name(quarters, parts):
    table = quarters.data.partsam.parts
    table[0].name, table[0].locked = "Head", True
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.partsam.part_select(part=1)
    bpy.ops.mesh.delete(type="FACE")
    bpy.ops.object.mode_set(mode="OBJECT")
    other = grid(3, name="other")
    parts.write_labels(other.data, np.zeros(9, dtype=np.int32))
    other.data.partsam.parts[0].name = "Tail"
    other.select_set(True)
    quarters.select_set(True)
    bpy.context.view_layer.objects.active = quarters
    bpy.ops.object.join()
    bpy.ops.partsam.part_lock(part=2)
    assert [(part.name, part.face_count) for part in table][:2] == [("Tail", 9), ("Part 2", 16)]
    assert not table[0].locked


@pytest.mark.parametrize("is_known", [True, False])
def test_a_mesh_of_as_many_faces_takes_the_place_of_all_that_were_deleted(quarters, parts, is_known):
    table = quarters.data.partsam.parts
    table[0].name, table[0].locked = "Head", True
    other = grid(8, name="other")
    parts.write_labels(other.data, np.arange(64) // (16 if is_known else 8))
    other.data.partsam.parts[1].name = "Tail"
    activate(quarters)
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.select_all(action="SELECT")
    bpy.ops.mesh.delete(type="VERT")
    bpy.ops.object.mode_set(mode="OBJECT")
    other.select_set(True)
    mesh = other.data
    bpy.ops.object.join("EXEC_DEFAULT", True)
    if not is_known:  # as after saving and loading
        bpy.data.meshes.remove(mesh)
    bpy.ops.partsam.part_select("EXEC_DEFAULT", True, part=1)
    assert [part.name for part in table][:2] == ["Part 1", "Tail" if is_known else "Part 2"]
    assert len(table) == (4 if is_known else 8) and not any(part.locked for part in table)
    check_table(quarters, parts)


def test_names_that_are_taken_are_numbered_as_blender_does(addon):
    unique = addon("parts.schema").unique_name
    assert unique("Leg", ["Leg", "Leg.001"]) == unique("Leg.001", ["Leg", "Leg.001"]) == "Leg.002"
    assert unique("Leg.001", ["Leg"]) == "Leg.001" and unique(".001", [".001"]) == ".001.001"


def by_script(obj):
    copy = obj.copy()
    copy.data = obj.data.copy()
    bpy.context.scene.collection.objects.link(copy)
    copy.select_set(True)


def by_operator(obj):
    bpy.ops.object.duplicate("EXEC_DEFAULT", True)
    bpy.context.view_layer.objects.active = obj
    obj.select_set(True)


def by_operator_and_undo(obj):
    by_operator(obj)
    bpy.ops.ed.undo_push(message="both selected")
    bpy.ops.object.join("EXEC_DEFAULT", True)
    bpy.ops.ed.undo()


def linked(obj):
    copy = obj.copy()
    bpy.context.scene.collection.objects.link(copy)
    cube(name="without parts")
    for other in (obj, copy):
        other.select_set(True)
    bpy.context.view_layer.objects.active = obj


@pytest.mark.parametrize("duplicate", [by_script, by_operator, by_operator_and_undo, linked])
def test_a_joined_copy_is_not_merged_with_its_original(quarters, parts, duplicate):
    """Shift-D or Alt-D, then Ctrl-J: both have the same part ids and the same table."""
    quarters.data.partsam.parts[0].name = "Head"
    duplicate(quarters)
    obj = bpy.data.objects["grid"]
    bpy.ops.object.join("EXEC_DEFAULT", True)
    bpy.ops.partsam.part_select(part=1)
    table = obj.data.partsam.parts
    assert [part.name for part in table][:5] == ["Head", "Part 2", "Part 3", "Part 4", "Head.001"]
    assert [part.face_count for part in table] == [16] * 8
    check_table(obj, parts)
    bpy.ops.ed.undo_push(message="looked at")
    cut(0.5)  # drives both
    assert [part.face_count for part in obj.data.partsam.parts] == [32] * 4
    bpy.ops.partsam.cut_to_count("EXEC_DEFAULT", count=2, refine=False)
    assert [part.face_count for part in obj.data.partsam.parts] == [64] * 2
    bpy.ops.ed.undo()
    table = bpy.data.objects["grid"].data.partsam
    assert [part.face_count for part in table.parts] == [16] * 8
    assert [level.granularity for level in table.levels] == [1.0, 1.0]


def test_a_mesh_without_parts_takes_those_that_are_joined_to_it(quarters, parts):
    plain = cube(name="plain")
    quarters.select_set(True)
    bpy.ops.object.join()
    assert bpy.ops.partsam.part_select.poll()
    bpy.ops.partsam.part_select(part=2)
    assert [part.face_count for part in plain.data.partsam.parts] == [16] * 4


def joined_by_script(quarters):
    """A mesh that has had no parts, with the faces of another; no panel has been drawn since."""
    plain = cube(name="plain")
    quarters.select_set(True)
    bpy.ops.object.join()
    return plain


@pytest.mark.parametrize("in_edit_mode", [False, True])
def test_a_number_of_parts_right_after_a_script_has_joined(quarters, addon, in_edit_mode):
    plain = joined_by_script(quarters)
    if in_edit_mode:
        bpy.ops.object.mode_set(mode="EDIT")
    assert bpy.ops.partsam.cut_to_count.poll()
    assert addon("operators.cutting").count_now(bpy.context) == 4
    bpy.ops.partsam.cut_to_count(count=2, refine=False)
    assert len(plain.data.partsam.parts) == 2


def test_a_number_of_parts_needs_a_part_tree(quarters, parts):
    plain = joined_by_script(quarters)
    for mesh in (plain.data, cube(name="bare").data):
        parts.bring_together(mesh)
        parts.drop_levels(mesh)
        assert bpy.ops.partsam.cut_to_count.poll() is False
        activate(plain)


def test_a_slider_moved_by_a_script_right_after_it_has_joined(quarters, session):
    plain = joined_by_script(quarters)
    bpy.context.window_manager.partsam.refine = False
    bpy.context.window_manager.partsam.granularity = 0.5
    tick_until(session, lambda: not session.live.is_waiting)
    assert len(plain.data.partsam.parts) == 2


def subdivide(_obj):
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.select_all(action="SELECT")
    bpy.ops.mesh.subdivide()
    bpy.ops.object.mode_set(mode="OBJECT")


def apply_modifier(kind, **settings):
    def change(obj):
        modifier = obj.modifiers.new("m", kind)
        for name, value in settings.items():
            setattr(modifier, name, value)
        bpy.ops.object.modifier_apply(modifier="m")

    return change


@pytest.mark.parametrize(
    "change",
    [
        subdivide,
        delete_first_column,
        apply_modifier("DECIMATE", ratio=0.5),
        apply_modifier("SOLIDIFY"),
        apply_modifier("REMESH", mode="BLOCKS", octree_depth=3),
        apply_modifier("ARRAY", count=3, use_merge_vertices=True),
    ],
    ids=["subdivide", "delete", "decimate", "solidify", "remesh", "array"],
)
def test_edited_meshes_have_true_counts_and_can_be_cut(quarters, parts, change):
    change(quarters)
    if not parts.has_parts(quarters.data):  # remeshing keeps no attributes
        assert not bpy.ops.partsam.part_select.poll()
        return
    bpy.ops.partsam.apply_materials()
    check_table(quarters, parts)
    bpy.ops.partsam.cut(granularity=0.0, refine=False)
    check_table(quarters, parts)
    assert len(quarters.data.partsam.parts) == 1


def two_boxes(parts, name, offset=0.0):
    """A bar of two cubes, each a part with a name."""
    obj, labels = voxels({0: ((0, 0, 0), (2, 2, 2)), 1: ((2, 0, 0), (4, 2, 2))}, name=name)
    parts.write_labels(obj.data, labels)
    for part, side in zip(obj.data.partsam.parts, ("left", "right"), strict=True):
        part.name = f"{name} {side}"
    obj.location = (offset,) * 3
    return obj


def by_modifier(obj, cutter, operation):
    """As booleans are done by hand, and by Bool Tool: a modifier, applied, and the cutter removed."""
    modifier = obj.modifiers.new("Boolean", "BOOLEAN")
    modifier.object, modifier.operation, modifier.solver = cutter, operation, "EXACT"
    bpy.ops.object.modifier_apply("EXEC_DEFAULT", True, modifier=modifier.name)
    bpy.data.objects.remove(cutter)


def by_joining(obj, cutter, operation):
    """Both joined, the cutter's faces selected, and cut in Edit mode."""
    own = len(obj.data.polygons)
    cutter.select_set(True)
    bpy.ops.object.join("EXEC_DEFAULT", True)
    select_polygons(obj, range(own, len(obj.data.polygons)))
    bpy.ops.object.mode_set("EXEC_DEFAULT", True, mode="EDIT")
    bpy.ops.mesh.intersect_boolean("EXEC_DEFAULT", True, operation=operation)
    bpy.ops.object.mode_set("EXEC_DEFAULT", True, mode="OBJECT")


@pytest.mark.parametrize("how", [by_modifier, by_joining])
@pytest.mark.parametrize("operation", ["UNION", "DIFFERENCE", "INTERSECT"])
@pytest.mark.parametrize("copy", [False, True], ids=["another", "copy"])
def test_booleans_keep_the_parts_of_both_apart(parts, operation, how, copy):
    cutter = two_boxes(parts, "cutter", 0.7)
    obj = two_boxes(parts, "body")
    if copy:
        cutter.data = obj.data.copy()
    how(obj, cutter, operation)
    bpy.ops.partsam.apply_materials("EXEC_DEFAULT", True)
    check_table(obj, parts)
    assert (ids(obj, parts) > 0).all()
    owners = {part.name.partition(" ")[0] for part in obj.data.partsam.parts}
    assert owners == ({"body"} if copy else {"body", "cutter"})
    assert len(obj.data.partsam.parts) == 4
    assert len(obj.material_slots) == 4


def check_table(obj, parts):
    """The table says of the faces what is true."""
    present, counts = np.unique(ids(obj, parts), return_counts=True)
    assert {part.part_id: part.face_count for part in obj.data.partsam.parts} == {
        part_id: count for part_id, count in zip(present.tolist(), counts.tolist(), strict=True) if part_id
    }


@pytest.mark.parametrize("into_bare", [False, True])
@pytest.mark.parametrize("by_api", [False, True])
def test_the_first_cut_after_a_join_cuts_all_that_was_joined(parts, addon, into_bare, by_api):
    """Without a panel nothing has looked at the mesh since."""
    joined = quartered(parts)
    obj = grid(4, name="bare") if into_bare else quartered(parts)
    joined.location.x = 4
    joined.select_set(True)
    bpy.ops.object.join()
    if by_api:
        addon("api").cut(obj, granularity=0.0, strength=None)
    else:
        cut(0.0)
    assert sorted(part.face_count for part in obj.data.partsam.parts) == [64] * (1 if into_bare else 2)
