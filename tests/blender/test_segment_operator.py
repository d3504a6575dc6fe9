# SPDX-License-Identifier: GPL-3.0-or-later
"""From a selection to parts with the real backend process: in scripts and as the window does it."""

from __future__ import annotations

from functools import partial

import bpy
import numpy as np
import pytest
from meshes import cube, grid, select_polygons
from segmenting import LEFT_BALL, RIGHT_BALL, dumbbell, needs_backend, part_ids, tick_until, use_real_backend

pytestmark = needs_backend

PROMPTS = 16


@pytest.fixture(autouse=True)
def backend(monkeypatch):
    use_real_backend(monkeypatch)


@pytest.fixture
def session(addon):
    return addon("session").get_session()


def segment(**settings):
    return bpy.ops.partsam.segment(**{"prompts": PROMPTS, **settings})


def start(addon, session, *, asked=None, poses=1, **settings):
    """What the Segment button does, up to the timer."""
    reading, steps = addon("session.reading"), addon("session.find_parts")
    tasks = reading.read_tasks(
        bpy.context, [bpy.context.object], addon("mesh_exchange").ReadSettings(), **settings
    )
    flow = steps.segment(session, tasks, steps.SegmentSettings(prompts=PROMPTS, poses=poses))
    finish = partial(addon("operators.running").finish_in_window, "Segment", asked=asked)
    session.start("Segmenting", flow, done=finish)


def test_every_face_gets_a_part_and_the_list_describes_them():
    obj = dumbbell()
    assert segment() == {"FINISHED"}
    ids = part_ids(obj)
    assert ids.min() >= 1
    table = {part.part_id: part for part in obj.data.partsam.parts}
    assert set(table) == set(ids.tolist())
    for part_id, part in table.items():
        assert part.face_count == (ids == part_id).sum()
        assert 0 <= part.confidence <= 1
    areas = [table[part_id].area for part_id in sorted(table)]
    assert areas == pytest.approx(sorted(areas, reverse=True), rel=1e-4)  # Part 1 is the largest


def test_the_two_balls_of_a_dumbbell_are_parts():
    obj = dumbbell()
    segment(prompts=48)
    left, right = (most_common(part_ids(obj)[ball]) for ball in (LEFT_BALL, RIGHT_BALL))
    assert left != right
    assert (part_ids(obj)[LEFT_BALL] == left).mean() > 0.8
    assert (part_ids(obj)[RIGHT_BALL] == right).mean() > 0.8


def most_common(ids):
    return int(np.bincount(ids).argmax())


def test_the_same_seed_gives_the_same_parts_and_encodes_once(session):
    obj = dumbbell()
    segment()
    first = part_ids(obj)
    process = session.backend.pid
    log = session.backend.log_path
    before = len(log.read_text(encoding="utf-8"))  # earlier tests break backends on purpose
    segment()
    assert (part_ids(obj) == first).all()
    assert session.backend.pid == process
    assert "Traceback" not in log.read_text(encoding="utf-8")[before:]


def test_granularity_cuts_the_last_result_without_inference(session):
    obj = dumbbell()
    segment(granularity=0.5)
    (tree,) = (level.tree_id for level in obj.data.partsam.levels)
    counts = []
    for granularity in (0.0, 0.5, 1.0):
        assert bpy.ops.partsam.cut(granularity=granularity, refine=False) == {"FINISHED"}
        counts.append(len(np.unique(part_ids(obj))))
        assert [level.tree_id for level in obj.data.partsam.levels] == [tree]
    assert counts == sorted(counts)


def test_several_poses_make_one_undo_step_and_a_tree_that_needs_no_backend(addon, session, monkeypatch):
    dumbbell()
    segment()
    bpy.ops.partsam.parts_clear()
    obj = bpy.context.object
    bpy.ops.ed.undo_push(message="made")
    sent, send = [], session.backend.send
    monkeypatch.setattr(session.backend, "send", lambda request: sent.append(request) or send(request))
    bpy.ops.partsam.segment("EXEC_DEFAULT", True, prompts=PROMPTS, poses=2)
    (asked,) = (request.fields for request in sent if request.kind == "segment_every_part")
    assert asked["poses"] == 2
    sent.clear()
    bpy.ops.partsam.cut(granularity=0.0, refine=False)
    assert not sent and len(np.unique(part_ids(obj))) == 1
    bpy.ops.ed.undo()
    assert "partsam_part" not in bpy.context.object.data.attributes
    bpy.context.scene.partsam.poses = 2
    bpy.context.scene.partsam.prompts = PROMPTS
    assert (addon("api").segment(bpy.context.object, prompts=PROMPTS).part_ids > 0).all()
    bpy.ops.partsam.split_part()
    assert [request.fields["poses"] for request in sent if "poses" in request.fields] == [1, 2]


def test_cut_needs_a_segmentation():
    cube()
    with pytest.raises(RuntimeError, match="press Segment first"):
        bpy.ops.partsam.cut()


def test_one_undo_step_each():
    obj = dumbbell()
    bpy.ops.ed.undo_push(message="made")
    name = obj.name
    bpy.ops.partsam.segment("EXEC_DEFAULT", True, prompts=PROMPTS)
    labels = part_ids(obj)
    bpy.ops.ed.undo()
    assert "partsam_part" not in bpy.data.objects[name].data.attributes
    assert len(bpy.data.objects[name].data.partsam.parts) == 0
    bpy.ops.ed.redo()
    assert (part_ids(bpy.data.objects[name]) == labels).all()


def test_parts_survive_saving_and_loading(tmp_path):
    obj = dumbbell()
    segment()
    labels, names = part_ids(obj), [part.name for part in obj.data.partsam.parts]
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "saved.blend"))
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "saved.blend"))
    loaded = bpy.data.objects["dumbbell"]
    assert (part_ids(loaded) == labels).all()
    assert [part.name for part in loaded.data.partsam.parts] == names


def test_edit_mode_is_returned_to():
    obj = dumbbell()
    bpy.ops.object.mode_set(mode="EDIT")
    segment()
    assert obj.mode == "EDIT"
    bpy.ops.object.mode_set(mode="OBJECT")
    assert part_ids(obj).min() >= 1


def test_selected_faces_only_leaves_the_others_alone(addon):
    obj = grid(8)
    addon("parts").write_labels(obj.data, np.zeros(64, dtype=np.int32))
    select_polygons(obj, range(32))
    segment(selected_faces_only=True)
    ids = part_ids(obj)
    assert (ids[32:] == 1).all()
    assert 1 not in ids[:32]


def test_selected_faces_only_needs_a_selection():
    obj = grid(4)
    select_polygons(obj, [])
    with pytest.raises(RuntimeError, match="No face"):
        segment(selected_faces_only=True)


def test_split_again_stays_inside_the_part(addon):
    obj = grid(8)
    addon("parts").write_labels(obj.data, (np.arange(64) >= 32).astype(np.int32))
    obj.data.partsam.active_index = 1
    bpy.context.scene.partsam.prompts = PROMPTS
    assert bpy.ops.partsam.split_part() == {"FINISHED"}
    ids = part_ids(obj)
    assert (ids[:32] == 1).all()
    assert 1 not in ids[32:]


def test_split_again_refuses_a_locked_part(addon):
    obj = grid(4)
    addon("parts").write_labels(obj.data, np.zeros(16, dtype=np.int32))
    obj.data.partsam.parts[0].locked = True
    assert not bpy.ops.partsam.split_part.poll()


def test_locked_parts_keep_their_faces(addon):
    obj = dumbbell()
    count = len(obj.data.polygons)
    addon("parts").write_labels(obj.data, (np.arange(count) < 40).astype(np.int32))
    locked = part_ids(obj) == part_ids(obj)[0]
    next(part for part in obj.data.partsam.parts if part.part_id == part_ids(obj)[0]).locked = True
    segment()
    assert (part_ids(obj)[locked] == part_ids(obj)[0]).all()
    assert part_ids(obj)[0] not in part_ids(obj)[~locked]


def test_several_objects_in_turn_or_as_one(session):
    first, second = cube(name="first"), grid(3, name="second")
    first.select_set(True)
    segment(several="EACH")
    assert held(session, first).parts_id != held(session, second).parts_id
    segment(several="JOINED")
    assert held(session, first).parts_id == held(session, second).parts_id
    assert held(session, second).shape_faces == 12 + 18
    assert part_ids(first).min() >= 1 and part_ids(second).min() >= 1
    bpy.ops.partsam.cut(granularity=0.0)
    assert [obj.data.partsam.levels[-1].granularity for obj in (first, second)] == [0.0, 0.0]


def held(session, obj):
    """What the backend holds of the only level of `obj` that has faces."""
    (level,) = (level for level in obj.data.partsam.levels if level.face_count)
    return session.held.get(level.tree_id)


def test_a_shared_mesh_is_segmented_once(session):
    first = dumbbell()
    copy = bpy.data.objects.new("copy", first.data)
    bpy.context.scene.collection.objects.link(copy)
    copy.select_set(True)
    segment()
    assert held(session, first).source.object_uid == first.session_uid
    assert held(session, first).shape_faces == 2 * held(session, first).source.polygon_count


@pytest.mark.parametrize("is_instance", [True, False])
def test_a_mirrored_copy_beside_a_mesh_gets_its_parts(session, is_instance):
    first = dumbbell()
    segment()
    alone = part_ids(first)
    copy = bpy.data.objects.new("copy", first.data if is_instance else first.data.copy())
    bpy.context.scene.collection.objects.link(copy)
    copy.scale.x, copy.location.y = -1, 3
    copy.select_set(True)
    bpy.context.view_layer.update()
    segment(several="JOINED")
    assert part_ids(first).tolist() == part_ids(copy).tolist() == alone.tolist()
    for obj in (first, copy):  # seen alone: beside another of its size it would have fewer parts
        assert held(session, obj).shape_faces == held(session, obj).source.triangle_count
    bpy.ops.partsam.cut(granularity=0.0)
    assert part_ids(first).tolist() == part_ids(copy).tolist()


def test_copies_share_one_refinement(session, addon, monkeypatch):
    first = dumbbell()
    copy = bpy.data.objects.new("copy", first.data.copy())
    bpy.context.scene.collection.objects.link(copy)
    copy.location.y = 3
    copy.select_set(True)
    bpy.context.view_layer.update()
    steps, parts = addon("session.find_parts"), addon("parts")
    tasks = addon("session.reading").read_tasks(
        bpy.context, [first, copy], addon("mesh_exchange").ReadSettings(), joined=True
    )
    settings = steps.SegmentSettings(prompts=PROMPTS, cut=parts.Cut())
    found = session.run_now(steps.segment(session, tasks, settings))
    sent, send = [], session.send
    monkeypatch.setattr(session, "send", lambda request: sent.append(request) or send(request))
    again = session.run_now(steps.cut_found(session, found, parts.Cut(1.0, strength=1.0)))
    assert len(again) == 2 and len(sent) == 1
    assert again[0].labels.tolist() == again[1].labels.tolist()


def test_of_two_halves_that_share_a_mesh_the_active_one_says_what_it_gets(session):
    """Modelled with a mirrored instance: one shape, whose labels the mesh can hold for one side only."""
    half = dumbbell()
    other = bpy.data.objects.new("other", half.data)
    bpy.context.scene.collection.objects.link(other)
    other.scale.x, other.location.x = -1, 5.9
    other.select_set(True)
    bpy.context.view_layer.update()
    segment(several="JOINED")
    assert held(session, half).shape_faces == 2 * held(session, half).source.triangle_count
    assert held(session, half).start == 0 and held(session, half).source.object_uid == half.session_uid
    assert len(half.data.partsam.levels) == 1


def test_modifiers_are_looked_at_and_labels_mapped_back():
    obj = cube()
    obj.modifiers.new("smooth", "SUBSURF").levels = 3
    segment(source="EVALUATED")
    assert len(part_ids(obj)) == 6 and part_ids(obj).min() >= 1


@pytest.mark.parametrize("scale", [(-1, 1, 1), (100, 100, 100), (0.001, 0.001, 0.001)])
def test_mirrored_and_scaled_objects(scale):
    obj = dumbbell()
    obj.scale = scale
    bpy.context.view_layer.update()
    segment()
    assert part_ids(obj).min() >= 1


def test_poll_says_what_is_missing():
    assert not bpy.ops.partsam.segment.poll()
    bpy.ops.object.light_add()
    assert not bpy.ops.partsam.segment.poll()
    with pytest.raises(RuntimeError, match="not a mesh"):
        bpy.ops.partsam.segment()
    cube()
    assert bpy.ops.partsam.segment.poll()


def test_in_the_window_it_runs_behind_and_is_one_undo_step(addon, session):
    obj = dumbbell()
    name = obj.name
    bpy.ops.ed.undo_push(message="made")
    start(addon, session)
    assert session.is_busy and "partsam_part" not in obj.data.attributes
    stages = set()
    tick_until(session, lambda: (session.run and stages.add(session.run.title)) or not session.is_busy)
    assert session.problem is None
    assert part_ids(bpy.data.objects[name]).min() >= 1
    bpy.ops.ed.undo()
    assert "partsam_part" not in bpy.data.objects[name].data.attributes


def test_the_redo_panel_cuts_what_was_found_in_the_window(addon, session, monkeypatch):
    dumbbell()
    bpy.ops.ed.undo_push(message="made")
    values = {
        "prompts": PROMPTS,
        "poses": 1,
        "seed": 0,
        "keep_edits": True,
        "source": "BASE",
        "several": "EACH",
    }
    values |= {"selected_faces_only": False}
    start(addon, session, asked={"operator": "partsam.segment", **values})
    tick_until(session, lambda: not session.is_busy)
    assert session.problem is None
    bpy.ops.ed.undo()
    assert "partsam_part" not in bpy.context.object.data.attributes
    sent, send = [], session.backend.send
    monkeypatch.setattr(session.backend, "send", lambda request: sent.append(request.kind) or send(request))
    for settings, kinds in (({"granularity": 0.0}, ["refine"]), ({"refine": False, "granularity": 1.0}, [])):
        sent.clear()
        bpy.ops.partsam.segment("EXEC_DEFAULT", True, **values, **settings, is_found=True)
        assert sent == kinds
        assert bpy.context.object.data.partsam.levels[0].granularity == settings["granularity"]
        assert part_ids(bpy.context.object).min() >= 1
        bpy.ops.ed.undo()
    bpy.ops.partsam.segment("EXEC_DEFAULT", True, **(values | {"poses": 2}), is_found=True)
    assert "segment_every_part" in sent  # something else was asked


def test_another_idle_time_reaches_the_running_backend(addon, session, monkeypatch):
    dumbbell()
    segment()
    chosen = addon("session.choices").preferences()
    sent, send = [], session.backend.send
    monkeypatch.setattr(session.backend, "send", lambda request: sent.append(request) or send(request))
    before, chosen.idle_minutes = chosen.idle_minutes, 7
    try:
        segment()
    finally:
        chosen.idle_minutes = before
    told = [request.fields for request in sent if request.kind == "configure"]
    assert told == [{"idle_release_seconds": 420.0}]


def test_renaming_meanwhile_is_no_problem(addon, session):
    obj = dumbbell()
    start(addon, session)
    obj.name = "renamed"
    tick_until(session, lambda: not session.is_busy)
    assert session.problem is None
    assert part_ids(bpy.data.objects["renamed"]).min() >= 1


def test_cancel_changes_nothing(addon, session):
    obj = dumbbell()
    start(addon, session, poses=4)
    assert bpy.ops.partsam.cancel() == {"FINISHED"}
    tick_until(session, lambda: not session.is_busy)
    assert session.problem is None
    assert any("Cancelled" in notice for notice in session.notices)
    assert "partsam_part" not in obj.data.attributes
    assert segment() == {"FINISHED"}  # the backend goes on serving


def test_cancel_while_the_result_waits_changes_nothing(addon, session, monkeypatch):
    """Also while what it waits for goes on: here a mouse button that is held down."""
    obj = dumbbell()
    start(addon, session)
    monkeypatch.setattr(addon("session.input_watch").InputWatch, "is_taken", True)
    tick_until(session, lambda: bool(session.waits_for))
    session.tick()
    assert session.is_busy
    assert bpy.ops.partsam.cancel() == {"FINISHED"}
    tick_until(session, lambda: not session.is_busy)
    assert session.notices == ("Cancelled; nothing was changed",)
    assert "partsam_part" not in obj.data.attributes


def test_sliders_follow_and_stale_positions_are_dropped(session):
    obj = dumbbell()
    segment()
    bpy.ops.ed.undo_push(message="segmented")
    sliders = bpy.context.window_manager.partsam
    for granularity in (0.1, 0.9, 0.2, 0.7):
        sliders.granularity = granularity
    tick_until(session, lambda: not session.live.is_waiting)
    assert session.problem is None
    assert obj.data.partsam.levels[0].granularity == sliders.granularity == pytest.approx(0.7)


@pytest.mark.parametrize("strength", [None, 1.0])
def test_about_so_many_parts(addon, strength):
    obj = dumbbell()
    api = addon("api")
    for wanted in (1, 2):
        found = api.segment(obj, prompts=PROMPTS, parts=wanted, strength=strength)
        assert len(set(found.part_ids)) == wanted == len(obj.data.partsam.parts)


def test_so_many_parts_with_those_made_by_hand(addon):
    obj = dumbbell()
    api, labels = addon("api"), np.full(len(obj.data.polygons), -1)
    labels[LEFT_BALL][:64] = 0
    addon("parts").write_labels(obj.data, labels, by_hand=True)
    for wanted in (2, 3):
        api.segment(obj, prompts=PROMPTS, parts=wanted)
        assert len(obj.data.partsam.parts) == wanted
    obj.data.partsam.parts[0].locked = True
    bpy.ops.partsam.segment(prompts=PROMPTS, count=2, keep_edits=False)
    assert len(obj.data.partsam.parts) == 2


def test_the_script_api(addon):
    api = addon("api")
    obj = dumbbell()
    found = api.segment(obj, prompts=PROMPTS, poses=2, granularity=0.3)
    assert (found.part_ids == part_ids(obj)).all()
    assert set(found.confidence) == set(part_ids(obj).tolist())
    finer = api.cut(obj, granularity=1.0, strength=None)
    assert len(finer.confidence) >= 1
    part = api.predict(obj, [(-3, 0, 0)], [1])
    assert part.polygons[LEFT_BALL].mean() > 0.9 and not part.polygons[RIGHT_BALL].any()
    assert 0.5 < part.score <= 1
    (corner,) = LEFT_BALL.indices(1)[:1]
    middle = obj.data.polygons[corner].center[:]
    smallest = api.predict(obj, [middle], [1], size=1e-4, candidates=True)
    assert all(one.polygons[corner] for one in smallest if one.polygons.sum() == 1)
    assert all(one.polygons.any() for one in smallest)
    left, right = api.predict_parts(obj, [[(-3, 0, 0)], [(3, 0, 0)]])
    assert left.polygons[LEFT_BALL].mean() > 0.9 and right.polygons[RIGHT_BALL].mean() > 0.9
    assert not (left.polygons & right.polygons).any()
    ball = api.add_part(obj, part, name="Ball")
    assert (part_ids(obj) == ball).tolist() == part.polygons.tolist()
    assert "Ball" in obj.data.partsam.parts
    with pytest.raises(api.PartSAMError, match="one label for each"):
        api.predict(obj, [(0, 0, 0)], [])
    with pytest.raises(api.PartSAMError, match="size is 'tiny'; give a share"):
        api.predict(obj, [(0, 0, 0)], [1], size="tiny")
    api.stop()
    assert addon("session").get_session().backend is None
    coarse = api.cut(obj, granularity=0.0)  # the tree is stored with the mesh
    assert (coarse.part_ids == ball).tolist() == part.polygons.tolist()
    assert addon("session").get_session().backend is None
    with pytest.raises(api.PartSAMError, match="segment it first"):
        api.cut(cube())


def copies_of(first, count):
    """So many copies of `first` in a row, each with a mesh of its own; all selected."""
    copies = []
    for place in range(1, count + 1):
        copy = bpy.data.objects.new("copy", first.data.copy())
        bpy.context.scene.collection.objects.link(copy)
        copy.location.y = 3 * place
        copy.select_set(True)
        copies.append(copy)
    bpy.context.view_layer.update()
    return copies


def test_the_slider_asks_once_for_all_copies_and_refines_every_one(session, monkeypatch):
    first = dumbbell()
    copies = copies_of(first, 70)
    segment(several="JOINED")
    sent, send = [], session.send
    monkeypatch.setattr(session, "send", lambda request: sent.append(request.kind) or send(request))
    bpy.context.window_manager.partsam.granularity = 0.8
    assert session.live.shown(bpy.context).granularity == pytest.approx(0.8)
    tick_until(session, lambda: not session.live.is_waiting)
    assert sent == ["refine"] and session.problem is None
    for obj in (first, *copies):
        assert held(session, obj) is not None
        assert obj.data.partsam.levels[0].granularity == pytest.approx(0.8)
        assert part_ids(obj).tolist() == part_ids(first).tolist()


def test_what_the_backend_has_forgotten_is_cut_from_the_stored_tree(session, addon):
    """It holds as many segmentations as it has room for."""
    obj = dumbbell()
    segment()
    session.backend.restart()
    bpy.context.window_manager.partsam.granularity = 0.0
    tick_until(session, lambda: not session.live.is_waiting)
    assert session.problem is None and held(session, obj) is None
    assert len(set(part_ids(obj).tolist())) == 1
    segment(granularity=0.0)
    session.backend.restart()
    assert len(set(addon("api").cut(obj, granularity=1.0).part_ids)) > 1
    assert held(session, obj) is None
    assert any("segment again" in notice for notice in session.notices)


def test_the_oldest_shapes_are_forgotten_first_with_all_their_copies(session, addon, monkeypatch):
    first = dumbbell()
    (copy,) = copies_of(first, 1)
    segment(several="JOINED")
    other = cube()
    one = held(session, first).nbytes + held(session, copy).nbytes
    monkeypatch.setattr(addon("session.held"), "KEPT_BYTES", one)
    segment()
    assert held(session, other) is not None
    assert held(session, first) is None and held(session, copy) is None


def test_a_copy_that_is_gone_or_edited_holds_up_no_other(session):
    first = dumbbell()
    gone, *others = copies_of(first, 3)
    segment(several="JOINED")
    bpy.context.window_manager.partsam.granularity = 0.0
    session.tick()
    bpy.data.objects.remove(gone)
    tick_until(session, lambda: not session.live.is_waiting)
    assert "deleted" in str(session.problem.message)
    for obj in (first, *others):
        assert len(set(part_ids(obj).tolist())) == 1


def test_copies_in_edit_mode_are_written_together(session, addon, monkeypatch):
    first = dumbbell()
    copies = copies_of(first, 3)
    segment(several="JOINED")
    bpy.ops.object.mode_set(mode="EDIT")
    live, writes = addon("session.live"), []
    write = live.write_changes
    monkeypatch.setattr(live, "write_changes", lambda *given: writes.append(len(given[1])) or write(*given))
    bpy.context.window_manager.partsam.granularity = 0.0
    tick_until(session, lambda: not session.live.is_waiting)
    bpy.ops.object.mode_set(mode="OBJECT")
    assert writes == [1 + len(copies)]
    assert len(set(part_ids(first).tolist())) == 1


def test_a_second_slider_does_not_take_back_the_first(session):
    obj = dumbbell()
    segment(granularity=0.0)
    settings = bpy.context.window_manager.partsam
    settings.granularity = 1.0
    session.tick()
    settings.strength = 2.0
    tick_until(session, lambda: not session.live.is_waiting)
    level = obj.data.partsam.levels[0]
    assert (level.granularity, level.strength) == (1.0, 2.0)


def test_a_sliders_cut_keeps_its_step_where_the_backend_ends_meanwhile(session):
    """What was written before, and the user's next step, are taken back one after the other."""
    first = dumbbell()
    segment(granularity=1.0)
    before = part_ids(first).tolist()
    session.held.clear()
    (copy,) = copies_of(first, 1)
    first.select_set(False)
    bpy.context.view_layer.objects.active = copy
    segment(granularity=1.0)
    first.select_set(True)
    bpy.ops.ed.undo_push(message="Select")
    names = first.name, copy.name
    bpy.context.window_manager.partsam.granularity = 0.0
    session.tick()  # one is written, the other asked for
    session.backend.restart()
    tick_until(session, lambda: not session.live.is_waiting)
    copy.location.x = 9.0
    bpy.ops.ed.undo_push(message="Move")
    bpy.ops.ed.undo()
    first, copy = (bpy.data.objects[name] for name in names)
    assert copy.location.x == 0.0 and len(set(part_ids(first).tolist())) == 1
    bpy.ops.ed.undo()
    assert part_ids(bpy.data.objects[names[0]]).tolist() == before


def test_another_cut_of_a_shape_takes_no_more_room(session, addon, monkeypatch):
    other = dumbbell()
    segment()
    monkeypatch.setattr(addon("session.held"), "KEPT_BYTES", 3 * held(session, other).nbytes)
    other.select_set(False)
    obj = dumbbell()
    segment()
    kept = held(session, obj)
    for number in range(8):
        session.held.keep(f"redo {number}", kept)
    assert held(session, other) is not None


@pytest.mark.parametrize("active", ["EMPTY", "NONE", "UNSELECTED"])
def test_what_an_importer_leaves_selected_is_segmented(active):
    """glTF leaves the parent of the meshes active, FBX nothing, or what was active before."""
    other = cube(name="other")
    empty = bpy.data.objects.new("empty", None)
    bpy.context.scene.collection.objects.link(empty)
    obj = dumbbell()
    empty.select_set(True)
    bpy.context.view_layer.objects.active = {"EMPTY": empty, "NONE": None, "UNSELECTED": other}[active]
    assert segment() == {"FINISHED"}
    assert len(obj.data.partsam.parts) > 1
    assert bpy.context.object == obj, "the list shows its parts"
    assert not len(other.data.partsam.parts)


def test_a_click_by_a_script_is_meant_for_the_selected_mesh():
    obj = dumbbell()
    empty = bpy.data.objects.new("empty", None)
    bpy.context.scene.collection.objects.link(empty)
    bpy.context.view_layer.objects.active = empty
    assert bpy.ops.partsam.click(points="-2 0 1", name="Ball") == {"FINISHED"}
    assert next(part.name for part in obj.data.partsam.parts) == "Ball"
