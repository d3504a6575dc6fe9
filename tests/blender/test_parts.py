# SPDX-License-Identifier: GPL-3.0-or-later
"""Labels and the table of parts: persistence, locks, inheritance, undo and saving."""

from __future__ import annotations

import bpy
import numpy as np
import pytest
from meshes import cube, grid


@pytest.fixture
def parts(addon):
    return addon("parts")


def columns(cells, bounds):
    """Labels of a grid's polygons by column: the number of `bounds` at or left of each."""
    column = np.arange(cells * cells) % cells
    return np.searchsorted(np.asarray(bounds), column, side="right").astype(np.int32)


def ids(obj, parts):
    return parts.read_part_ids(obj.data)


def test_labels_become_parts_with_names_colors_counts_and_areas(parts):
    obj = grid(4)
    given = parts.write_labels(obj.data, columns(4, [1, 3]), confidences=[0.9, 0.5, 0.7])
    assert given == {0: 1, 1: 2, 2: 3}
    assert (ids(obj, parts) == columns(4, [1, 3]) + 1).all()
    attribute = obj.data.attributes["partsam_part"]
    assert (attribute.data_type, attribute.domain) == ("INT", "FACE")
    table = obj.data.partsam.parts
    assert [part.name for part in table] == ["Part 1", "Part 2", "Part 3"]
    assert [part.face_count for part in table] == [4, 8, 4]
    assert [part.area for part in table] == pytest.approx([1, 2, 1])
    assert [part.confidence for part in table] == pytest.approx([0.9, 0.5, 0.7])
    colors = [tuple(part.color) for part in table]
    assert colors == [pytest.approx(parts.part_color(i)) for i in (1, 2, 3)]


def test_new_numbers_go_to_the_larger_parts_first(parts):
    obj = grid(4)
    given = parts.write_labels(obj.data, columns(4, [1, 3]), renumber=True, by_size=True)
    assert given == {0: 2, 1: 1, 2: 3}  # of those alike in size the first label comes first
    obj.data.partsam.parts[0].name = "Body"
    given = parts.write_labels(obj.data, columns(4, [1, 2]), renumber=True, by_size=True)
    assert given == {0: 3, 1: 1, 2: 2}  # the named part keeps its number
    given = parts.write_labels(obj.data, columns(4, [1, 2, 3]), by_size=True)  # as the slider does
    assert given == {0: 3, 1: 1, 2: 2, 3: 4}
    assert parts.color_table(obj.data)[2] == pytest.approx(parts.part_color(2))


def test_colors_of_many_parts_are_distinct(parts):
    colors = np.array([parts.part_color(i) for i in range(1, 41)])
    distance = np.linalg.norm(colors[:, None] - colors[None], axis=2) + 10 * np.eye(40)
    assert distance.min() > 0.08


def test_names_and_colors_follow_the_faces_not_the_label(parts):
    obj = grid(4)
    parts.write_labels(obj.data, columns(4, [2]))
    left, right = obj.data.partsam.parts
    left.name, left.color = "Left", (1, 0, 0)
    right.name = "Right"
    # Labels swapped, and the border moved by a column.
    parts.write_labels(obj.data, 1 - columns(4, [3]))
    by_name = {part.name: part for part in obj.data.partsam.parts}
    assert set(by_name) == {"Left", "Right"}
    assert tuple(by_name["Left"].color) == pytest.approx((1, 0, 0))
    assert by_name["Left"].face_count == 12 and by_name["Right"].face_count == 4
    # A third part comes from within: the two known ones stay, the smallest free id is taken.
    parts.write_labels(obj.data, columns(4, [1, 3]))
    assert [part.name for part in obj.data.partsam.parts] == ["Left", "Right", "Part 3"]
    parts.write_labels(obj.data, np.zeros(16, dtype=np.int32))
    assert [part.name for part in obj.data.partsam.parts] == ["Left"]


def test_names_come_back_when_the_slider_does(parts):
    obj = grid(8)
    fine, coarse = columns(8, [1, 3, 6]), columns(8, [3])
    parts.write_labels(obj.data, fine)
    for part, name in zip(obj.data.partsam.parts, ["Hand", "Arm", "Belly", "Back"], strict=True):
        part.name, part.color = name, (0.25, 0.5, part.part_id / 8)
    first = [(part.name, part.face_count, tuple(part.color)) for part in obj.data.partsam.parts]
    for _ in range(3):
        parts.write_labels(obj.data, coarse)
        assert [part.name for part in obj.data.partsam.parts] == ["Arm", "Belly"]
        parts.write_labels(obj.data, np.zeros(64, dtype=np.int32))
        assert [part.name for part in obj.data.partsam.parts] == ["Belly"]
        parts.write_labels(obj.data, coarse)
        parts.write_labels(obj.data, fine)
        assert [(p.name, p.face_count, tuple(p.color)) for p in obj.data.partsam.parts] == first


def test_a_name_comes_back_where_other_parts_have_become_smaller_meanwhile(parts):
    obj = grid(8)
    parts.write_labels(obj.data, columns(8, [3, 6]))
    parts.get_part(obj.data, 2).name = "Belly"
    belly = ids(obj, parts) == 2
    parts.write_labels(obj.data, np.zeros(64, dtype=np.int32))
    assert [part.name for part in obj.data.partsam.parts] == ["Part 1"]
    parts.write_labels(obj.data, columns(8, [1, 3, 6]))  # the largest piece of Part 1 is the former Belly
    assert [part.name for part in obj.data.partsam.parts] == ["Part 1", "Belly", "Part 3", "Part 4"]
    assert (ids(obj, parts) == 2).tolist() == belly.tolist()


def test_a_remembered_name_takes_no_part_away_from_another_name(parts):
    obj = grid(8)
    parts.write_labels(obj.data, columns(8, [4]))
    parts.get_part(obj.data, 1).name = "Arm"
    parts.get_part(obj.data, 2).name = "Body"
    for _ in range(3):  # half of all is where Body was
        parts.write_labels(obj.data, np.zeros(64, dtype=np.int32))
        assert [part.name for part in obj.data.partsam.parts] == ["Arm"]
    parts.write_labels(obj.data, columns(8, [4]))
    assert [part.name for part in obj.data.partsam.parts] == ["Arm", "Body"]


def test_a_part_that_a_remembered_name_displaces_takes_no_group_from_another_name(parts):
    obj = grid(8)
    parts.write_labels(obj.data, columns(8, [4, 7]))
    parts.get_part(obj.data, 2).name = "Belly"
    parts.get_part(obj.data, 3).name = "Tail"
    parts.write_labels(obj.data, columns(8, [7]))
    assert [part.name for part in obj.data.partsam.parts] == ["Part 1", "Tail"]
    mixed = np.array([1, 0, 2, 0])[columns(8, [2, 4, 7])].astype(np.int32)  # Tail, and some of Part 1
    parts.write_labels(obj.data, mixed)
    assert [part.name for part in obj.data.partsam.parts] == ["Part 1", "Belly", "Tail"]


def test_what_is_left_of_a_named_part_comes_back_beside_a_part_by_hand(parts):
    obj = grid(8)
    columns_of_two = columns(8, [2, 4, 6])
    parts.write_labels(obj.data, columns_of_two)
    parts.get_part(obj.data, 2).name = "Belly"
    most = (columns_of_two == 1) & (np.arange(64) >= 8)  # all but a row
    parts.write_labels(obj.data, np.where(most, 0, parts.KEEP).astype(np.int32), by_hand=True)
    assert parts.get_part(obj.data, 2).face_count == 2
    parts.write_labels(obj.data, np.zeros(64, dtype=np.int32))
    parts.write_labels(obj.data, columns_of_two)
    assert parts.get_part(obj.data, 2).name == "Belly"
    assert parts.get_part(obj.data, 2).face_count == 2


def test_other_faces_do_not_get_a_remembered_name(parts):
    obj = grid(8)
    parts.write_labels(obj.data, columns(8, [2]))
    parts.get_part(obj.data, 1).name = "Hand"
    parts.write_labels(obj.data, np.zeros(64, dtype=np.int32))
    parts.write_labels(obj.data, columns(8, [7]))
    assert [part.name for part in obj.data.partsam.parts] == ["Part 2", "Part 3"]


def test_locked_parts_keep_their_faces_and_others_work_around(parts):
    obj = grid(4)
    parts.write_labels(obj.data, columns(4, [1]))
    obj.data.partsam.parts[0].locked = True
    obj.data.partsam.parts[0].name = "Kept"
    parts.write_labels(obj.data, np.repeat([0, 1], 8).astype(np.int32))
    result = ids(obj, parts).reshape(4, 4)
    assert (result[:, 0] == 1).all()
    assert len(np.unique(result[:2, 1:])) == 1 and len(np.unique(result[2:, 1:])) == 1
    assert set(np.unique(result[:, 1:])) == {2, 3}
    assert parts.get_part(obj.data, 1).name == "Kept"


def test_keep_label_leaves_faces_alone(parts):
    obj = grid(4)
    parts.write_labels(obj.data, columns(4, [2]))
    before = ids(obj, parts)
    labels = np.full(16, parts.KEEP, dtype=np.int32)
    labels[:2] = 0
    parts.write_labels(obj.data, labels)
    after = ids(obj, parts)
    assert (after[2:] == before[2:]).all() and len(set(after[:2])) == 1 and after[0] not in before


def test_wrong_number_of_labels_is_refused_and_nothing_changes(parts, addon):
    obj = grid(4)
    with pytest.raises(addon("backend.errors").MeshError, match="again"):
        parts.write_labels(obj.data, np.zeros(15, dtype=np.int32))
    assert not parts.has_parts(obj.data)


def test_attribute_of_another_kind_is_replaced(parts):
    obj = cube()
    obj.data.attributes.new("partsam_part", "FLOAT", "POINT")
    parts.write_labels(obj.data, np.arange(6))
    assert ids(obj, parts).tolist() == [1, 2, 3, 4, 5, 6]


def test_names_stay_unique(parts):
    obj = grid(4)
    parts.write_labels(obj.data, columns(4, [1, 2]))
    for part in obj.data.partsam.parts:
        part.name = "Arm"
    assert [part.name for part in obj.data.partsam.parts] == ["Arm", "Arm.001", "Arm.002"]


def test_a_name_that_comes_back_differs_from_one_given_meanwhile(parts):
    obj = grid(8)
    parts.write_labels(obj.data, columns(8, [2]))
    parts.get_part(obj.data, 1).name = "Hand"
    parts.write_labels(obj.data, np.zeros(64, dtype=np.int32))
    obj.data.partsam.parts[0].name = "Hand"  # free: the part of that name is gone
    assert [part.name for part in obj.data.partsam.parts] == ["Hand"]
    parts.write_labels(obj.data, columns(8, [2]))
    assert [part.name for part in obj.data.partsam.parts] == ["Hand.001", "Hand"]


def test_parts_survive_saving_and_undo(parts, tmp_path):
    obj = grid(4)
    parts.write_labels(obj.data, columns(4, [2]), confidences=[0.25, 0.5])
    obj.data.partsam.parts[1].name = "Wing"
    bpy.ops.ed.undo_push(message="parts")
    parts.write_labels(obj.data, np.zeros(16, dtype=np.int32))
    bpy.ops.ed.undo_push(message="one part")
    bpy.ops.ed.undo()
    mesh = bpy.data.objects["grid"].data
    assert [part.name for part in mesh.partsam.parts] == ["Part 1", "Wing"]
    assert (parts.read_part_ids(mesh) == columns(4, [2]) + 1).all()
    path = str(tmp_path / "saved.blend")
    bpy.ops.wm.save_as_mainfile(filepath=path)
    bpy.ops.wm.open_mainfile(filepath=path)
    mesh = bpy.data.objects["grid"].data
    assert [part.name for part in mesh.partsam.parts] == ["Part 1", "Wing"]
    assert mesh.partsam.parts[1].confidence == 0.5
    assert (parts.read_part_ids(mesh) == columns(4, [2]) + 1).all()


def test_a_hundred_thousand_faces(parts):
    obj = grid(320)
    labels = columns(320, range(20, 320, 20))
    parts.write_labels(obj.data, labels)
    parts.write_labels(obj.data, labels[::-1].copy())
    assert len(obj.data.partsam.parts) == 16
    assert sum(part.face_count for part in obj.data.partsam.parts) == 320 * 320


def test_long_names_fit_into_what_parts_become(parts):
    obj = grid(4)
    parts.write_labels(obj.data, columns(4, [1, 2]))
    for part in obj.data.partsam.parts:
        part.name = "ä" * 40
    assert [part.name for part in obj.data.partsam.parts] == ["ä" * 31, "ä" * 29 + ".001", "ä" * 29 + ".002"]
    bpy.ops.partsam.apply_vertex_groups()
    assert [group.name for group in obj.vertex_groups] == [part.name for part in obj.data.partsam.parts]
