# SPDX-License-Identifier: GPL-3.0-or-later
"""What artists do after the first press: edit, cut again, split, join, save, several objects. No backend."""

from __future__ import annotations

from types import SimpleNamespace

import bpy
import numpy as np
import pytest
from meshes import activate, cube, grid, select_polygons, voxels
from segmenting import tick_until
from test_parts import columns, ids


@pytest.fixture
def parts(addon):
    return addon("parts")


@pytest.fixture
def session(addon):
    return addon("session").get_session()


def give_tree(parts, obj, *, faces=None, title=""):
    """A level whose parts are one, two halves, then the four quarters (by column) of an 8 x 8 grid.

    faces: bool [P], only these; None: the whole mesh
    """
    atoms = columns(8, range(1, 8))
    steps = np.stack([np.zeros(8), np.arange(8) // 4, np.arange(8) // 2]).astype(np.int32)
    confidences = np.array([[0.9, 0, 0, 0], [0.8, 0.7, 0, 0], [0.6, 0.5, 0.4, 0.3]], dtype=np.float32)
    tree = parts.PartTree(steps, confidences)
    inside = np.ones(64, dtype=bool) if faces is None else faces
    level = parts.store_level(
        obj.data,
        np.where(inside, atoms, -1),
        tree,
        tree_id="tree",
        cut=parts.Cut(1.0, None),
        title=title,
        whole=faces is None,
    )
    labels, confidence = parts.cut_labels(obj.data, level, 1.0)
    parts.write_labels(obj.data, labels, confidences=confidence)
    parts.note_cut(obj.data, level, parts.Cut(1.0, None))


@pytest.fixture
def quarters(parts):
    """An 8 x 8 grid in four parts of two columns each, with its tree."""
    obj = grid(8)
    give_tree(parts, obj)
    bpy.ops.ed.undo_push(message="segmented")
    return obj


def cut(granularity):
    return bpy.ops.partsam.cut("EXEC_DEFAULT", True, granularity=granularity, refine=False)


def column_ids(obj, parts):
    """The part of each column of an 8 x 8 grid whose columns are each in one part."""
    rows = ids(obj, parts).reshape(8, 8)
    assert (rows == rows[0]).all()
    return rows[0].tolist()


def test_granularity_works_from_the_stored_tree(quarters, parts):
    assert column_ids(quarters, parts) == [1, 1, 2, 2, 3, 3, 4, 4]
    assert [part.confidence for part in quarters.data.partsam.parts] == pytest.approx(
        [0.6, 0.5, 0.4, 0.3], abs=1e-3
    )
    assert cut(0.5) == {"FINISHED"}
    left, right = [part.part_id for part in quarters.data.partsam.parts]
    assert column_ids(quarters, parts) == [left] * 4 + [right] * 4
    assert [part.confidence for part in quarters.data.partsam.parts] == pytest.approx([0.8, 0.7], abs=1e-3)
    cut(0.0)
    assert len(set(column_ids(quarters, parts))) == 1


def test_the_slider_leaves_no_holes_in_the_numbers(quarters, parts):
    for granularity, numbers in ((0.5, [1, 2]), (1.0, [1, 2, 3, 4]), (0.0, [1])):
        cut(granularity)
        assert [part.part_id for part in quarters.data.partsam.parts] == numbers
        assert [part.name for part in quarters.data.partsam.parts] == [f"Part {n}" for n in numbers]
    cut(1.0)
    quarters.data.partsam.parts[2].name = "Tail"
    cut(0.5)  # a part with a name keeps its number
    assert [(part.part_id, part.name) for part in quarters.data.partsam.parts] == [(1, "Part 1"), (3, "Tail")]


def test_a_number_of_parts_instead_of_a_granularity(addon, quarters, parts):
    for count, found, granularity in ((2, 2, 0.5), (1, 1, 0.0), (4, 4, 1.0), (3, 2, 0.5), (50, 4, 1.0)):
        assert bpy.ops.partsam.cut_to_count(count=count, refine=False) == {"FINISHED"}
        assert len(quarters.data.partsam.parts) == found
        assert quarters.data.partsam.levels[0].granularity == granularity
    api = addon("api")
    assert len(set(api.cut(quarters, strength=None, parts=2).part_ids)) == 2
    assert bpy.ops.partsam.cut("EXEC_DEFAULT", count=1, granularity=1.0, refine=False) == {"FINISHED"}
    assert len(set(column_ids(quarters, parts))) == 1
    quarters.data.partsam.levels[0].data = "not a tree"
    with pytest.raises(RuntimeError, match="damaged"):
        bpy.ops.partsam.cut_to_count(count=2, refine=False)


def test_granularity_works_after_reload_and_on_a_copy(quarters, parts, tmp_path):
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "saved.blend"))
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "saved.blend"))
    obj = bpy.data.objects["grid"]
    activate(obj)
    copy = obj.copy()
    copy.data = obj.data.copy()
    bpy.context.scene.collection.objects.link(copy)
    activate(obj)
    cut(0.5)
    assert len(set(column_ids(obj, parts))) == 2 and len(set(column_ids(copy, parts))) == 4
    activate(copy)
    cut(0.0)
    assert len(set(column_ids(obj, parts))) == 2 and len(set(column_ids(copy, parts))) == 1


def test_the_tree_takes_little_and_can_be_dropped(quarters, parts):
    assert 0 < parts.stored_bytes(quarters.data) < 4 * 64 + 300
    assert bpy.ops.partsam.tree_drop() == {"FINISHED"}
    assert parts.stored_bytes(quarters.data) == 0 and ".partsam_tree" not in quarters.data.attributes
    assert column_ids(quarters, parts) == [1, 1, 2, 2, 3, 3, 4, 4]
    with pytest.raises(RuntimeError, match="press Segment first"):
        cut(0.5)


def test_a_damaged_tree_is_refused_with_a_sentence(quarters, parts):
    quarters.data.partsam.levels[0].data = "not a tree"
    with pytest.raises(RuntimeError, match="damaged"):
        cut(0.5)
    assert column_ids(quarters, parts) == [1, 1, 2, 2, 3, 3, 4, 4]


def test_every_tree_reads_back_as_it_was_written(parts):
    random = np.random.default_rng(7)
    for atoms, labels in ((1, 1), (300, 40)):
        steps = np.sort(random.integers(0, labels, (33, atoms)), axis=0).astype(np.int32)
        tree = parts.PartTree(steps, random.random((33, labels)).astype(np.float16))
        again = parts.PartTree.from_text(tree.to_text())
        assert (again.labels == tree.labels).all() and (again.confidences == tree.confidences).all()


def test_edits_by_hand_outrank_the_cut(quarters, parts):
    bpy.ops.partsam.part_merge(part=1, into="2")
    select_polygons(quarters, [7, 15])
    bpy.ops.partsam.part_new_from_selected(name="Patch")
    before = ids(quarters, parts)
    table = {part.name: part.by_hand for part in quarters.data.partsam.parts}
    assert table == {"Part 2": True, "Part 3": False, "Part 4": False, "Patch": True}
    cut(1.0)
    assert (ids(quarters, parts) == before).all()
    cut(0.5)
    after = ids(quarters, parts)
    assert (after[np.isin(before, [1, 2])] == before[np.isin(before, [1, 2])]).all()
    assert len(set(after[~np.isin(before, [1, 2])].tolist())) == 1  # the right half, less the patch
    cut(1.0)
    assert (ids(quarters, parts) == before).all()


def test_a_deleted_part_stays_deleted_and_its_neighbors_follow(quarters, parts):
    bpy.ops.partsam.part_delete(part=2)
    assert column_ids(quarters, parts) == [1, 1, 1, 3, 3, 3, 4, 4]
    assert not any(part.by_hand for part in quarters.data.partsam.parts)
    cut(0.5)
    assert len(set(column_ids(quarters, parts))) == 2
    cut(1.0)
    again = column_ids(quarters, parts)
    assert len(set(again)) == 3 and again[0] == again[2] != again[3] == again[5] != again[6]
    bpy.ops.partsam.parts_release()
    cut(1.0)
    assert len(set(column_ids(quarters, parts))) == 4


def test_small_parts_are_removed_at_once(quarters, parts):
    select_polygons(quarters, [0, 1])
    bpy.ops.partsam.part_new_from_selected()
    parts.write_labels(quarters.data, np.where(np.arange(64) == 40, 9, parts.KEEP))
    bpy.ops.partsam.parts_remove_small(share=0.1)
    by_hand = [part.by_hand for part in quarters.data.partsam.parts]
    assert len(by_hand) == 5 and by_hand.count(True) == 1  # what was made by hand is never too small


def test_split_again_is_a_level_of_its_own(quarters, parts):
    half = np.isin(ids(quarters, parts), [1, 2])
    cut(0.5)
    give_tree(parts, quarters, faces=half, title="Part 1")
    parts.set_active_part(quarters.data, int(ids(quarters, parts)[0]))
    bpy.ops.ed.undo_push(message="split")
    assert parts.driven_level(quarters.data).title == "Part 1"
    right = column_ids(quarters, parts)[4:]
    cut(0.0)
    assert len(set(column_ids(quarters, parts)[:4])) == 1 and column_ids(quarters, parts)[4:] == right
    parts.set_active_part(quarters.data, right[0])
    assert parts.driven_level(quarters.data).title == ""
    left = column_ids(quarters, parts)[:4]
    cut(1.0)
    assert column_ids(quarters, parts)[:4] == left and len(set(column_ids(quarters, parts)[4:])) == 2
    for _ in range(3):
        bpy.ops.ed.undo()
    mesh = bpy.data.objects["grid"].data
    assert [level.title for level in mesh.partsam.levels] == [""]
    assert parts.driven_level(mesh).granularity == 0.5


def test_sliders_belong_to_the_object_and_all_selected_follow(quarters, parts, session):
    other = grid(8, name="other")
    give_tree(parts, other)
    sliders = bpy.context.window_manager.partsam
    sliders.refine = False
    sliders.granularity = 0.5
    tick_until(session, lambda: not session.live.is_waiting)
    assert [len(obj.data.partsam.parts) for obj in (quarters, other)] == [4, 2]
    activate(quarters)
    assert sliders.granularity == 1.0
    activate(other)
    assert sliders.granularity == 0.5
    quarters.select_set(True)
    sliders.granularity = 0.0
    assert sliders.granularity == 0.0
    tick_until(session, lambda: not session.live.is_waiting)
    assert [len(obj.data.partsam.parts) for obj in (quarters, other)] == [1, 1]
    bpy.ops.ed.undo()
    assert [len(bpy.data.objects[name].data.partsam.parts) for name in ("grid", "other")] == [4, 2]


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


def subdivide(_obj):
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.select_all(action="SELECT")
    bpy.ops.mesh.subdivide()
    bpy.ops.object.mode_set(mode="OBJECT")


def delete_first_column(obj):
    select_polygons(obj, range(0, 64, 8))
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.delete(type="FACE")
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


def test_only_the_objects_that_were_in_edit_mode_are_in_it_again(quarters, parts):
    second, third = grid(8, name="second"), grid(8, name="third")
    for obj in (quarters, second):
        obj.select_set(True)
    third.select_set(False)
    bpy.context.view_layer.objects.active = quarters
    bpy.ops.object.mode_set(mode="EDIT")
    second.select_set(False)
    third.select_set(True)
    bpy.ops.partsam.part_merge(part=1, into="2")
    assert [obj.mode for obj in (quarters, second, third)] == ["EDIT", "EDIT", "OBJECT"]
    assert [obj.select_get() for obj in (quarters, second, third)] == [True, False, True]
    assert bpy.context.view_layer.objects.active == quarters


def test_nothing_is_written_where_one_of_several_cannot_be(quarters, parts, addon):
    writing = addon("session.writing")
    changes = [
        writing.Recut(quarters.session_uid, 1, parts.Cut(0.0, None)),
        writing.Recut(cube().session_uid, 1, parts.Cut(0.0, None)),
    ]
    with pytest.raises(addon("backend.errors").MeshError, match="part tree"):
        writing.write_changes(bpy.context, changes)
    assert len(quarters.data.partsam.parts) == 4


def test_an_operator_leaves_out_what_it_cannot_do_and_says_so(quarters, parts, capfd):
    single = grid(8, name="single")
    parts.write_labels(single.data, np.zeros(64, dtype=np.int32))
    third = grid(8, name="third")
    give_tree(parts, third)
    for obj in (quarters, single):
        obj.select_set(True)
    assert bpy.ops.partsam.apply_separate() == {"FINISHED"}
    report = capfd.readouterr().out
    assert '"single"' in report
    assert sum(obj.name.startswith("Part") for obj in bpy.data.objects) == 8


def test_library_overrides_are_refused_with_the_way_out(quarters, tmp_path):
    library = str(tmp_path / "library.blend")
    bpy.ops.wm.save_as_mainfile(filepath=library)
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    with bpy.data.libraries.load(library, link=True) as (_, wanted):
        wanted.objects = ["grid"]
    linked = bpy.data.objects["grid"]
    override = linked.override_create(remap_local_usages=True)
    override.data.override_create(remap_local_usages=True)
    bpy.context.scene.collection.objects.link(override)
    activate(override)
    for operator in (bpy.ops.partsam.part_delete, bpy.ops.partsam.parts_clear, bpy.ops.partsam.segment):
        with pytest.raises(RuntimeError, match="Make Local"):
            operator()
    assert len(override.data.partsam.parts) == 4


def test_instances_get_a_sentence_that_helps(addon):
    group = bpy.data.node_groups.new("instances", "GeometryNodeTree")
    group.interface.new_socket("Geometry", in_out="OUTPUT", socket_type="NodeSocketGeometry")
    box, instance = group.nodes.new("GeometryNodeMeshCube"), group.nodes.new("GeometryNodeGeometryToInstance")
    output = group.nodes.new("NodeGroupOutput")
    group.links.new(box.outputs[0], instance.inputs[0])
    group.links.new(instance.outputs[0], output.inputs[0])
    obj = cube()
    obj.modifiers.new("nodes", "NODES").node_group = group
    exchange = addon("mesh_exchange")
    with pytest.raises(addon("backend.errors").MeshError, match="Realize Instances"):
        exchange.read_shape(bpy.context, [obj], exchange.ReadSettings(evaluated=True))


def test_a_mesh_that_is_edited_through_another_object(quarters, parts):
    twin = quarters.copy()
    bpy.context.scene.collection.objects.link(twin)
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.context.view_layer.objects.active = twin
    bpy.ops.partsam.part_merge(part=1, into="2")
    assert len(quarters.data.partsam.parts) == 3
    assert (quarters.mode, twin.mode) == ("EDIT", "OBJECT")


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


def test_checked_parts_become_one(quarters, parts):
    table = quarters.data.partsam.parts
    table[0].checked = table[2].checked = True
    bpy.ops.partsam.parts_merge_checked()
    assert len(table) == 3 and len({column_ids(quarters, parts)[i] for i in (0, 1, 4, 5)}) == 1
    assert not any(part.checked for part in table)
    with pytest.raises(RuntimeError, match="at least two"):
        bpy.ops.partsam.parts_merge_checked()


def test_the_list_is_sorted_by_size_at_first(quarters, parts, addon):
    bpy.ops.partsam.part_merge(part=3, into="4")
    table = quarters.data.partsam.parts
    table[0].name = "Zebra"
    places = addon("ui.list_rows").places
    assert places(table, "SIZE") == [1, 2, 0]
    assert places(table, "NAME") == [2, 0, 1]
    assert places(table, "CONFIDENCE") == [0, 1, 2]
    text = addon("ui.list_rows").confidence_text
    assert [text(value) for value in (0.0, -1.0, 0.5)] == ["–", "–", "50%"]


def test_numbers_that_are_told_are_those_of_the_list(quarters, parts, addon):
    inside = np.where(np.arange(64) % 8 < 2, 0, -1)
    obj = grid(8, name="partly")
    parts.write_labels(obj.data, inside.astype(np.int32))
    part = obj.data.partsam.parts[0]
    assert part.area / obj.data.partsam.area == pytest.approx(0.25)
    summary = addon("operators.running").summary
    assert summary([quarters]) == "4 parts"
    assert summary([obj]) == "One part"
    assert summary([quarters, obj]) == "5 parts in 2 meshes"


def test_logs_show_no_arrays(addon):
    requests = addon("backend_process.requests")
    request = requests.encode({"vertices": np.zeros((9, 3)), "triangles": np.zeros((3, 3), dtype=np.int32)})
    assert "array" not in repr(request).replace("arrays_on_demand", "")


def test_merging_offers_neighbors_first(quarters, addon):
    items = addon("operators.parts_list")._merge_targets
    quarters.data.partsam.active_index = 3

    class Operator:
        part, touching = 0, ""

    found = items(Operator, bpy.context)
    assert [item[1] for item in found] == ["Neighbor", "Part 3", "Part 1", "Part 2"]
    assert [item[2].startswith("It touches") for item in found[1:]] == [True, False, False]
    bpy.ops.object.mode_set(mode="EDIT")
    Operator.touching = "2 1"  # as found before the popup opens
    assert [item[1] for item in items(Operator, bpy.context)][1:3] == ["Part 2", "Part 1"]


def test_panels_have_edited_meshes_counted_again(quarters, parts, session):
    delete_first_column(quarters)
    assert parts.is_outdated(quarters.data)
    session.count_again(quarters)
    session.tick()
    assert not parts.is_outdated(quarters.data)
    assert [part.face_count for part in quarters.data.partsam.parts] == [8, 16, 16, 16]


def test_progress_is_one_bar_for_the_whole_work(addon):
    progress = addon("session.progress").WorkProgress(steps=2)
    shown = [progress.advance(*job) for job in (("encode", 1.0), ("prompts", 0.5), ("load model", 0.0))]
    assert shown == pytest.approx([0.175, 0.275, 0.275])
    progress.step = 1
    assert progress.advance("refine", 1.0) == 1.0
    assert addon("session.progress").clock(754.9) == "12:34"
    run = SimpleNamespace(title="Segmenting", job=SimpleNamespace(stage="prompts"))
    told = SimpleNamespace(run=run, progress=progress, waits_for="", elapsed=67.0)
    assert addon("ui.panels").progress_text(told) == "Looking for parts · 2 of 2 objects · 1:07"


def test_the_log_of_the_last_run_opens_before_the_backend_starts(session, addon, monkeypatch, tmp_path):
    monkeypatch.setattr(session, "backend", None)
    operators = addon("operators.backend")
    monkeypatch.setattr(operators, "working_folder", lambda: tmp_path)
    with pytest.raises(RuntimeError, match="never been started"):
        bpy.ops.partsam.open_log()
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "backend-7.log").write_text("a line")
    assert operators.newest_log().name == "backend-7.log"
