# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts that are copies of each other: found by the real backend, worked on and separated together."""

from __future__ import annotations

import bpy
import numpy as np
import pytest
from mathutils import Vector
from meshes import add_object
from segmenting import needs_backend, tick_until, use_real_backend

pytestmark = needs_backend

# A wedge without any symmetry: longest along Z, its top slanted.
WEDGE = np.array(
    [
        (0, 0, 0),
        (0.6, 0, 0),
        (0.6, 0.3, 0),
        (0, 0.3, 0),
        (0, 0, 2),
        (0.6, 0, 1.5),
        (0.6, 0.3, 1.2),
        (0, 0.3, 1.9),
    ]
)
BOX = np.array([(x, y, z) for x in (-2.0, 2.0) for y in (-1.5, 1.5) for z in (2.0, 2.4)])
WEDGE_FACES = [[0, 3, 2, 1], [4, 5, 6, 7], [0, 1, 5, 4], [1, 2, 6, 5], [2, 3, 7, 6], [3, 0, 4, 7]]
BOX_FACES = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
MOTIONS = (
    (np.eye(3), (1, 1, 0)),
    (np.array([(0, -1, 0), (1, 0, 0), (0, 0, 1)]), (-1, 1, 0)),  # turned
    (np.diag((-1, 1, 1)), (-1, -1, 0)),  # mirrored
    (np.diag((-1, -1, 1)), (1.5, -1, 0)),
)
LEGS = [2, 3, 4, 5]


@pytest.fixture(autouse=True)
def real_backend(monkeypatch):
    use_real_backend(monkeypatch)


@pytest.fixture
def parts(addon):
    return addon("parts")


def table(parts, *, order="same"):
    """A board, part 1, on four legs, parts 2 to 5.

    order: of each leg's vertices: the same, shuffled, or torn: doubled for each face that has them, shuffled
    """
    points, polygons, labels = BOX.tolist(), [list(face) for face in BOX_FACES], [0] * 6
    for number, (turn, place) in enumerate(MOTIONS, 1):
        random, start = np.random.default_rng(number), len(points)
        faces = np.array(WEDGE_FACES)[:, :: -1 if np.linalg.det(turn) < 0 else 1]
        own = WEDGE[faces].reshape(-1, 3) if order == "torn" else WEDGE
        numbers = np.arange(24).reshape(6, 4) if order == "torn" else faces
        shuffle = np.arange(len(own)) if order == "same" else random.permutation(len(own))
        points += (own[shuffle] @ np.array(turn).T + place).tolist()
        polygons += (start + np.argsort(shuffle)[numbers]).tolist()
        labels += [number] * 6
    obj = add_object("table", points, polygons)
    parts.write_labels(obj.data, np.array(labels, dtype=np.int32))
    return obj


def groups(obj):
    found = {}
    for part in obj.data.partsam.parts:
        if part.repeat:
            found.setdefault(part.repeat, []).append(part.part_id)
    return list(found.values())


def test_copies_are_found_and_worked_on_together(addon, parts):
    obj = table(parts)
    assert bpy.ops.partsam.find_repeats() == {"FINISHED"}
    assert groups(obj) == [LEGS]
    of = {part.part_id: part for part in obj.data.partsam.parts}
    bpy.ops.partsam.part_rename(part=3, name="Leg", copies=True)
    assert [of[leg].name for leg in LEGS] == ["Leg", "Leg.001", "Leg.002", "Leg.003"]
    bpy.ops.partsam.part_recolor(part=4, color=(1, 0, 0), copies=True)
    bpy.ops.partsam.part_lock(part=5, action="LOCK", copies=True)
    assert all(tuple(of[leg].color) == (1, 0, 0) and of[leg].locked for leg in LEGS)
    assert not of[1].locked and tuple(of[1].color) != (1, 0, 0)
    bpy.ops.partsam.part_select(part=2, copies=True)
    assert [face.select for face in obj.data.polygons] == [False] * 6 + [True] * 24
    bpy.ops.partsam.part_lock(part=5, action="UNLOCK", copies=True)
    parts.set_active_part(obj.data, 4)
    bpy.ops.partsam.parts_check(action="COPIES")
    bpy.ops.partsam.parts_merge_checked()
    assert len(obj.data.partsam.parts) == 2 and groups(obj) == []
    parts_list = addon("ui.list_rows")
    obj = table(parts)
    bpy.ops.partsam.find_repeats()
    assert "copies" not in bpy.ops.partsam.part_merge.get_rna_type().properties
    assert parts_list.firsts(obj.data.partsam.parts) == [True, True, False, False, False]
    bpy.ops.partsam.part_delete(part=4, copies=True)
    assert [part.face_count for part in obj.data.partsam.parts] == [30]


def test_a_part_whose_faces_change_is_no_copy_any_more(parts):
    obj = table(parts)
    bpy.ops.partsam.find_repeats()
    ids = parts.read_part_ids(obj.data)
    ids[6:9] = 1
    parts.write_part_ids(obj.data, ids)
    assert groups(obj) == [LEGS[1:]]
    bpy.ops.partsam.find_repeats()
    assert groups(obj) == [LEGS[1:]]


def test_undo_of_edit_mode_and_parts_that_change_meanwhile(addon, parts):
    obj = table(parts)
    session, repeating = addon("session").get_session(), addon("session.repeating")
    read = repeating.read_labelled(bpy.context, obj)
    changes = []
    session.start("Finding copies", repeating.find_repeats(session, read), done=changes.extend)
    tick_until(session, lambda: not session.is_busy)
    bpy.ops.partsam.part_merge(part=2, into="3")
    with pytest.raises(addon("backend.errors").MeshError, match="press Find Copies again"):
        addon("session.writing").write_changes(bpy.context, changes)
    bpy.ops.ed.undo_push(message="merged")
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.ed.undo_push(message="edit")
    bpy.ops.partsam.find_repeats()
    assert groups(obj) == [[4, 5]]
    bpy.ops.ed.undo_push(message="found")
    bpy.ops.ed.undo()
    assert groups(bpy.context.object) == []
    bpy.ops.ed.redo()
    assert groups(bpy.context.object) == [[4, 5]]


def world_faces(obj):
    """The polygons of `obj` as sets of places in the world, and the normals with which Blender shows them."""
    mesh, matrix = obj.data, obj.matrix_world
    turn = matrix.to_3x3().inverted().transposed()
    found = {}
    for face in mesh.polygons:
        corners = [matrix @ mesh.vertices[v].co for v in face.vertices]
        places = frozenset(tuple(round(x, 3) + 0.0 for x in corner) for corner in corners)
        found[places] = (turn @ face.normal).normalized()
    return found


@pytest.mark.parametrize(("order", "grouping"), [("same", "EMPTY"), ("shuffled", "NONE"), ("torn", "EMPTY")])
def test_separated_copies_share_a_mesh_and_lie_where_they_were(parts, order, grouping):
    obj = table(parts, order=order)
    obj.location, obj.rotation_euler, obj.scale = (3, 2, 1), (0.3, 0.2, 0.1), (2, 2, 2)
    bpy.context.view_layer.update()
    before = world_faces(obj)
    with pytest.raises(RuntimeError, match="press Find Copies first"):
        bpy.ops.partsam.apply_separate(link_copies=True)
    bpy.ops.partsam.find_repeats()
    bpy.ops.partsam.part_rename(part=2, name="Leg", copies=True)
    assert bpy.ops.partsam.apply_separate(link_copies=True, grouping=grouping) == {"FINISHED"}
    legs = [bpy.data.objects[name] for name in ("Leg", "Leg.001", "Leg.002", "Leg.003")]
    assert len({leg.data for leg in legs}) == 1 and legs[0].data.users == 4
    bpy.context.view_layer.update()
    after = {}
    for part in bpy.context.selected_objects:
        after |= world_faces(part)
    assert after.keys() == before.keys()
    assert all((after[face] - before[face]).length < 1e-2 for face in before)
    assert [leg.matrix_world.determinant() < 0 for leg in legs] == [False, False, True, False]
    legs[0].data.vertices[0].co += Vector((0, 0, 0.1))  # one mesh: all of them change
    assert len(bpy.data.meshes) == 3


def test_copies_that_carry_something_else_keep_their_mesh(parts):
    obj = table(parts)
    uv = obj.data.uv_layers.new(name="UVMap")
    for corner in obj.data.polygons[12].loop_indices:  # of the second leg
        uv.uv[corner].vector = (0.5, 0.25)
    obj.vertex_groups.new(name="soft").add([8 + 16], 0.5, "REPLACE")  # of the third one
    bpy.ops.partsam.find_repeats()
    separate = bpy.ops.partsam.apply_separate
    with pytest.raises(RuntimeError, match="needs its origin"):
        separate(link_copies=True, origin="KEEP")
    obj.modifiers.new("Bend", "SIMPLE_DEFORM")
    with pytest.raises(RuntimeError, match='deformed by the modifier "Bend"'):
        separate(link_copies=True)
    obj.modifiers.clear()
    assert separate(link_copies=True) == {"FINISHED"}
    assert sorted(part.data.users for part in bpy.context.selected_objects) == [1, 1, 1, 2, 2]
