# SPDX-License-Identifier: GPL-3.0-or-later
"""Transfer Parts: labels, names, colors and locks on a mesh of the same shape with other faces."""

from __future__ import annotations

import bpy
import numpy as np
import pytest
from meshes import activate, add_object, grid
from segmenting import LEFT_BALL, RIGHT_BALL, dumbbell, needs_backend, tick_until, use_real_backend
from test_parts import columns, ids

pytestmark = needs_backend


@pytest.fixture(autouse=True)
def real_backend(monkeypatch):
    use_real_backend(monkeypatch)


@pytest.fixture
def parts(addon):
    return addon("parts")


@pytest.fixture
def session(addon):
    return addon("session").get_session()


@pytest.fixture
def striped(parts):
    """A 6 x 6 grid of three parts, two columns each; the middle one named, colored and locked."""
    obj = grid(6, name="source")
    parts.write_labels(obj.data, columns(6, [2, 4]))
    middle = obj.data.partsam.parts[1]
    middle.name, middle.color, middle.locked = "Belt", (1, 0, 0), True
    return obj


def transfer(source, *targets, **options):
    activate(source)
    for obj in targets:
        obj.select_set(True)
    return bpy.ops.partsam.transfer_parts(**options)


@pytest.mark.parametrize("mode", ["OBJECT", "EDIT"])
def test_parts_names_colors_and_locks_travel(striped, parts, mode):
    finer, coarser = grid(18, name="finer"), grid(3, name="coarser")
    activate(striped)
    bpy.ops.object.mode_set(mode=mode)
    finer.select_set(True)
    coarser.select_set(True)
    assert bpy.ops.partsam.transfer_parts() == {"FINISHED"}
    assert striped.mode == mode
    bpy.ops.object.mode_set(mode="OBJECT")
    assert (ids(finer, parts) == columns(18, [6, 12]) + 1).all()
    assert (ids(coarser, parts) == columns(3, [1, 2]) + 1).all()
    for obj in (finer, coarser):
        belt = obj.data.partsam.parts[1]
        assert (belt.name, tuple(belt.color), belt.locked) == ("Belt", pytest.approx((1, 0, 0)), True)
        assert not obj.data.partsam.parts[0].locked


def test_objects_that_stand_apart_are_matched_in_their_own_space(striped, parts):
    other = grid(12, name="beside")
    other.location, other.rotation_euler = (0, 0, 9), (0, 0, np.pi)
    bpy.context.view_layer.update()
    assert transfer(striped, other, place="LOCAL") == {"FINISHED"}
    assert (ids(other, parts) == columns(12, [4, 8]) + 1).all()
    other.location = (0, 0, 0)
    assert transfer(striped, other, place="WORLD") == {"FINISHED"}  # turned around: but the belt is locked
    assert (np.flatnonzero(ids(other, parts)[:12] == 2) == [4, 5, 6, 7]).all()


def test_the_two_sides_of_a_sheet_keep_to_themselves(parts):
    """Two layers, wound apart, a thousandth of their size from each other."""

    def sheet(cells, name):
        line = np.linspace(-1, 1, cells + 1)
        y, x = np.meshgrid(line, line, indexing="ij")
        index = np.arange((cells + 1) ** 2).reshape(cells + 1, cells + 1)
        quads = np.stack([index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]], axis=-1).reshape(
            -1, 4
        )
        layers = [np.stack([x, y, np.full_like(x, z)], axis=-1).reshape(-1, 3) for z in (0.001, -0.001)]
        polygons = np.concatenate([quads, quads[:, ::-1] + index.size])
        return add_object(name, np.concatenate(layers).tolist(), polygons.tolist())

    source, target = sheet(3, "thin"), sheet(7, "thin anew")
    parts.write_labels(source.data, np.repeat([0, 1], 9))
    assert transfer(source, target) == {"FINISHED"}
    assert (ids(target, parts) == np.repeat([1, 2], 49)).all()


def plate(*, name="plate"):
    """A thin box of 2 x 8 x 8 quads without its rim: the lower side, then the upper one."""
    line = np.linspace(-1, 1, 9)
    y, x = np.meshgrid(line, line, indexing="ij")
    index = np.arange(81).reshape(9, 9)
    quads = np.stack([index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]], axis=-1).reshape(-1, 4)
    layers = [np.stack([x, y, np.full_like(x, z)], axis=-1).reshape(-1, 3) for z in (-0.02, 0.02)]
    return add_object(
        name, np.concatenate(layers).tolist(), [*quads[:, ::-1].tolist(), *(quads + 81).tolist()]
    )


@pytest.mark.parametrize("place", ["LOCAL", "WORLD"])
@pytest.mark.parametrize("applied", [True, False])
def test_a_mirrored_copy_gets_parts_on_the_sides_where_they_are(parts, place, applied):
    """Applying a negative scale leaves the faces inside out: their normals are no guide any more."""
    source, target = plate(), plate(name="mirrored")
    side = np.repeat([0, 1], 64) * 2 + np.tile(columns(8, [4]), 2)  # lower and upper, left and right
    parts.write_labels(source.data, side)
    target.scale.x = -1
    bpy.context.view_layer.update()
    if applied:
        bpy.ops.object.transform_apply(location=False, rotation=False, scale=True)
        assert target.data.polygons[127].normal.z < 0
    target.location.z = 0.003 if place == "WORLD" else 9
    bpy.context.view_layer.update()
    assert transfer(source, target, place=place) == {"FINISHED"}
    mirrored = side.reshape(2, 8, 8)[:, :, ::-1].reshape(-1)  # the same faces on the other side
    expected = side if place == "LOCAL" and not applied else mirrored
    assert (ids(target, parts) == expected + 1).all()


def test_undo_takes_it_back_and_nothing_selected_is_explained(striped, parts):
    activate(striped)
    with pytest.raises(RuntimeError, match="Shift-click"):
        bpy.ops.partsam.transfer_parts()
    far = grid(4, name="far")
    far.location.x = 9
    with pytest.raises(RuntimeError, match="do not lie upon each other; match them in Own Space"):
        transfer(striped, far)
    other = grid(4, name="other")
    bpy.ops.ed.undo_push(message="before")
    transfer(striped, other)
    bpy.ops.ed.undo_push(message="after")
    bpy.ops.ed.undo()
    assert not parts.has_parts(bpy.data.objects["other"].data)


def crooked(addon):
    """A valley of 24 x 24 quads, and the same with two parts whose border jags beside its line."""
    fine = grid(24, name="valley")
    positions = np.empty((25 * 25, 3), dtype=np.float32)
    fine.data.vertices.foreach_get("co", positions.ravel())
    positions[:, 2] = np.abs(positions[:, 0])
    source = fine.copy()
    source.data = fine.data.copy()
    for obj in (fine, source):
        obj.data.vertices.foreach_set("co", positions.ravel())
        obj.data.update()
    bpy.context.scene.collection.objects.link(source)
    rows, line = np.divmod(np.arange(24 * 24), 24)
    addon("parts").write_labels(source.data, (line >= 12 + (rows % 4 < 2)).astype(np.int32))
    return source, fine


def test_the_graph_cut_draws_borders_along_the_targets_creases(addon, parts):
    source, target = crooked(addon)
    crease = columns(24, [12]) + 1
    transfer(source, target, strength=0.0)
    assert (ids(target, parts) != crease).sum() == 12  # the jags, as they are
    transfer(source, target)
    inner = slice(2 * 24, -2 * 24)  # at the rim there is little to hold on to
    assert (ids(target, parts)[inner] == crease[inner]).all()


def test_a_window_goes_on_meanwhile_and_writes_all_targets_in_one_step(striped, parts, session, addon):
    targets = [grid(12, name="first"), grid(18, name="second")]
    read, flow = addon("session.transferring"), addon("operators.running")
    original, receivers = read.read_transfer(bpy.context, striped, targets, matching="WORLD")

    def start():
        session.start(
            "Transferring",
            read.transfer(session, original, receivers, strength=1.0),
            done=lambda changes: flow.write_in_window("Transfer", changes),
        )

    start()
    assert session.is_busy and not parts.has_parts(targets[0].data)
    session.cancel()
    tick_until(session, lambda: not session.is_busy)
    assert session.notices == ("Cancelled; nothing was changed",)
    assert not any(parts.has_parts(obj.data) for obj in targets)
    bpy.ops.ed.undo_push(message="before")
    start()
    steps = set()
    tick_until(session, lambda: steps.add(session.progress.step) or not session.is_busy)
    assert steps == {0, 1} and session.progress.steps == 2
    assert [len(obj.data.partsam.parts) for obj in targets] == [3, 3]
    bpy.ops.ed.undo()
    assert not any(parts.has_parts(bpy.data.objects[name].data) for name in ("first", "second"))


def test_nothing_is_written_where_one_target_was_edited_meanwhile(striped, parts, session, addon):
    targets = [grid(12, name="first"), grid(18, name="second")]
    read = addon("session.transferring")
    original, receivers = read.read_transfer(bpy.context, striped, targets, matching="WORLD")
    changes = session.run_now(read.transfer(session, original, receivers, strength=1.0))
    targets[1].data.vertices[0].co.z = 1
    with pytest.raises(addon("backend.errors").MeshError, match='"second" was edited meanwhile'):
        addon("session.writing").write_changes(bpy.context, changes)
    assert not any(parts.has_parts(obj.data) for obj in targets)


def test_another_shape_of_the_kind_gets_the_parts_by_likeness(parts):
    """A longer dumbbell with a smaller ball, elsewhere: nearest places alone would be refused."""
    source, other = dumbbell(name="short"), dumbbell(name="long")
    labels = np.full(len(source.data.polygons), 2)
    labels[LEFT_BALL], labels[RIGHT_BALL] = 0, 1
    parts.write_labels(source.data, labels.astype(np.int32))
    for vertex in other.data.vertices:
        vertex.co.x *= 1.4
        vertex.co.yz *= 0.8 if vertex.co.x < 0 else 1
    other.location = (0, 30, 0)
    bpy.context.view_layer.update()
    with pytest.raises(RuntimeError, match="do not lie upon each other"):
        transfer(source, other)
    assert transfer(source, other, place="KIND") == {"FINISHED"}
    assert (ids(other, parts) == labels + 1).mean() > 0.8
