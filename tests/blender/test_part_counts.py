# SPDX-License-Identifier: GPL-3.0-or-later
"""So many parts as were asked for: on copies, on shared meshes, in the redo panel, with parts by hand.

With the real backend process.
"""

from __future__ import annotations

from functools import partial

import bpy
import numpy as np
import pytest
from meshes import activate
from segmenting import LEFT_BALL, RIGHT_BALL, dumbbell, needs_backend, part_ids, tick_until, use_real_backend

pytestmark = needs_backend

PROMPTS = 16


@pytest.fixture(autouse=True)
def backend(monkeypatch):
    use_real_backend(monkeypatch)


def beside(obj, *, location, own_mesh):
    """Another object with the mesh of `obj`, or a copy of it, selected as well."""
    other = bpy.data.objects.new("other", obj.data.copy() if own_mesh else obj.data)
    bpy.context.scene.collection.objects.link(other)
    other.location = location
    other.select_set(True)
    bpy.context.view_layer.update()
    return other


def part_by_hand(parts, obj, faces):
    """One part by hand of these polygons, a slice; its id."""
    labels = np.full(len(obj.data.polygons), parts.KEEP)
    labels[faces] = 0
    return parts.write_labels(obj.data, labels, by_hand=True)[0]


def part_count(obj):
    assert len(obj.data.partsam.parts) == len(set(part_ids(obj).tolist()) - {0})
    return len(obj.data.partsam.parts)


@pytest.mark.parametrize("count", [2, 3])
def test_each_copy_has_so_many_parts_with_those_by_hand_that_it_has_alone(parts, count):
    first = dumbbell()
    copy = beside(first, location=(0, 3, 0), own_mesh=True)
    by_hand = part_by_hand(parts, copy, slice(0, 64))
    bpy.ops.partsam.segment(prompts=PROMPTS, several="JOINED", count=count)
    assert (part_ids(copy)[:64] == by_hand).all()
    assert [part_count(first), part_count(copy)] == [count, count]
    bpy.ops.partsam.cut_to_count(count=2)
    assert [part_count(first), part_count(copy)] == [2, 2]


@pytest.mark.parametrize("count", [2, 3])
def test_a_mesh_that_two_halves_share_counts_once(parts, count):
    half = dumbbell()
    other = beside(half, location=(5.9, 0, 0), own_mesh=False)
    other.scale.x = -1
    bpy.context.view_layer.update()
    part_by_hand(parts, half, slice(0, 64))
    bpy.ops.partsam.segment(prompts=PROMPTS, several="JOINED", count=count)
    assert part_count(half) == count


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("before", [True, False])
def test_keep_edits_switched_in_the_redo_panel_counts_what_stays_then(
    addon, parts, session, monkeypatch, count, before
):
    obj = dumbbell()
    part_by_hand(parts, obj, slice(LEFT_BALL.start, LEFT_BALL.start + 64))
    locked = part_by_hand(parts, obj, slice(RIGHT_BALL.start, RIGHT_BALL.start + 64))
    parts.get_part(obj.data, locked).locked = True
    bpy.ops.ed.undo_push(message="by hand")
    values = {"prompts": PROMPTS, "poses": 1, "seed": 0, "source": "BASE", "several": "EACH"}
    values |= {"selected_faces_only": False}
    reading, steps = addon("session.reading"), addon("session.find_parts")
    tasks = reading.read_tasks(bpy.context, [obj], addon("mesh_exchange").ReadSettings(), keep_edits=before)
    asked = {"operator": "partsam.segment", **values, "keep_edits": before}
    session.start(
        "Segmenting",
        steps.segment(session, tasks, steps.SegmentSettings(prompts=PROMPTS)),
        done=partial(addon("operators.running").finish_in_window, "Segment", asked=asked),
    )
    tick_until(session, lambda: not session.is_busy)
    bpy.ops.ed.undo()
    activate(bpy.context.object)
    sent, send = [], session.backend.send
    monkeypatch.setattr(session.backend, "send", lambda request: sent.append(request.kind) or send(request))
    for keep_edits in (not before, before):
        bpy.ops.partsam.segment(
            "EXEC_DEFAULT", True, **values, keep_edits=keep_edits, count=count, is_found=True
        )
        assert part_count(bpy.context.object) == max(count, 3 if keep_edits else 2)
        bpy.ops.ed.undo()
    assert set(sent) == {"refine"}
