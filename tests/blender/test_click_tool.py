# SPDX-License-Identifier: GPL-3.0-or-later
"""The click tool without a window: clicks, and parts with the real backend."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import bpy
import numpy as np
import pytest
from mathutils import Euler, Matrix, Vector
from meshes import grid
from segmenting import (
    LEFT_BALL,
    RIGHT_BALL,
    add_object,
    dumbbell,
    needs_backend,
    part_ids,
    tick_until,
    turned,
    use_real_backend,
)
from test_click_input import from_the_front


@pytest.fixture
def tool(addon):
    """The tool's modules by name."""
    return lambda name: addon(f"click_tool.{name}")


@pytest.fixture
def clicking(addon, tool, monkeypatch):
    """Start the tool's work on an object; the work, the session and a way to click on a polygon."""
    use_real_backend(monkeypatch)
    session = addon("session").get_session()

    def start(obj):
        work, picker = tool("operator").begin_work(bpy.context, obj, undo_message="Part by Clicks")
        session.watch(work.poll)
        work.prepare(seed=0)
        return work, picker, session

    yield start
    session.end_clicks()


def click_on(tool, obj, polygon, *, positive=True):
    return tool("prompts").Click(tuple(obj.data.polygons[polygon].center), polygon, positive)


def answered(session, work):
    tick_until(session, lambda: not work.is_thinking or work.error is not None)
    assert work.error is None


@needs_backend
def test_part_after_part_each_an_undo_step(tool, clicking, addon):
    obj = dumbbell()
    obj.matrix_world = Matrix.LocRotScale(Vector((3, 1, 0)), Euler((0.2, 0, 1)), Vector((1, 1, 1)))
    bpy.context.view_layer.update()
    bpy.ops.ed.undo_push(message="made")
    name = obj.name
    work, _picker, session = clicking(obj)
    work.add(click_on(tool, obj, 60))  # while the shape is still being encoded
    work.accept()  # queued until it is answered
    shares, texts = [], set()
    tick_until(
        session,
        lambda: shares.append(work.bar.fraction) or texts.add(work.bar.text[:9]) or len(work.accepted) == 1,
    )
    assert {"Preparing", "Accepting"} <= texts and max(shares) > 0
    assert work.part.clicks == ()
    assert part_ids(obj)[60] == work.accepted[0].part_id > 0
    shown = work.accepted[0].preview
    for step, accepted, clicks in (("undo", 0, shown.clicks), ("redo", 1, ())):
        assert work.can_redo == (step == "redo")
        getattr(bpy.ops.ed, step)()
        work.follow_undo()  # as the handlers of the tool do
        obj = bpy.data.objects[name]
        assert (len(work.accepted), work.part.clicks) == (accepted, clicks)
        assert len(obj.data.partsam.parts) == accepted
    obj.location.x += 5  # clicks are in object space
    work.add(click_on(tool, obj, 190))
    work.accept()
    tick_until(session, lambda: len(work.accepted) == 2)
    first, second = (part.part_id for part in work.accepted)
    ids = part_ids(obj)
    assert first != second
    assert (ids[LEFT_BALL] == first).mean() > 0.8
    assert (ids[RIGHT_BALL] == second).mean() > 0.8
    work.add(click_on(tool, obj, 260))
    work.leave()  # what was not accepted is not written
    tick_until(session, lambda: session.clicks is None)
    assert len(obj.data.partsam.parts) == 2
    bpy.ops.ed.undo()
    assert len(bpy.data.objects[name].data.partsam.parts) == 1
    bpy.ops.ed.undo()
    assert len(bpy.data.objects[name].data.partsam.parts) == 0


@needs_backend
def test_an_accepted_part_waits_for_what_the_user_is_in_the_middle_of(tool, clicking, addon, monkeypatch):
    obj = dumbbell()
    work, _picker, session = clicking(obj)
    watch = addon("session.input_watch").InputWatch
    with monkeypatch.context() as patch:
        patch.setattr(watch, "is_taken", True)
        work.add(click_on(tool, obj, 60))
        work.accept()
        tick_until(session, lambda: "your input" in work.bar.text)
        for _ in range(20):
            session.tick()
        assert work.is_accepting and not obj.data.partsam.parts
        assert "your input" in work.bar.text
    tick_until(session, lambda: not work.is_accepting)
    assert len(obj.data.partsam.parts) == len(work.accepted) == 1


@pytest.mark.parametrize("meanwhile", ["nothing", "another part", "a name", "edit mode"])
def test_crumbs_of_a_large_mesh_are_looked_for_beside_blender(tool, parts, addon, monkeypatch, meanwhile):
    """`write` does it itself where parts have changed since."""
    accepting, masks, cells = tool("accepting"), tool("masks"), 230
    obj = grid(cells)
    rows = np.repeat(np.arange(cells), cells)
    parts.write_labels(obj.data, (rows >= 100).astype(np.int32))
    wanted = (rows < 99) | (rows == 110) & (np.arange(cells**2) % cells < 2)  # a strip is left; a speck of it
    click = tool("prompts").Click((0.0, 0.0, 0.0), 0, True)
    answer = masks.Answer("", (click,), None, np.zeros((1, 5)), np.ones(1), np.ones(1), 0)
    part = accepting.Accepted(masks.Preview(answer, 0, wanted.astype(np.float32), wanted), wanted, None)
    source = addon("mesh_exchange").unread_source(obj)
    change = accepting.AcceptedChange(source, part)
    if meanwhile == "edit mode":
        bpy.ops.object.mode_set(mode="EDIT")
        assert change.search_crumbs() is None
        bpy.ops.object.mode_set(mode="OBJECT")
    else:
        change.search_crumbs()()
    if meanwhile == "another part":
        parts.write_labels(obj.data, np.where(rows == 99, 0, parts.KEEP), by_hand=True)
    elif meanwhile == "a name":
        obj.data.partsam.parts[1].name = "Coat"
    at_write = []
    search = accepting.without_crumbs
    monkeypatch.setattr(accepting, "without_crumbs", lambda *a, **k: at_write.append(1) or search(*a, **k))
    change.check(obj.data)
    change.write(obj.data)
    assert bool(at_write) == (meanwhile != "nothing")
    assert (change.written.polygons == (rows < (99 if meanwhile == "another part" else 100))).all()


def test_contested_polygons_go_to_whom_the_joint_answer_names(tool):
    accepting, masks, Click = tool("accepting"), tool("masks"), tool("prompts").Click

    def accepted(inside, probability, *clicked):
        inside = np.array(inside, dtype=bool)
        clicks = tuple(Click((polygon, 0, 0), polygon, True) for polygon in clicked)
        answer = masks.Answer("", clicks, None, np.zeros((1, 5)), np.ones(1), np.ones(1), 0)
        return accepting.Accepted(
            masks.Preview(answer, 0, np.array(probability), inside), inside, None, part_id=1
        )

    new = accepted([1, 1, 1, 1, 0], [1, 0.6, 0.9, 0.6, 0], 0)
    old = accepted([0, 1, 1, 1, 1], [0, 0.8, 0.8, 0.8, 1], 4)
    assert accepting.rivals_of(new, [old]) == [old]
    assert accepting.rivals_of(new, [accepted([1, 1, 1, 1, 1], [1] * 5, 4)]) == []  # carved out of it
    assert accepting.contested(new, [old]).tolist() == [True, False, True, False, False]
    joint = np.array([0, 0, 1, -1, 1])
    assert accepting.contested(new, [old], joint).tolist() == [True, True, False, False, False]
    places, parts = accepting.joint_clicks([new, old])
    assert (places[:, 0].tolist(), parts.tolist()) == ([0, 4], [0, 1])


@needs_backend
def test_parts_of_one_run_compete_for_faces(tool, clicking):
    obj = dumbbell()
    work, _picker, session = clicking(obj)
    work.add(click_on(tool, obj, 60))
    work.accept()
    tick_until(session, lambda: len(work.accepted) == 1)
    work.add(click_on(tool, obj, 190))
    tick_until(session, lambda: work.part.preview is not None and work.part.preview.refined is not None)
    too_much = work.part.preview.refined.copy()
    too_much[100:128] = True  # faces of the first part, whatever the network thinks of them
    assert work.accepted[0].polygons[100:128].any()
    work.part.preview = tool("snapping").snapped(work.part.preview, too_much)
    work.accept()
    tick_until(session, lambda: not work.is_accepting or work.error is not None)
    first, second = (part.part_id for part in work.accepted)
    ids = part_ids(obj)
    assert (ids[LEFT_BALL] == first).mean() > 0.8
    assert (ids[RIGHT_BALL] == second).mean() > 0.8

    work.add(click_on(tool, obj, 60))  # the same part again, all but two of its faces
    tick_until(session, lambda: work.part.preview is not None and work.part.preview.refined is not None)
    left = np.flatnonzero(ids == first)[-2:]
    again = ids == first
    again[left] = False
    work.part.preview = tool("snapping").snapped(work.part.preview, again)
    work.accept()
    tick_until(session, lambda: not work.is_accepting or work.error is not None)
    assert (part_ids(obj) == ids).all()
    assert [part.part_id for part in work.accepted] == [second, first]


@needs_backend
def test_accepted_parts_are_hidden_on_the_screen_until_the_tool_ends(tool, clicking, addon):
    obj = dumbbell()
    state, settings = addon("view.state"), bpy.context.window_manager.partsam_clicks
    work, picker, session = clicking(obj)
    gestures = tool("gestures").Gestures(work, picker, None)
    settings.is_running = settings.hide_accepted = True
    try:
        gestures.hover(())
        assert state.hidden_parts(obj) == frozenset()
        region = SimpleNamespace(as_pointer=lambda: 1)
        beside = SimpleNamespace(
            mouse=(0.0, 0.0), region=region, projection=lambda _obj: from_the_front(tool, obj)
        )
        with pytest.raises(addon("backend.errors").PromptError, match="is here"):
            gestures.press(beside, "CLICK")
        assert not gestures.is_dragging and not work.part.clicks
        with pytest.raises(addon("backend.errors").PromptError, match="no click to take back"):
            gestures.perform("TAKE_BACK", beside)
        work.hint = "Nothing is here"
        assert tool("cursor").cursor_lines(work)[0] == "Nothing is here"
        work.hint = ""
        work.add(click_on(tool, obj, 60))
        work.accept()
        tick_until(session, lambda: len(work.accepted) == 1)
        gestures.hover(())
        assert state.hidden_parts(obj) == {work.accepted[0].part_id}
        assert (state.is_drawn_by_overlay(obj), obj.display_type) == (True, "BOUNDS")
        bpy.ops.ed.undo_push(message="something else")  # it keeps the stand-in
        settings.hide_accepted = False
        gestures.hover(())
        assert (state.is_drawn_by_overlay(obj), obj.display_type) == (False, "TEXTURED")
        settings.is_running, settings.hidden = False, ""  # as the tool leaves them
        name = obj.name
        bpy.ops.ed.undo()
        bpy.ops.ed.redo()
        assert bpy.data.objects[name].display_type == "TEXTURED"
    finally:
        settings.is_running, settings.hide_accepted, settings.hidden = False, False, ""


@needs_backend
def test_clicks_are_obeyed_whatever_the_network_says(tool, clicking):
    obj = dumbbell()
    work, _picker, session = clicking(obj)
    with pytest.raises(Exception, match="Click on the part first"):
        work.add(click_on(tool, obj, 60, positive=False))
    work.add(click_on(tool, obj, 60), click_on(tool, obj, 61, positive=False), click_on(tool, obj, 200))
    answered(session, work)
    assert work.part.preview.polygons[[60, 61, 200]].tolist() == [True, False, True]
    work.accept()
    tick_until(session, lambda: len(work.accepted) == 1)
    ids = part_ids(obj)
    assert ids[60] == ids[200] == work.accepted[0].part_id
    assert ids[61] == 0


@needs_backend
def test_the_preview_snaps_to_creases_and_is_accepted_as_it_was_shown(tool, clicking):
    obj = dumbbell()
    work, _picker, session = clicking(obj)
    work.add(click_on(tool, obj, 60))
    tick_until(session, lambda: work.part.preview is not None and work.part.preview.refined is not None)
    shown = work.part.preview
    work.accept()
    assert work.is_accepting
    tick_until(session, lambda: work.waiting or work.accepted)
    if work.waiting:  # it stays on the screen until it is written
        assert work.waiting == [shown]
    tick_until(session, lambda: len(work.accepted) == 1)
    assert (work.accepted[0].polygons == shown.polygons).all()
    assert work.waiting == []


@needs_backend
def test_where_the_cut_is_slow_it_waits_until_the_part_is_accepted(tool, clicking):
    obj = dumbbell()
    work, _picker, session = clicking(obj)
    work.snapping.seconds = 2 * tool("snapping").SNAP_SECONDS
    work.add(click_on(tool, obj, 60))
    answered(session, work)
    session.tick()
    assert work.part.preview.refined is None
    work.hover_over(click_on(tool, obj, 190))  # the backend would be free
    work.accept()
    tick_until(session, lambda: len(work.accepted) == 1)
    assert work.accepted[0].preview.refined is None
    assert work.snapping.seconds < tool("snapping").SNAP_SECONDS  # it has become quick again


@needs_backend
def test_sizes_levels_removal_and_hover(tool, clicking):
    obj = dumbbell()
    work, _picker, session = clicking(obj)
    tick_until(session, lambda: work.phase.value == "clicking")
    here = click_on(tool, obj, 60)
    work.hover_over(here)
    tick_until(session, lambda: work.part.hover is not None)
    beside = click_on(tool, obj, 61)
    work.hover_over(beside)
    work.poll()  # asks
    work.hover_over(here)  # while that is answered: of the same part, so the answer is shown all the same
    tick_until(session, lambda: work.part.hover.clicks == (beside,))
    tick_until(session, lambda: work.part.hover.clicks == (here,))
    hovered = work.part.hover
    work.add(here)
    assert work.part.preview is hovered  # nothing is asked twice
    shares = work.part.preview.answer.shares
    for level in range(3):
        work.next_level()
        assert work.part.preview.share == sorted(shares, reverse=True)[level]
    work.choose(tool("masks").Choice(size=0.9))
    assert work.part.preview.share == max(shares)  # at once, of what is there
    assert work.is_thinking
    answered(session, work)
    large = work.part.preview.share
    for _ in range(30):
        work.scale_size(-1)
    answered(session, work)
    assert work.part.preview.answer.size == tool("masks").SMALLEST_SIZE
    assert work.part.preview.share < large
    tick_until(session, lambda: work.is_looking_closer)
    assert "looking closer" in tool("cursor").cursor_lines(work)[0]
    tick_until(
        session, lambda: work.part.preview.answer.zoomed
    )  # by itself: so small a part is looked at closely
    work.choose(tool("masks").Choice(size=0.0002))
    work.accept(patient=True)  # waits for a closer look at that size, too
    tick_until(session, lambda: len(work.accepted) == 1)
    assert work.accepted[0].preview.answer.zoomed
    work.add(here)
    work.add(click_on(tool, obj, 70, positive=False))
    work.remove(0)  # only the excluding one is left, which means nothing alone
    assert (work.part.clicks, work.part.preview) == ((), None)


def ball_with_knob():
    """The object, and a polygon in the middle of its knob."""
    ball = [(-np.cos(angle), np.sin(angle)) for angle in np.linspace(0.0, np.pi, 9)]
    large, small = turned(ball), turned([(0.1 * x + 1.15, 0.1 * radius) for x, radius in ball])
    count = len(large[0])
    knob = [[index + count for index in polygon] for polygon in small[1]]
    obj = add_object("knob", large[0] + small[0], large[1] + knob)
    return obj, len(large[1]) + len(small[1]) // 2


@needs_backend
def test_a_closer_look_that_fails_leaves_the_first_answer(tool, clicking, monkeypatch):
    questions = tool("questions")
    request = questions.predict_request

    def about_another_shape(known, asked):
        return request(replace(known, shape_id="0" * 64) if asked.zoom else known, asked)

    monkeypatch.setattr(questions, "predict_request", about_another_shape)
    obj, middle = ball_with_knob()
    work, _picker, session = clicking(obj)
    work.add(click_on(tool, obj, middle), click_on(tool, obj, 0, positive=False))
    answered(session, work)
    tick_until(session, lambda: work.is_looking_closer)
    tick_until(session, lambda: not work.is_looking_closer)
    assert work.part.preview.answer.wants_zoom
    work.accept(patient=True)
    tick_until(session, lambda: len(work.accepted) == 1)


@needs_backend
def test_after_several_clicks_small_parts_are_looked_at_closely(tool, clicking):
    obj, middle = ball_with_knob()
    work, _picker, session = clicking(obj)
    work.add(click_on(tool, obj, middle), click_on(tool, obj, 0, positive=False))
    answered(session, work)
    assert not work.part.preview.answer.zoomed  # shown before the closer look
    assert work.part.preview.share < 0.05
    tick_until(session, lambda: work.is_looking_closer)
    work.add(click_on(tool, obj, 8, positive=False))  # the answer to that look is not wanted any more
    answered(session, work)
    assert len(work.part.preview.clicks) == 3
    tick_until(session, lambda: work.part.preview.answer.zoomed)
    assert work.part.preview.polygons[[middle, 0, 8]].tolist() == [True, False, False]
    work.add(click_on(tool, obj, middle + 3))
    answered(session, work)
    assert work.part.preview.answer.prior  # it goes on from the closer answer
    work.remove_last()
    work.accept(patient=True)
    tick_until(session, lambda: len(work.accepted) == 1)
    assert work.accepted[0].preview.answer.zoomed


@needs_backend
def test_mirrored_clicks_make_both_sides(tool, clicking):
    obj = dumbbell()
    work, _picker, session = clicking(obj)
    work.set_mirror(True)
    work.add(click_on(tool, obj, 60))
    answered(session, work)
    assert work.part.twin.polygons[RIGHT_BALL].mean() > 0.8
    work.accept()
    tick_until(session, lambda: len(work.accepted) == 2)
    ids = part_ids(obj)
    left, right = np.bincount(ids[LEFT_BALL]).argmax(), np.bincount(ids[RIGHT_BALL]).argmax()
    assert 0 not in (left, right)
    assert left != right


@needs_backend
def test_existing_parts_grow_shrink_and_are_done_better(tool, clicking, addon):
    obj = dumbbell()
    parts, target = addon("parts"), tool("accepting").Target
    labels = np.full(len(obj.data.polygons), -1)
    labels[:40] = 0
    (part_id,) = parts.write_labels(obj.data, labels).values()
    work, _picker, session = clicking(obj)

    def accept(action, *polygons):
        done = len(work.accepted)
        work.restart(target(part_id, action), [click_on(tool, obj, polygon) for polygon in polygons])
        work.accept()
        tick_until(session, lambda: not work.is_accepting or work.error is not None)
        assert work.error is None
        assert len(work.accepted) >= min(done, 1)
        return part_ids(obj) == part_id

    grown = accept("ADD", 190)
    assert grown[:40].all()
    assert grown[RIGHT_BALL].mean() > 0.8
    taken = accept("TAKE", 190)
    assert taken[:40].all()
    assert not taken[RIGHT_BALL].any()
    better = accept("REPLACE", 60, 20)
    assert better[LEFT_BALL].mean() > 0.8


@needs_backend
def test_an_error_while_accepting_loses_no_click(tool, clicking, addon):
    obj = dumbbell()
    addon("parts").write_labels(obj.data, np.zeros(len(obj.data.polygons), dtype=int))
    obj.data.partsam.parts[0].locked = True
    work, _picker, session = clicking(obj)
    click = click_on(tool, obj, 60)
    work.add(click)
    work.accept()
    tick_until(session, lambda: work.error is not None)
    assert "locked" in session.problem.message
    assert work.part.clicks == (click,)
    assert session.clicks is work


@needs_backend
def test_started_from_edit_mode_it_stays_in_edit_mode(tool, clicking):
    obj = dumbbell()
    for polygon in obj.data.polygons[50:70]:
        polygon.hide = True
    bpy.ops.object.mode_set(mode="EDIT")
    work, picker, session = clicking(obj)
    assert obj.mode == "EDIT"
    shown = picker.shown()
    assert set(shown.surface.polygons[~shown.visible].tolist()) == set(range(50, 70))
    work.add(tool("prompts").Click((-2.0, 0.0, 1.0), -1, True))
    work.accept()
    work.leave()
    tick_until(session, lambda: session.clicks is None)
    assert obj.mode == "EDIT"
    bpy.ops.object.mode_set(mode="OBJECT")
    assert [polygon.index for polygon in obj.data.polygons if polygon.hide] == list(range(50, 70))
    assert (part_ids(obj)[LEFT_BALL] > 0).mean() > 0.8


@needs_backend
def test_the_mesh_after_modifiers_is_clicked_where_it_is_looked_at(tool, clicking):
    obj = dumbbell()
    for vertex in obj.data.vertices:
        vertex.co.y += 3
    modifier = obj.modifiers.new("Mirror", "MIRROR")
    modifier.use_axis = (False, True, False)
    bpy.context.scene.partsam.source = "EVALUATED"
    bpy.context.view_layer.update()
    work, picker, _session = clicking(obj)
    assert work.shape.mesh.face_count == len(picker.shown().triangles)
    assert picker.shown().surface.places[:, 1].min() < -3  # the other half is a place of its own


@needs_backend
def test_script_makes_a_part_of_points(addon, monkeypatch):
    use_real_backend(monkeypatch)
    obj = dumbbell()
    obj.location = (0, 0, 4)
    bpy.context.view_layer.update()
    assert bpy.ops.partsam.click(points="-2 0 5, -2 1 4", excluded="(2, 0, 5)", name="Ball") == {"FINISHED"}
    (part,) = obj.data.partsam.parts
    assert part.name == "Ball"
    ids = part_ids(obj)
    assert (ids[LEFT_BALL] > 0).mean() > 0.8
    assert (ids[RIGHT_BALL] > 0).mean() < 0.1
    for wrong in ("", "1 2", "a b c"):
        with pytest.raises(RuntimeError, match="point"):
            bpy.ops.partsam.click(points=wrong)
    obj.scale.y = 0
    bpy.context.view_layer.update()
    with pytest.raises(RuntimeError, match="scaled to 0"):
        bpy.ops.partsam.click(points="-2 0 5")
    assert addon("session").get_session().clicks is None
