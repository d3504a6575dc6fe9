# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts to Objects in scenes as people have them: physics, collections, NLA, pointers, view layers."""

from __future__ import annotations

import bpy
import numpy as np
import pytest
from mathutils import Vector
from meshes import activate, cube, grid, voxels
from test_parts import columns


@pytest.fixture
def parts(addon):
    return addon("parts")


@pytest.fixture
def split(parts):
    """A 4 x 4 grid of two parts."""
    obj = grid(4)
    parts.write_labels(obj.data, columns(4, [2]))
    return obj


def made():
    return [
        obj for obj in bpy.context.view_layer.objects if obj.type == "MESH" and obj.name.startswith("Part")
    ]


def test_rigid_bodies(split):
    bpy.ops.rigidbody.object_add()
    bpy.ops.partsam.apply_separate()
    assert len(made()) == 2 and all(part.rigid_body is not None for part in made())
    world = bpy.context.scene.rigidbody_world.collection
    assert bpy.data.objects["grid Parts"].name not in world.objects
    assert all(part.name in bpy.context.scene.collection.objects for part in made())


@pytest.mark.parametrize("grouping", ["EMPTY", "COLLECTION", "NONE"])
def test_where_the_first_collection_is_excluded(split, grouping):
    scene = bpy.context.scene.collection
    for name in ("Excluded", "Shown"):
        collection = bpy.data.collections.new(name)
        scene.children.link(collection)
        collection.objects.link(split)
    scene.objects.unlink(split)
    bpy.context.view_layer.layer_collection.children["Excluded"].exclude = True
    activate(split)
    bpy.ops.partsam.apply_separate(grouping=grouping)
    assert len(made()) == 2 and split.hide_get()


def add_strip(owner, name, start):
    action = bpy.data.actions.new(name)
    track = owner.animation_data_create().nla_tracks.new()
    track.name = f"{name} track"
    owner.animation_data.action = action
    if isinstance(owner, bpy.types.Object):
        owner.keyframe_insert("location", frame=1)
    else:
        owner.key_blocks["Key"].keyframe_insert("value", frame=1)
    strip = track.strips.new(name, start, action)
    strip.repeat, strip.blend_type = 2.0, "ADD"
    owner.animation_data.action = None


def strips(owner):
    return [
        (track.name, s.name, s.action.name, s.frame_start, s.frame_end, s.repeat, s.blend_type)
        for track in owner.animation_data.nla_tracks
        for s in track.strips
    ]


def test_nla_tracks_of_object_and_shape_keys(split):
    split.shape_key_add(name="Basis")
    split.shape_key_add(name="Key")
    add_strip(split, "move", 10)
    add_strip(split.data.shape_keys, "smile", 20)
    expected = strips(split), strips(split.data.shape_keys)
    bpy.ops.partsam.apply_separate()
    empty = bpy.data.objects["grid Parts"]
    assert strips(empty) == expected[0]
    assert [strips(part.data.shape_keys) for part in made()] == [expected[1]] * 2


@pytest.mark.parametrize("in_nla", [False, True])
def test_animation_that_does_not_move_goes_to_the_parts(split, addon, in_nla):
    """Beside the empty, which moves: what hides, or drives a modifier, is about each part."""
    wave = split.modifiers.new("Wave", "WAVE")
    split["glow"] = 0.0
    for frame, hidden, height in ((1, False, 0.0), (5, True, 2.0)):
        split.location.x, split.hide_render, wave.height, split["glow"] = frame, hidden, height, height
        for path in ("location", "hide_render", 'modifiers["Wave"].height', '["glow"]'):
            split.keyframe_insert(path, frame=frame)
    action = split.animation_data.action
    if in_nla:
        track = split.animation_data.nla_tracks.new()
        strip = track.strips.new("strip", 1, action)
        if hasattr(strip, "action_slot"):
            strip.action_slot = split.animation_data.action_slot
        split.animation_data.action = None
    result = addon("separation.separation").separate_parts(bpy.context, split)
    assert result.dropped == []
    rest = {"hide_render", 'modifiers["Wave"].height', '["glow"]'}
    assert [addon("separation.animation").animated_paths(part) for part in result.objects] == [rest] * 2
    assert len(bpy.data.actions) == 2  # the parts share one
    for frame, hidden, height in ((1, False, 0.0), (5, True, 2.0)):
        bpy.context.scene.frame_set(frame)
        assert bpy.data.objects["grid Parts"].matrix_world.translation.x == pytest.approx(frame)
        for part in result.objects:
            assert (part.hide_render, part.modifiers["Wave"].height, part["glow"]) == (hidden, height, height)


def test_a_collection_of_the_users_with_the_same_name_stays_empty(split):
    own = bpy.data.collections.new("grid Parts")
    own.use_fake_user = True
    bpy.ops.partsam.apply_separate(grouping="COLLECTION")
    assert len(own.objects) == 0
    assert all(part.users_collection[0].name.startswith("grid Parts.") for part in made())


def test_pointers_to_a_removed_original_go_to_its_heirs(split):
    other = cube(name="other")
    follow = other.constraints.new("COPY_LOCATION")
    shrink = other.constraints.new("SHRINKWRAP")
    boolean, mirror = other.modifiers.new("cut", "BOOLEAN"), other.modifiers.new("mirror", "MIRROR")
    follow.target = shrink.target = boolean.object = mirror.mirror_object = split
    driver = other.driver_add("location", 2).driver
    variable = driver.variables.new()
    variable.targets[0].id = split
    child = cube(name="child")
    child.parent = split
    child.location.x = 7
    activate(split)
    bpy.context.view_layer.update()
    before = child.matrix_world.copy()
    bpy.ops.partsam.apply_separate(original="REMOVE")
    empty = bpy.data.objects["grid Parts"]
    assert follow.target == empty == mirror.mirror_object == variable.targets[0].id
    assert shrink.target == boolean.object and boolean.object in made()
    assert child.parent == empty and child.matrix_world == before
    assert "grid" not in bpy.data.objects


def test_multires_sculpts_are_not_destroyed(split):
    split.modifiers.new("Sculpt", "MULTIRES")
    with pytest.raises(RuntimeError, match="has the sculpt of the modifier"):
        bpy.ops.partsam.apply_separate(original="REMOVE")
    assert not made() and not split.hide_get()
    bpy.ops.partsam.apply_separate()
    assert len(made()) == 2 and len(split.modifiers) == 1


def test_the_original_is_hidden_in_all_view_layers(split):
    second = bpy.context.scene.view_layers.new("second")
    bpy.ops.partsam.apply_separate()
    assert split.hide_get() and split.hide_get(view_layer=second)


def test_freestyle_marks_and_skin(split):
    split.modifiers.new("Skin", "SKIN")
    for vertex, skin in zip(split.data.vertices, split.data.skin_vertices[0].data, strict=True):
        skin.radius = (0.1 + vertex.index, 0.2)
        skin.use_root = vertex.index in (0, 24)
    marks = "use_freestyle_mark" in bpy.types.MeshEdge.bl_rna.properties
    if marks:
        split.data.edges.foreach_set("use_freestyle_mark", [True] * len(split.data.edges))
        split.data.polygons[0].use_freestyle_mark = True
    bpy.ops.partsam.apply_separate(origin="KEEP")
    whole = {tuple(vertex.co): vertex.index for vertex in split.data.vertices}
    for part in made():
        data = part.data.skin_vertices[0].data
        for vertex in part.data.vertices:
            source = whole[tuple(vertex.co)]
            assert data[vertex.index].radius[0] == pytest.approx(0.1 + source)
            assert data[vertex.index].use_root == (source in (0, 24))
        if marks:
            assert all(edge.use_freestyle_mark for edge in part.data.edges)
    if marks:
        assert [p.use_freestyle_mark for part in made() for p in part.data.polygons].count(True) == 1


def test_unused_slots_and_groups_may_stay_away(split):
    for name in ("a", "b", "c"):
        split.data.materials.append(bpy.data.materials.new(name))
        split.vertex_groups.new(name=name)
    split.vertex_groups["b"].add([0], 0.5, "REPLACE")
    for polygon in split.data.polygons:
        polygon.material_index = 2 if polygon.center.x < 0 else 0
    split.material_slots[2].link = "OBJECT"
    split.material_slots[2].material = bpy.data.materials["b"]
    bpy.ops.partsam.apply_separate(drop_unused=True)
    left, right = made()
    assert [slot.material.name for slot in left.material_slots] == ["b"]
    assert [slot.material.name for slot in right.material_slots] == ["a"]
    assert {p.material_index for part in (left, right) for p in part.data.polygons} == {0}
    assert [group.name for group in left.vertex_groups] == ["b"] and not right.vertex_groups


def test_groups_of_other_parts_stay_away_unless_something_names_them(split, parts):
    parts.write_labels(split.data, columns(4, [1, 3]))  # the outer ones do not touch
    split.vertex_groups.new(name="Mine")
    split.name = "sheet"
    bpy.ops.partsam.apply_vertex_groups()
    names = [part.name for part in split.data.partsam.parts]
    split.vertex_groups[names[0]].lock_weight = True
    split.vertex_groups.active_index = split.vertex_groups[names[0]].index
    bpy.ops.ed.undo_push(message="groups")
    bpy.ops.partsam.apply_separate("EXEC_DEFAULT", True, grouping="NONE")
    found = {part.name: {group.name for group in part.vertex_groups} for part in made()}
    assert found == {name: {"Mine", name, *names[1:2]} for name in (names[0], names[2])} | {
        names[1]: {"Mine", *names}
    }
    first = bpy.data.objects[names[0]]
    assert first.vertex_groups.active.name == names[0] and first.vertex_groups.active.lock_weight
    assert sorted(len(vertex.groups) for vertex in first.data.vertices) == [1] * 5 + [2] * 5
    bpy.ops.ed.undo()
    obj = bpy.data.objects["sheet"]
    activate(obj)
    obj.modifiers.new("Smooth", "SMOOTH").vertex_group = names[2]
    bpy.ops.partsam.apply_separate(grouping="NONE")
    first = bpy.data.objects[names[0]]
    assert {group.name for group in first.vertex_groups} == {"Mine", *names}
    activate(first)
    bpy.ops.partsam.apply_vertex_groups()  # knows which of them are its own, and that others' parts are gone
    assert {group.name for group in first.vertex_groups} == {"Mine", names[0]}


def corner_normals(mesh):
    normals = np.empty((len(mesh.loops), 3), dtype=np.float32)
    mesh.corner_normals.foreach_get("vector", normals.ravel())
    return normals


@pytest.mark.parametrize("keep", [False, True])
def test_shading_along_the_borders_of_smooth_meshes(parts, keep):
    bpy.ops.mesh.primitive_uv_sphere_add(segments=12, ring_count=8)
    obj = bpy.context.object
    bpy.ops.object.shade_smooth()
    labels = np.array([polygon.center.z > 0 for polygon in obj.data.polygons], dtype=int)
    parts.write_labels(obj.data, labels)
    whole = corner_normals(obj.data)
    corners = np.repeat(labels, [polygon.loop_total for polygon in obj.data.polygons])
    bpy.ops.partsam.apply_separate(keep_shading=keep)
    for number, part in enumerate(made()):
        off = np.abs(corner_normals(part.data) - whole[corners == number]).max()
        assert (off < 0.01) == keep


def test_custom_normals_of_faces_without_extent(parts, addon):
    """Blender stores normals relative to the surface, which such faces do not have."""
    separation = addon("separation.separation")
    bpy.ops.mesh.primitive_uv_sphere_add(segments=16, ring_count=8)
    mesh = bpy.context.object.data
    for edge in list(mesh.edges)[::9]:
        first, second = edge.vertices
        mesh.vertices[first].co = mesh.vertices[second].co
    bpy.ops.object.shade_smooth()
    wanted = corner_normals(mesh) + np.random.default_rng(0).normal(0, 0.2, (len(mesh.loops), 3))
    mesh.normals_split_custom_set((wanted / np.linalg.norm(wanted, axis=1)[:, None]).tolist())
    whole = corner_normals(mesh)
    labels = np.array([polygon.index * 5 // len(mesh.polygons) for polygon in mesh.polygons])
    parts.write_labels(mesh, labels)
    corners = np.repeat(labels, [polygon.loop_total for polygon in mesh.polygons])
    result = separation.separate_parts(bpy.context, bpy.context.object)
    off = [
        np.linalg.norm(corner_normals(part.data) - whole[corners == number], axis=1)
        for number, part in enumerate(result.objects)
    ]
    lost = int((np.concatenate(off) > 0.02).sum())
    assert lost == 0 and not result.dropped
    if bpy.app.version >= (4, 5, 0):  # 4.2 stores them all the same
        kinds = {part.data.attributes["custom_normal"].data_type for part in result.objects}
        assert "FLOAT_VECTOR" in kinds


def test_origins_at_the_joints(parts):
    obj, labels = voxels({0: ((-2, -2, 0), (2, 2, 3)), 1: ((0, 0, 3), (1, 1, 9))})
    parts.write_labels(obj.data, labels)
    bpy.ops.partsam.apply_separate(origin="JOINT", grouping="NONE")
    bpy.context.view_layer.update()
    arm = bpy.data.objects["Part 2"]
    assert arm.matrix_world.translation == Vector((0.5, 0.5, 3))
    assert bpy.data.objects["Part 1"].matrix_world.translation == Vector((0, 0, 1.5))
    assert min((arm.matrix_world @ v.co).z for v in arm.data.vertices) == pytest.approx(3)


def test_objects_that_share_a_mesh_are_all_separated(split):
    others = []
    for number in (1, 2):
        other = bpy.data.objects.new(f"copy {number}", split.data)
        other.location.x = 5 * number
        bpy.context.scene.collection.objects.link(other)
        others.append(other)
    for obj in (split, *others):
        obj.select_set(True)
    bpy.ops.partsam.apply_separate()
    assert len(made()) == 6 and all(obj.hide_get() for obj in (split, *others))


def test_a_single_part_among_several_is_left_out_and_named(split, parts, capfd):
    single, second = cube(name="single"), grid(2, name="second")
    parts.write_labels(single.data, np.zeros(6, dtype=int))
    parts.write_labels(second.data, [0, 0, 1, 1])
    for obj in (split, single, second):
        obj.select_set(True)
    bpy.context.view_layer.objects.active = single
    bpy.ops.partsam.apply_separate()
    assert split.hide_get() and second.hide_get() and not single.hide_get()
    assert len(made()) == 4
    assert '"single" is a single part' in capfd.readouterr().out


def test_separated_parts_joined_again_keep_their_names(split, parts):
    parts.get_part(split.data, 1).name = "Left"
    parts.get_part(split.data, 2).name = "Right"
    bpy.ops.partsam.apply_separate(grouping="NONE")
    left, right = bpy.data.objects["Left"], bpy.data.objects["Right"]
    activate(left)
    right.select_set(True)
    bpy.ops.object.join()
    bpy.ops.partsam.apply_vertex_groups()
    assert {part.name for part in left.data.partsam.parts} == {"Left", "Right"}
    assert not left.data.partsam.levels


def test_a_rigged_object_leaves_its_armature_to_itself(parts):
    obj, labels = voxels({0: ((-2, -2, 0), (2, 2, 3)), 1: ((0, 0, 3), (1, 1, 9))})
    parts.write_labels(obj.data, labels)
    bpy.ops.partsam.apply_armature()
    armature = obj.parent
    bpy.ops.partsam.apply_separate()
    obj.hide_set(False)
    activate(obj)
    bpy.ops.partsam.apply_armature()
    assert obj.parent == armature and len(bpy.data.armatures) == 1


def test_a_part_is_renamed_and_undone_in_edit_mode(split):
    split.data.partsam.parts[0].name = "Renamed"  # the table has a history, which the parts do not share
    bpy.ops.partsam.apply_separate()
    part = made()[0]
    name, old = part.name, part.data.partsam.parts[0].name
    activate(part)
    bpy.ops.ed.undo_push(message="separated")
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.ed.undo_push(message="edited")
    part.data.partsam.parts[0].name = "Arm"
    bpy.ops.ed.undo_push(message="renamed")
    bpy.ops.ed.undo()
    assert bpy.data.objects[name].data.partsam.parts[0].name == old
    bpy.ops.object.mode_set(mode="OBJECT")


def named_groups(kind):
    """Settings of a type of Blender that name vertex groups."""
    settings = kind.bl_rna.properties
    return {p.identifier for p in settings if p.type == "STRING" and "vertex_group" in p.identifier}


def test_every_place_that_names_vertex_groups_is_known(addon):
    """What is named outside of modifiers and shape keys belongs to modifiers that parts do not keep."""
    left_out = addon("separation.separation").WHOLE_MESH_BOUND
    modifiers = {
        "ClothSettings": "CLOTH",
        "ClothCollisionSettings": "CLOTH",
        "SoftBodySettings": "SOFT_BODY",
        "FluidFlowSettings": "FLUID",
        "ParticleSystem": "PARTICLE_SYSTEM",
    }
    assert set(modifiers.values()) <= left_out
    kinds = [kind for name in dir(bpy.types) if hasattr(kind := getattr(bpy.types, name), "bl_rna")]
    places = {kind.bl_rna.identifier for kind in kinds if named_groups(kind)}
    places -= {kind.bl_rna.identifier for kind in kinds if issubclass(kind, bpy.types.Modifier)}
    others = {"ShapeKey", "Lattice"}
    grease_pencil = {name for name in places if "Gpencil" in name or "GreasePencil" in name}
    assert places - others - grease_pencil == set(modifiers)
