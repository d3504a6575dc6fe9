# SPDX-License-Identifier: GPL-3.0-or-later
"""Armatures from parts: axes, tree, sides, weights, and that nothing moves until a bone does."""

from __future__ import annotations

import bpy
import numpy as np
import pytest
from mathutils import Euler, Matrix
from meshes import activate, cube, grid, voxels
from test_apply_labels import weights
from test_apply_objects import positions, world_corners
from test_parts import columns

# A figure: torso, head on a neck, two arms along X, two legs down; symmetric about X = 0.
FIGURE = {
    0: ((-2, -1, 0), (2, 1, 6)),
    1: ((-1, -1, 6), (1, 1, 7)),
    2: ((-1, -1, 7), (1, 1, 9)),
    3: ((2, -1, 4), (8, 1, 6)),
    4: ((-8, -1, 4), (-2, 1, 6)),
    5: ((1, -1, -7), (2, 1, 0)),
    6: ((-2, -1, -7), (-1, 1, 0)),
}
NAMES = ["Torso", "Neck", "Head", "Arm", "Other Arm", "Leg", "Other Leg"]


@pytest.fixture
def parts(addon):
    return addon("parts")


@pytest.fixture
def figure(parts):
    obj, labels = voxels(FIGURE)
    parts.write_labels(obj.data, labels)
    for part, name in zip(obj.data.partsam.parts, NAMES, strict=True):
        part.name = name
    bpy.ops.ed.undo_push(message="figure")
    return obj


def bones_of(obj):
    return obj.parent.data.bones


def test_tree_follows_what_touches_from_the_largest_part(figure):
    assert bpy.ops.partsam.apply_armature(name_sides=False) == {"FINISHED"}
    bones = bones_of(figure)
    parents = {bone.name: bone.parent.name if bone.parent else None for bone in bones}
    assert parents == {
        "Torso": None,
        "Neck": "Torso",
        "Head": "Neck",
        "Arm": "Torso",
        "Other Arm": "Torso",
        "Leg": "Torso",
        "Other Leg": "Torso",
    }


def test_another_root(figure):
    bpy.ops.partsam.apply_armature(root=3, name_sides=False)
    parents = {bone.name: bone.parent.name if bone.parent else None for bone in bones_of(figure)}
    assert parents["Head"] is None and parents["Neck"] == "Head" and parents["Torso"] == "Neck"
    assert parents["Arm"] == "Torso"


def test_bones_lie_along_the_parts_and_start_at_the_joint(figure):
    bpy.ops.partsam.apply_armature(name_sides=False)
    bones = bones_of(figure)
    expected = {
        "Arm": ((2, 0, 5), (8, 0, 5)),
        "Other Arm": ((-2, 0, 5), (-8, 0, 5)),
        "Leg": ((1.5, 0, 0), (1.5, 0, -7)),
    }
    for name, (head, tail) in expected.items():
        # The far end of a limb is closed: its centre of area lies off the middle, but on the axis.
        assert np.array(bones[name].head_local) == pytest.approx(np.array(head), abs=0.05)
        assert np.array(bones[name].tail_local) == pytest.approx(np.array(tail), abs=0.05)
    assert bones["Torso"].head_local.z < bones["Torso"].tail_local.z
    assert np.array(bones["Neck"].head_local) == pytest.approx((0, 0, 6), abs=0.01)
    assert bones["Neck"].tail_local == bones["Head"].head_local
    assert bones["Head"].head_local.z == pytest.approx(7, abs=0.05)


def test_sides_are_named_and_swapped_names_do_not_collide(figure, parts):
    parts.get_part(figure.data, 4).name = "Arm.R"  # on the left
    parts.get_part(figure.data, 5).name = "Arm.L"
    parts.get_part(figure.data, 6).name = "Part 6"  # as if nobody had typed it
    parts.get_part(figure.data, 7).name = "Leg"
    bpy.ops.partsam.apply_armature()
    names = [part.name for part in figure.data.partsam.parts]
    assert names == ["Torso", "Neck", "Head", "Arm.L", "Arm.R", "Leg.L", "Leg.R"]
    assert set(names) == {bone.name for bone in bones_of(figure)} == {g.name for g in figure.vertex_groups}
    assert bones_of(figure)["Arm.L"].head_local.x > 0


@pytest.mark.parametrize(
    ("left", "right", "named"),
    [
        ("Gear.2024", "Part 5", ["Gear.2024.L", "Gear.2024.R"]),
        ("Gear.120", "Part 5", ["Gear.120.L", "Gear.120.R"]),
        ("Gear.120", "Gear.121", ["Gear.120", "Gear.121"]),  # two names of the user's
        ("Gear.120", "Gear", ["Gear.L", "Gear.R"]),
        ("Gear.001", "Gear.002", ["Gear.L", "Gear.R"]),  # Gear itself has another name by now
        ("Gear.L", "Gear.L.001", ["Gear.L", "Gear.R"]),
        ("Neck.003", "Part 5", ["Neck.L", "Neck.R"]),  # a copy of the name of the part Neck
    ],
)
def test_only_numbers_of_copies_are_left_out_of_names_of_sides(figure, parts, left, right, named):
    parts.get_part(figure.data, 4).name, parts.get_part(figure.data, 5).name = "a", "b"
    parts.get_part(figure.data, 4).name, parts.get_part(figure.data, 5).name = left, right
    parts.get_part(figure.data, 2).name = "Neck"
    bpy.ops.partsam.parts_name_mirrored()
    assert [parts.get_part(figure.data, part).name for part in (4, 5)] == named


def test_sides_across_the_middle_of_a_shifted_mesh_and_not_of_a_lopsided_one(figure, parts):
    figure.data.transform(Matrix.Translation((30, 0, 0)))
    parts.get_part(figure.data, 5).name = "Arm"  # Blender makes "Arm.001" of it
    bpy.ops.partsam.parts_name_mirrored()
    assert [parts.get_part(figure.data, part).name for part in (4, 5)] == ["Arm.L", "Arm.R"]
    lopsided, labels = voxels(
        {0: ((0, 0, 0), (6, 1, 1)), 1: ((6, 0, 0), (7, 1, 1)), 2: ((-4, 0, 0), (0, 1, 1))}
    )
    parts.write_labels(lopsided.data, labels)
    bpy.ops.partsam.parts_name_mirrored()
    assert [part.name for part in lopsided.data.partsam.parts] == ["Part 1", "Part 2", "Part 3"]


def test_two_typed_names_of_a_pair_stay(figure, parts):
    parts.get_part(figure.data, 4).name = "Sword"
    parts.get_part(figure.data, 5).name = "Shield"
    for press in (bpy.ops.partsam.parts_name_mirrored, bpy.ops.partsam.apply_armature):
        assert press() == {"FINISHED"}
        names = [part.name for part in figure.data.partsam.parts]
        assert names == ["Torso", "Neck", "Head", "Sword", "Shield", "Leg", "Other Leg"]


def evaluated_positions(obj):
    depsgraph = bpy.context.evaluated_depsgraph_get()
    depsgraph.update()
    evaluated = obj.evaluated_get(depsgraph)
    found = positions(evaluated.to_mesh())
    evaluated.to_mesh_clear()
    return found


@pytest.mark.parametrize("falloff", [0.0, 0.05])
@pytest.mark.parametrize("scale", [(1, 1, 1), (-2, 3, 1)])
def test_nothing_moves_until_a_bone_does(figure, falloff, scale):
    parent = bpy.data.objects.new("parent", None)
    bpy.context.scene.collection.objects.link(parent)
    parent.matrix_world = Matrix.Translation((1, 2, 3)) @ Euler((0.3, 0, 0)).to_matrix().to_4x4()
    figure.parent, figure.location, figure.scale = parent, (5, 0, 0), scale
    figure.rotation_euler = (0.1, 0.2, 0.3)
    bpy.context.view_layer.update()
    before, rest = world_corners(figure), positions(figure.data)
    bpy.ops.partsam.apply_armature(falloff=falloff)
    bpy.context.view_layer.update()
    assert world_corners(figure) == pytest.approx(before, abs=1e-4)
    assert evaluated_positions(figure) == pytest.approx(rest, abs=1e-4)
    armature = figure.parent
    assert armature.type == "ARMATURE" and armature.parent == parent
    armature.pose.bones["Head"].location = (0, 1, 0)
    moved = np.linalg.norm(evaluated_positions(figure) - rest, axis=1) > 1e-4
    head = weights(figure, "Head") > 1e-6
    assert (moved == head).all() and 0 < head.sum() < len(head)
    bpy.ops.partsam.apply_armature()  # again: replaced, not doubled
    assert len([o for o in bpy.data.objects if o.type == "ARMATURE"]) == 1
    assert len(figure.modifiers) == 1 and figure.parent.parent == parent
    bpy.context.view_layer.update()
    assert world_corners(figure) == pytest.approx(before, abs=1e-4)


def test_rigid_weights_give_every_vertex_to_one_bone(figure):
    bpy.ops.partsam.apply_armature(name_sides=False)
    table = np.array([weights(figure, name) for name in NAMES])
    assert ((table == 1).sum(axis=0) == 1).all() and ((table == 0) | (table == 1)).all()


def test_falloff_weights_sum_to_one(figure):
    bpy.ops.partsam.apply_armature(name_sides=False, falloff=0.1)
    table = np.array([weights(figure, name) for name in NAMES])
    assert table.sum(axis=0) == pytest.approx(np.ones(table.shape[1]), abs=1e-6)
    assert ((table > 0) & (table < 1)).any()


def test_loose_shells_hang_on_the_nearest_part(parts):
    blocks = {0: ((0, 0, 0), (5, 5, 5)), 1: ((7, 2, 2), (9, 3, 3)), 2: ((11, 2, 2), (13, 3, 3))}
    obj, labels = voxels(blocks)
    parts.write_labels(obj.data, labels)
    bpy.ops.partsam.apply_armature(name_sides=False)
    bones = bones_of(obj)
    assert bones["Part 3"].parent.name == "Part 2" and bones["Part 2"].parent.name == "Part 1"
    assert np.array(bones["Part 2"].head_local) == pytest.approx((7, 2.5, 2.5), abs=0.05)
    assert np.array(bones["Part 3"].tail_local) == pytest.approx((13, 2.5, 2.5), abs=0.05)


def test_from_edit_mode_with_other_meshes_selected_and_undo(figure):
    other = cube(name="other")
    activate(figure)
    other.select_set(True)
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.ed.undo_push(message="edit")
    bpy.ops.partsam.apply_armature("EXEC_DEFAULT", True)
    assert bpy.data.objects["voxels"].mode == "EDIT" and bpy.context.object.name == "voxels"
    bpy.ops.ed.undo()
    obj = bpy.data.objects["voxels"]
    assert not [o for o in bpy.data.objects if o.type == "ARMATURE"]
    assert obj.parent is None and len(obj.modifiers) == 0


def test_flat_and_single_parts_get_a_bone(parts):
    obj = grid(6)
    parts.write_labels(obj.data, columns(6, [2]))
    bpy.ops.partsam.apply_armature()
    assert len(bones_of(obj)) == 2
    single = cube(name="single")
    parts.write_labels(single.data, np.zeros(6, dtype=np.int32))
    bpy.ops.partsam.apply_armature()
    (bone,) = bones_of(single)
    assert bone.length == pytest.approx(2.0, abs=1e-4)


def test_knight_parts_make_a_tree(parts, repository):
    bpy.ops.import_scene.gltf(filepath=str(repository / "tests" / "data" / "knight_fused.glb"))
    obj = next(o for o in bpy.context.scene.objects if o.type == "MESH")
    activate(obj)
    z = np.array([polygon.center.z for polygon in obj.data.polygons])
    x = np.array([polygon.center.x for polygon in obj.data.polygons])
    labels = np.where(np.abs(x) > np.quantile(np.abs(x), 0.8), 2 + (x > 0), z > np.median(z)).astype(np.int32)
    parts.write_labels(obj.data, labels)
    bpy.ops.partsam.apply_armature(falloff=0.02)
    bones = bones_of(obj)
    assert len(bones) == 4 and sum(bone.parent is None for bone in bones) == 1
    assert {bone.name[-2:] for bone in bones if "." in bone.name} == {".L", ".R"}


def test_root_by_ground_neighbors_and_list(figure, parts):
    bpy.ops.partsam.apply_armature(name_sides=False)  # two legs on the ground: the torso touches most
    assert [bone.name for bone in bones_of(figure) if bone.parent is None] == ["Torso"]
    figure.data.partsam.active_index = 1
    bpy.ops.partsam.apply_armature(name_sides=False, rule="ACTIVE")
    assert [bone.name for bone in bones_of(figure) if bone.parent is None] == ["Neck"]
    lamp, labels = voxels(
        {0: ((-1, -1, 0), (1, 1, 1)), 1: ((0, 0, 1), (1, 1, 7)), 2: ((-2, -2, 7), (3, 3, 9))}
    )
    parts.write_labels(lamp.data, labels)
    bpy.ops.partsam.apply_armature(name_sides=False)
    assert [bone.name for bone in bones_of(lamp) if bone.parent is None] == ["Part 1"]
    bpy.ops.partsam.apply_armature(name_sides=False, rule="LARGEST")
    assert [bone.name for bone in bones_of(lamp) if bone.parent is None] == ["Part 3"]


def test_small_parts_go_with_their_neighbor(figure):
    bpy.ops.partsam.apply_armature(name_sides=False, smallest=0.06)
    assert "Neck" not in bones_of(figure) and len(bones_of(figure)) == 6
    assert bones_of(figure)["Head"].parent.name == "Torso"
    assert (weights(figure, "Torso") + weights(figure, "Head")).max() == 1
    assert "Neck" not in figure.vertex_groups


def test_second_press_keeps_what_was_done_by_hand(figure):
    bpy.ops.partsam.apply_armature(name_sides=False)
    armature = figure.parent
    armature.pose.bones["Arm"].constraints.new("LIMIT_ROTATION")
    bpy.context.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="EDIT")
    bones = armature.data.edit_bones
    bones["Leg"].tail.z -= 1
    bones["Head"].name = "Skull"
    bones.new("Mine").tail = (0, 0, 1)
    bpy.ops.object.mode_set(mode="OBJECT")
    activate(figure)
    figure.data.partsam.parts[1].name = "Collar"
    figure.vertex_groups["Arm"].add([0], 0.37, "REPLACE")
    bpy.ops.partsam.apply_armature(name_sides=False)
    assert figure.parent == armature and len(armature.pose.bones["Arm"].constraints) == 1
    bones = armature.data.bones
    assert {"Skull", "Mine", "Collar"} <= set(bones.keys()) and not {"Head", "Neck"} & set(bones.keys())
    assert bones["Leg"].tail_local.z == pytest.approx(-8, abs=0.05)
    assert weights(figure, "Arm")[0] == pytest.approx(0.37)
    assert {"Skull", "Collar"} <= {group.name for group in figure.vertex_groups}
    assert len(figure.vertex_groups) == 7 and len(figure.modifiers) == 1


def test_a_group_that_went_with_its_bone_is_no_fault(figure):
    bpy.ops.partsam.apply_armature(name_sides=False)
    figure.vertex_groups.remove(figure.vertex_groups["Neck"])
    assert bpy.ops.partsam.apply_armature(name_sides=False, smallest=0.06) == {"FINISHED"}
    assert "Neck" not in bones_of(figure) and "Neck" not in figure.vertex_groups


def test_bones_and_their_groups_go_with_parts_that_exchange_names(figure, parts):
    bpy.ops.partsam.apply_armature(name_sides=False)
    before = {name: weights(figure, name) for name in ("Arm", "Leg")}
    heads = {name: figure.parent.data.bones[name].head_local[:] for name in ("Arm", "Leg")}
    ids = {part.name: part.part_id for part in figure.data.partsam.parts}
    parts.rename_parts(figure.data, {ids["Arm"]: "Leg", ids["Leg"]: "Arm"})
    bpy.ops.partsam.apply_armature(name_sides=False)
    for old, new in (("Arm", "Leg"), ("Leg", "Arm")):
        assert (weights(figure, new) == before[old]).all()
        assert figure.parent.data.bones[new].head_local[:] == pytest.approx(heads[old])


def test_bones_avoid_the_names_of_foreign_groups(figure):
    figure.vertex_groups.new(name="Head").add([0], 0.37, "REPLACE")
    bpy.ops.partsam.apply_armature(name_sides=False)
    assert weights(figure, "Head")[0] == pytest.approx(0.37)
    assert "Head.001" in bones_of(figure) and "Head.001" in figure.vertex_groups


def test_names_beyond_63_bytes_stay_one(figure):
    figure.data.partsam.parts[2].name = "H" * 80
    for _ in range(2):
        bpy.ops.partsam.apply_armature(name_sides=False)
        bpy.ops.partsam.apply_vertex_groups()
    assert len(figure.vertex_groups) == 7 == len(bones_of(figure))
    assert {group.name for group in figure.vertex_groups} == set(bones_of(figure).keys())


def test_a_rig_of_the_user_stays_alone(figure):
    rig = bpy.data.objects.new("Rig", bpy.data.armatures.new("Rig"))
    bpy.context.scene.collection.objects.link(rig)
    figure.modifiers.new("Armature", "ARMATURE").object = rig
    with pytest.raises(RuntimeError, match='bound to the armature "Rig"'):
        bpy.ops.partsam.apply_armature()
    assert len(bpy.data.armatures) == 1 and not figure.vertex_groups
    bpy.ops.partsam.apply_armature(beside=True)
    assert [modifier.object.name for modifier in figure.modifiers] == ["voxels Armature", "Rig"]


def test_a_copy_of_a_rigged_object_leaves_the_armature_of_the_first(figure):
    bpy.ops.partsam.apply_armature(name_sides=False)
    copy = figure.copy()
    copy.data = figure.data.copy()
    bpy.context.scene.collection.objects.link(copy)
    activate(copy)
    with pytest.raises(RuntimeError, match="bound to the armature"):
        bpy.ops.partsam.apply_armature()
    activate(figure)
    copy.parent = None
    copy.modifiers.clear()
    bpy.data.objects.remove(copy)
    bpy.ops.partsam.apply_armature(name_sides=False)
    assert len(bpy.data.armatures) == 1
