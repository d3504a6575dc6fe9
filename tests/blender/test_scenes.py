# SPDX-License-Identifier: GPL-3.0-or-later
"""What artists do after the first press: several objects, libraries, instances, the list. No backend."""

from __future__ import annotations

from types import SimpleNamespace

import bpy
import numpy as np
import pytest
from meshes import activate, cube, grid
from part_trees import column_ids, delete_first_column, give_tree


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


def test_what_is_no_mesh_is_told_the_way_to_one(addon):
    problem = addon("mesh_exchange").editable_problem
    scene = bpy.context.scene.collection
    made = {
        "text": bpy.data.curves.new("text", "FONT"),
        "camera": bpy.data.cameras.new("camera"),
        "empty": None,
        "instance": None,
    }
    objects = {name: bpy.data.objects.new(name, data) for name, data in made.items()}
    objects["instance"].instance_type = "COLLECTION"
    objects["instance"].instance_collection = bpy.data.collections.new("collection")
    for obj in objects.values():
        scene.objects.link(obj)
    assert "Object > Convert > Mesh" in problem(objects["text"])
    assert "Make Instances Real" in problem(objects["instance"])
    for name in ("camera", "empty"):
        assert problem(objects[name]) == f'"{name}" is not a mesh; select a mesh object first'


def test_functions_for_scripts_say_what_is_no_mesh(addon):
    api, error = addon("api"), addon("backend.errors").MeshError
    empty = bpy.data.objects.new("empty", None)
    clicked = api.Prediction(np.ones(1, dtype=bool), 1.0)
    for obj, problem in ((empty, "is not a mesh"), (None, "Select a mesh")):
        for call in (
            api.segment,
            api.cut,
            lambda obj: api.predict(obj, [(0, 0, 0)], [1]),
            lambda obj: api.predict_parts(obj, [[(0, 0, 0)]]),
            lambda obj: api.add_part(obj, clicked),
        ):
            with pytest.raises(error, match=problem):
                call(obj)


def test_a_mesh_that_is_edited_through_another_object(quarters, parts):
    twin = quarters.copy()
    bpy.context.scene.collection.objects.link(twin)
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.context.view_layer.objects.active = twin
    bpy.ops.partsam.part_merge(part=1, into="2")
    assert len(quarters.data.partsam.parts) == 3
    assert (quarters.mode, twin.mode) == ("EDIT", "OBJECT")


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


def test_a_hidden_object_is_called_so_and_is_not_clicked(quarters, addon):
    notices = addon("operators.segment").PARTSAM_OT_segment.warnings
    notice = addon("mesh_exchange").hidden_notice
    assert notice(quarters) is None and not notices(None, bpy.context) and bpy.ops.partsam.part_pick.poll()
    quarters.hide_set(True)
    assert bpy.context.object == quarters  # hidden, it stays the active one
    assert "is hidden" in notices(None, bpy.context)[0]
    assert not bpy.ops.partsam.part_pick.poll() and not bpy.ops.partsam.click_part.poll()
    assert bpy.ops.partsam.segment.poll()


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
