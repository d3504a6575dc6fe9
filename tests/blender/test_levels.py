# SPDX-License-Identifier: GPL-3.0-or-later
"""Part trees: granularity, edits by hand over the cut, Split Again, sliders. No backend."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import bpy
import numpy as np
import pytest
from meshes import activate, grid, select_polygons
from part_trees import column_ids, cut, give_tree
from segmenting import tick_until
from test_parts import ids


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


def test_automatic_names_follow_the_size_and_numbers_the_faces(quarters, parts):
    table = quarters.data.partsam
    fine, coarse = np.repeat([0, 1, 2], [4, 3, 1]), np.repeat([0, 1], [5, 3])
    for columns_ in (fine, coarse, fine):
        parts.write_labels(quarters.data, np.tile(2 - columns_, 8).astype(np.int32), by_size=True)
        sizes = {part.name: part.face_count for part in table.parts}
        assert sizes == {f"Part {n}": size for n, size in enumerate(sorted(sizes.values())[::-1], start=1)}
    colored, named, plain = sorted(table.parts, key=lambda part: part.area)
    first, colored.color, named.name = plain.part_id, (1, 0, 0), "Part 9"
    parts.write_labels(quarters.data, np.tile(np.repeat([0, 1, 2, 3], [1, 3, 3, 1]), 8), by_size=True)
    assert {part.name: part.face_count for part in table.parts} == {
        "Part 1": 24,
        "Part 9": 24,
        "Part 3": 8,
        "Part 4": 8,
    }  # the number of the part with another name is left out, as Segment does
    assert parts.get_part(quarters.data, first).name == "Part 1"
    part_id = parts.write_labels(quarters.data, np.where(np.arange(64) < 2, 0, parts.KEEP), by_hand=True)[0]
    assert parts.get_part(quarters.data, part_id).name == "Part 5"  # what is there keeps its name


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


def test_a_press_does_not_begin_with_the_number_of_parts_of_the_one_before(quarters):
    """Blender remembers the values of the redo panel, whatever the sidebar's slider says."""
    for name in ("cut", "cut_to_count"):
        cut_parts = partial(getattr(bpy.ops.partsam, name), "EXEC_DEFAULT", True, refine=False)
        cut_parts(count=2)
        assert part_count() == 2
        cut_parts(granularity=1.0)
        assert part_count() == 4 and bpy.context.window_manager.operators[-1].count == 0


def test_a_preset_keeps_the_number_of_parts(quarters):
    cut_parts = partial(bpy.ops.partsam.cut, "EXEC_DEFAULT", True, refine=False)
    cut_parts(count=2)
    bpy.ops.wm.operator_preset_add(name="two", operator="PARTSAM_OT_cut")
    cut_parts(granularity=1.0)
    (stored,) = Path(bpy.utils.user_resource("SCRIPTS", path="presets/operator/partsam.cut")).glob("*.py")
    bpy.ops.script.execute_preset(filepath=str(stored), menu_idname="WM_MT_operator_presets")
    assert bpy.context.active_operator.count == 2
    assert not bpy.ops.partsam.segment.get_rna_type().properties["count"].is_skip_preset


def test_a_number_of_parts_counts_those_that_stay(addon, quarters, parts):
    labels = np.where(np.arange(64) < 16, 0, parts.KEEP)
    parts.write_labels(quarters.data, labels, by_hand=True)  # two rows across all columns
    quarters.data.partsam.parts[0].locked = True  # two columns
    table = quarters.data.partsam.parts
    for count, granularity in ((3, 0.0), (4, 0.5), (5, 1.0)):
        bpy.ops.partsam.cut_to_count(count=count, refine=False)
        assert len(table) == count and quarters.data.partsam.levels[0].granularity == granularity
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.partsam.cut_to_count(count=3, refine=False)
    assert quarters.mode == "EDIT" and len(quarters.data.partsam.parts) == 3
    assert len(set(addon("api").cut(quarters, strength=None, parts=4).part_ids)) == 4


def test_a_number_of_parts_of_what_was_split_again_are_its_own(addon, quarters, parts):
    give_tree(parts, quarters, faces=np.arange(64) < 16, title="Part 1")  # two rows, in four
    assert len(quarters.data.partsam.parts) == 8
    level, count_now = quarters.data.partsam.levels[1].number, addon("operators.cutting").count_now
    for count in (1, 2, 4):
        parts.set_active_part(
            quarters.data, next(p.part_id for p in quarters.data.partsam.parts if p.level == level)
        )
        bpy.ops.partsam.cut_to_count(count=count, refine=False)
        assert sum(part.level == level for part in quarters.data.partsam.parts) == count
        assert len(quarters.data.partsam.parts) == 4 + count
        assert count_now(bpy.context) == count


@pytest.mark.parametrize("seed", range(12))
def test_no_other_granularity_comes_nearer_to_a_number_of_parts(quarters, parts, seed):
    """With parts by hand, deleted ones and a locked one anywhere, in any order of cuts."""
    random, mesh = np.random.default_rng(seed), quarters.data
    for _ in range(3):
        row, column, height, width = random.integers(1, 6, size=4)
        inside = np.zeros((8, 8), dtype=bool)
        inside[row : row + height, column : column + width] = True
        parts.write_labels(mesh, np.where(inside.ravel(), 0, parts.KEEP), by_hand=True)
    parts.delete_part(mesh, int(random.choice([part.part_id for part in mesh.partsam.parts])))
    mesh.partsam.parts[int(random.integers(len(mesh.partsam.parts)))].locked = True
    bpy.ops.ed.undo_push(message="by hand")
    for count in random.integers(1, 9, size=4).tolist():
        distances = []
        for granularity in (0.0, 0.5, 1.0):
            bpy.ops.partsam.cut("EXEC_DEFAULT", True, granularity=granularity, refine=False)
            distances.append(abs(part_count() - count))
            bpy.ops.ed.undo()
        bpy.ops.partsam.cut_to_count("EXEC_DEFAULT", True, count=count, refine=False)
        assert abs(part_count() - count) == min(distances)


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
    # Adjust Last Operation would rewind past a step that is not of Blender's last operator.
    assert bpy.context.window_manager.operators[-1].bl_idname == "PARTSAM_OT_step_change_granularity"
    bpy.ops.ed.undo()
    assert [len(bpy.data.objects[name].data.partsam.parts) for name in ("grid", "other")] == [4, 2]


def test_sliders_wait_for_what_else_the_user_is_in_the_middle_of(quarters, session, addon, monkeypatch):
    sliders, table = bpy.context.window_manager.partsam, quarters.data.partsam
    sliders.refine = False
    tick_until(session, lambda: not session.live.is_waiting)
    steps = len(bpy.context.window_manager.operators)
    monkeypatch.setattr(addon("session.input_watch").InputWatch, "is_taken", True)
    sliders.granularity = 0.0
    for _ in range(60):
        session.tick()
        time.sleep(0.01)
    assert session.live.is_waiting and len(table.parts) == 4
    assert len(bpy.context.window_manager.operators) == steps
    monkeypatch.undo()
    tick_until(session, lambda: not session.live.is_waiting)
    assert len(table.parts) == 1
    assert len(bpy.context.window_manager.operators) == steps + 1


def drag(session, granularity):
    """Move the slider, and have it written; not yet an undo step."""
    bpy.context.window_manager.partsam.refine = False
    bpy.context.window_manager.partsam.granularity = granularity
    session.tick()


def part_count():
    return len(bpy.data.objects["grid"].data.partsam.parts)


def test_undo_right_after_a_slider_takes_back_the_slider_alone(quarters, session):
    quarters.location.x = 1.0
    bpy.ops.ed.undo_push(message="moved")
    drag(session, 0.5)
    assert part_count() == 2
    bpy.ops.ed.undo()
    assert part_count() == 4 and bpy.data.objects["grid"].location.x == 1.0
    tick_until(session, lambda: not session.live.is_waiting)
    bpy.ops.ed.redo()  # no step without content has come between
    assert part_count() == 2


def test_undo_before_a_sliders_cut_is_written_takes_back_the_slider_alone(quarters, session):
    quarters.location.x = 1.0
    bpy.ops.ed.undo_push(message="moved")
    bpy.context.window_manager.partsam.refine = False
    bpy.context.window_manager.partsam.granularity = 0.5
    assert part_count() == 4 and session.live.is_waiting
    bpy.ops.ed.undo()
    tick_until(session, lambda: not session.live.is_waiting)
    assert part_count() == 4 and bpy.data.objects["grid"].location.x == 1.0
    bpy.ops.ed.redo()
    assert part_count() == 2


def test_undo_from_an_open_menu_takes_back_the_slider_alone(quarters, session, addon, monkeypatch):
    """The window test opens a real one."""
    bpy.ops.transform.translate("EXEC_DEFAULT", True, value=(1.0, 0.0, 0.0))
    drag(session, 0.5)
    watch = addon("session.input_watch").InputWatch
    monkeypatch.setattr(watch, "is_open", True)
    bpy.ops.ed.undo()
    assert part_count() == 4 and bpy.data.objects["grid"].location.x == 1.0
    tick_until(session, lambda: not session.live.is_waiting)
    assert part_count() == 4
    bpy.ops.ed.redo()
    assert part_count() == 2


def test_work_that_begins_right_after_a_slider_leaves_it_a_step_of_its_own(quarters, session):
    quarters.location.x = 1.0
    bpy.ops.ed.undo_push(message="moved")
    drag(session, 0.5)
    session.start("Other work", (one for one in ()), needs_backend=False)
    tick_until(session, lambda: session.is_free)
    assert part_count() == 2
    bpy.ops.ed.undo()
    assert part_count() == 4 and bpy.data.objects["grid"].location.x == 1.0


def test_redo_after_a_slider_does_not_take_it_back(quarters, session):
    quarters.location.x = 1.0
    bpy.ops.ed.undo_push(message="moved")
    bpy.ops.ed.undo()
    drag(session, 0.5)
    if bpy.ops.ed.redo.poll():
        bpy.ops.ed.redo()
    assert part_count() == 2 and bpy.data.objects["grid"].location.x == 0.0


def test_two_drags_are_two_steps_and_one_where_no_pause_was_between(quarters, session):
    drag(session, 0.5)
    tick_until(session, lambda: not session.live.is_waiting)
    drag(session, 0.0)
    drag(session, 1.0)
    drag(session, 0.0)  # before the one before has settled
    tick_until(session, lambda: not session.live.is_waiting)
    assert part_count() == 1
    for expected in (2, 4):
        bpy.ops.ed.undo()
        assert part_count() == expected
    for expected in (2, 1):
        bpy.ops.ed.redo()
        assert part_count() == expected


def test_what_an_open_redo_panel_takes_back_is_cut_again(quarters, session, addon, monkeypatch):
    """The window test opens a real one; here its undo comes without its operator. As that of Undo History
    does, it leaves the list of operators as it is."""
    bpy.ops.transform.translate("EXEC_DEFAULT", True, value=(1.0, 0.0, 0.0))
    drag(session, 0.5)
    watch = addon("session.input_watch").InputWatch
    monkeypatch.setattr(watch, "is_open", True)
    monkeypatch.setattr(watch, "is_taken", True)
    bpy.ops.ed.undo_history(item=1)  # the state before the move
    assert part_count() == 4 and session.live.is_waiting
    monkeypatch.undo()
    tick_until(session, lambda: not session.live.is_waiting)
    assert part_count() == 2
    bpy.ops.ed.undo()
    assert part_count() == 4
