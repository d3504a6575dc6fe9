# SPDX-License-Identifier: GPL-3.0-or-later
"""Undo in Edit mode, where Blender brings back the faces only. No backend."""

from __future__ import annotations

import bmesh
import bpy
import numpy as np
import pytest
from meshes import grid
from part_trees import cut, give_tree


def test_undo_in_edit_mode_brings_back_where_the_slider_stood(quarters, parts):
    bpy.ops.object.mode_set("EXEC_DEFAULT", True, mode="EDIT")
    cut(0.5)
    cut(0.0)
    for granularity, count in ((0.5, 2), (1.0, 4)):
        bpy.ops.ed.undo()
        table = bpy.data.objects["grid"].data.partsam
        assert (table.levels[0].granularity, len(table.parts)) == (granularity, count)


def test_undo_in_edit_mode_keeps_the_table_where_blender_loads_an_older_file_state(quarters, parts):
    """Materials are new data, so that Blender stores the whole file, and undo loads the state before."""
    bpy.ops.object.mode_set("EXEC_DEFAULT", True, mode="EDIT")
    bpy.ops.partsam.part_lock("EXEC_DEFAULT", True, part=2)
    bpy.ops.partsam.part_rename("EXEC_DEFAULT", True, part=3, name="Tail")
    bpy.ops.partsam.apply_materials("EXEC_DEFAULT", True)
    bpy.ops.ed.undo()
    table = bpy.data.objects["grid"].data.partsam
    assert bpy.data.objects["grid"].mode == "EDIT"
    assert [(p.name, p.locked) for p in table.parts][1:3] == [("Part 2", True), ("Tail", False)]
    assert [level.face_count for level in table.levels] == [64]


def test_undo_in_edit_mode_of_a_mesh_that_was_segmented_there(parts, addon):
    obj = grid(8)
    bpy.ops.ed.undo_push(message="a mesh without parts")
    bpy.ops.object.mode_set("EXEC_DEFAULT", True, mode="EDIT")
    with addon("mesh_exchange").object_mode(bpy.context, obj):
        give_tree(parts, obj)
    bpy.ops.ed.undo_push(message="segmented")
    bpy.ops.partsam.apply_materials("EXEC_DEFAULT", True)
    bpy.ops.ed.undo()
    table = bpy.data.objects["grid"].data.partsam
    assert [part.face_count for part in table.parts] == [16] * 4
    assert [level.face_count for level in table.levels] == [64]


def in_edit_mode(change):
    """Do it in Edit mode as one undo step; the table before and after, and after undo and redo."""
    table = [described(bpy.data.objects["grid"].data.partsam)]
    change()
    table.append(described(bpy.data.objects["grid"].data.partsam))
    for step in (bpy.ops.ed.undo, bpy.ops.ed.redo):
        step()
        assert bpy.data.objects["grid"].mode == "EDIT"
        table.append(described(bpy.data.objects["grid"].data.partsam))
    return table


def described(table):
    parts = [(part.part_id, part.name, part.locked, tuple(part.color), part.checked) for part in table.parts]
    return parts, [(level.number, level.granularity) for level in table.levels]


def edit_list(**values):
    """What a click into the list does: the property, then an undo step."""
    for name, value in values.items():
        setattr(bpy.data.objects["grid"].data.partsam.parts[1], name, value)
    bpy.ops.ed.undo_push(message="list")


OPERATORS_ON_THE_LIST = {
    "part_rename": {"part": 2, "name": "Arm"},
    "part_lock": {"part": 2},
    "part_recolor": {"part": 2, "color": (1, 0, 0)},
    "parts_check": {"action": "ALL"},
    "tree_drop": {},
}


def test_undo_in_edit_mode_takes_back_what_was_done_to_the_list(quarters, parts):
    bpy.ops.object.mode_set("EXEC_DEFAULT", True, mode="EDIT")
    edits = [
        lambda n=n, v=v: edit_list(**{n: v}) for n, v in (("name", "Tail"), ("locked", True), ("checked", 1))
    ]
    for name, values in OPERATORS_ON_THE_LIST.items():
        operator = getattr(bpy.ops.partsam, name)
        edits.append(lambda o=operator, v=values: o("EXEC_DEFAULT", True, **v))
    seen = []
    for edit in edits:
        before, after, undone, redone = in_edit_mode(edit)
        assert before == undone != after == redone
        seen.append(before)
    for before in reversed(seen):  # all of them again
        bpy.ops.ed.undo()
        assert described(bpy.data.objects["grid"].data.partsam) == before


def test_undo_in_edit_mode_after_a_change_in_object_mode(quarters, parts):
    bpy.ops.object.mode_set("EXEC_DEFAULT", True, mode="EDIT")
    bpy.ops.partsam.part_rename("EXEC_DEFAULT", True, part=1, name="Arm")
    bpy.ops.object.mode_set("EXEC_DEFAULT", True, mode="OBJECT")
    bpy.ops.partsam.part_rename("EXEC_DEFAULT", True, part=1, name="Leg")
    bpy.ops.object.mode_set("EXEC_DEFAULT", True, mode="EDIT")
    bpy.ops.partsam.part_rename("EXEC_DEFAULT", True, part=1, name="Tail")
    for name in ("Leg", "Leg", "Arm", "Arm", "Part 1"):
        bpy.ops.ed.undo()
        assert bpy.data.objects["grid"].data.partsam.parts[0].name == name


@pytest.mark.parametrize("change", ["stripped", "raised"])
def test_undo_in_edit_mode_where_faces_have_another_number_than_the_table(quarters, parts, change):
    bpy.ops.partsam.part_rename("EXEC_DEFAULT", True, part=1, name="Arm")
    attributes = quarters.data.attributes
    if change == "stripped":  # as a script that removes hidden attributes does
        attributes.remove(attributes[".partsam_revision"])
    else:  # as faces have that were joined in
        attributes[".partsam_revision"].data[0].value += 2
    bpy.ops.ed.undo_push(message=change)
    bpy.ops.object.mode_set("EXEC_DEFAULT", True, mode="EDIT")
    bpy.context.view_layer.update()
    names = ("Arm", "Leg", "Tail", "Ear", "Nose")
    for name in names[1:]:
        bpy.ops.partsam.part_rename("EXEC_DEFAULT", True, part=1, name=name)
    for name in reversed(names[:-1]):
        bpy.ops.ed.undo()
        assert bpy.data.objects["grid"].data.partsam.parts[0].name == name
    bpy.ops.ed.redo()
    assert bpy.data.objects["grid"].data.partsam.parts[0].name == "Leg"


def test_undo_out_of_edit_mode_brings_back_what_was_deleted_before_an_operator_of_ours(quarters, parts):
    """The operator leaves Edit mode for a moment, which writes the edited faces to the mesh."""
    bpy.ops.object.mode_set("EXEC_DEFAULT", True, mode="EDIT")
    edit_mesh = bmesh.from_edit_mesh(quarters.data)
    edit_mesh.faces.ensure_lookup_table()
    bmesh.ops.delete(edit_mesh, geom=edit_mesh.faces[:16], context="FACES")
    bmesh.update_edit_mesh(quarters.data)
    bpy.ops.ed.undo_push(message="deleted")
    bpy.ops.partsam.part_delete("EXEC_DEFAULT", True, part=4)
    while bpy.data.objects["grid"].mode == "EDIT":
        bpy.ops.ed.undo()
    mesh = bpy.data.objects["grid"].data
    assert np.bincount(parts.read_part_ids(mesh)).tolist() == [0, 16, 16, 16, 16]
    for _ in range(3):
        bpy.ops.ed.redo()
    edited = bpy.data.objects["grid"]
    assert edited.mode == "EDIT" and len(bmesh.from_edit_mesh(edited.data).faces) == 48
    assert [part.face_count for part in edited.data.partsam.parts if part.face_count] == [12, 12, 24]
