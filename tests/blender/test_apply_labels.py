# SPDX-License-Identifier: GPL-3.0-or-later
"""Vertex groups, materials, face sets, seams, marks and colours: exact results on built meshes."""

from __future__ import annotations

import bpy
import numpy as np
import pytest
from meshes import activate, add_object, cube, grid
from test_parts import columns, ids


@pytest.fixture
def parts(addon):
    return addon("parts")


@pytest.fixture
def striped(parts):
    """A 6 x 6 grid over 2 x 2 units of three parts, two columns each: ids 1, 2, 3."""
    obj = grid(6)
    parts.write_labels(obj.data, columns(6, [2, 4]))
    bpy.ops.ed.undo_push(message="striped")
    return obj


def weights(obj, name):
    """Weight of each vertex in a group, 0 where it is not in it."""
    index = obj.vertex_groups[name].index
    found = np.zeros(len(obj.data.vertices))
    for vertex in obj.data.vertices:
        for entry in vertex.groups:
            if entry.group == index:
                found[vertex.index] = entry.weight
    return found


def border_by_definition(obj, part_ids):
    """Edges whose faces are of different parts, from the definition."""
    faces = {}
    for polygon in obj.data.polygons:
        for key in polygon.edge_keys:
            faces.setdefault(key, set()).add(int(part_ids[polygon.index]))
    return [len(faces.get(edge.key, ())) > 1 for edge in obj.data.edges]


@pytest.mark.parametrize("mode", ["OBJECT", "EDIT"])
def test_vertex_groups_hold_the_vertices_of_their_part(striped, mode):
    striped.vertex_groups.new(name="Part 2")  # replaced
    striped.vertex_groups.new(name="Other")  # kept
    bpy.ops.object.mode_set(mode=mode)
    assert bpy.ops.partsam.apply_vertex_groups() == {"FINISHED"}
    assert striped.mode == mode
    bpy.ops.object.mode_set(mode="OBJECT")
    assert sorted(g.name for g in striped.vertex_groups) == ["Other", "Part 1", "Part 2", "Part 3"]
    column = np.arange(49) % 7
    assert (weights(striped, "Part 1") == (column <= 2)).all()
    assert (weights(striped, "Part 2") == ((column >= 2) & (column <= 4))).all()
    assert (weights(striped, "Part 3") == (column >= 4)).all()


def test_falloff_blends_over_a_world_distance_and_sums_to_one(parts):
    obj = grid(20)  # cells of 0.1
    parts.write_labels(obj.data, columns(20, [10]))
    obj.scale = (2, 2, 2)
    bpy.context.view_layer.update()
    bpy.ops.partsam.apply_vertex_groups(falloff=0.5)
    left, right = weights(obj, "Part 1"), weights(obj, "Part 2")
    assert left + right == pytest.approx(np.ones(len(left)))
    x = np.array([vertex.co.x for vertex in obj.data.vertices]) * 2
    t = np.clip(0.5 - x / (2 * 0.5), 0, 1)
    assert left == pytest.approx(t * t * (3 - 2 * t), abs=2e-3)


def test_falloff_crosses_doubled_vertices(parts):
    points, polygons = [], []
    for x in range(4):
        polygons.append(list(range(len(points), len(points) + 4)))
        points += [(x, 0, 0), (x + 1, 0, 0), (x + 1, 1, 0), (x, 1, 0)]
    obj = add_object("row", points, polygons)
    parts.write_labels(obj.data, np.array([0, 0, 1, 1]))
    bpy.ops.partsam.apply_vertex_groups(falloff=2.0)
    by_x = {0: 1.0, 1: 0.84375, 2: 0.5, 3: 0.15625, 4: 0.0}
    expected = [by_x[int(vertex.co.x)] for vertex in obj.data.vertices]
    assert weights(obj, "Part 1") == pytest.approx(np.array(expected), abs=1e-4)


def test_materials_in_part_colors_and_again(striped, parts):
    bpy.ops.partsam.apply_materials()
    names = [slot.material.name for slot in striped.material_slots]
    assert names == ["Part 1", "Part 2", "Part 3"]
    slots = np.array([polygon.material_index for polygon in striped.data.polygons])
    assert (slots == ids(striped, parts) - 1).all()
    first = striped.material_slots[0].material
    assert first.diffuse_color[2] > first.diffuse_color[0]
    parts.get_part(striped.data, 1).name = "Shield"
    bpy.ops.partsam.apply_materials()
    assert striped.material_slots[0].material == first and first.name == "Shield"
    assert len(bpy.data.materials) == 3


def test_materials_from_the_originals_keep_their_look(striped, parts):
    red, blue = bpy.data.materials.new("red"), bpy.data.materials.new("blue")
    red.diffuse_color, blue.diffuse_color = (1, 0, 0, 1), (0, 0, 1, 1)
    striped.data.materials.append(red)
    striped.data.materials.append(blue)
    for polygon in striped.data.polygons:
        polygon.material_index = int(polygon.center.x > -0.7)  # of part 1 only the first column is red
    part_ids = ids(striped, parts)
    part_ids[0] = 0
    parts.write_part_ids(striped.data, part_ids)
    bpy.ops.partsam.apply_materials(base="COPY")
    looks = [tuple(slot.material.diffuse_color[:3]) for slot in striped.material_slots]
    assert looks == [(0, 0, 1), (0, 0, 1), (0, 0, 1), (1, 0, 0)]
    assert striped.material_slots[3].material == red
    assert striped.data.polygons[0].material_index == 3
    assert red.name == "red" and blue.name == "blue"


def test_face_sets(striped, parts):
    part_ids = ids(striped, parts)
    part_ids[:3] = 0
    parts.write_part_ids(striped.data, part_ids)
    bpy.ops.partsam.apply_face_sets()
    values = [entry.value for entry in striped.data.attributes[".sculpt_face_set"].data]
    assert values == (part_ids + 1).tolist()


def test_seams_are_the_borders_and_old_seams_stay_or_go(striped, parts):
    expected = border_by_definition(striped, ids(striped, parts))
    assert sum(expected) == 12
    extra = expected.index(False)
    striped.data.edges[extra].use_seam = True
    bpy.ops.partsam.apply_edge_marks()
    seams = [edge.use_seam for edge in striped.data.edges]
    assert [s for i, s in enumerate(seams) if i != extra] == [s for i, s in enumerate(expected) if i != extra]
    assert seams[extra]
    bpy.ops.partsam.apply_edge_marks(clear=True)
    assert [edge.use_seam for edge in striped.data.edges] == expected


def test_borders_at_non_manifold_edges_and_on_ngons(parts, addon):
    marks = addon("apply.marks")
    points = [(0, 0, 0), (0, 0, 1), (1, 0, 0), (0, 1, 0), (-1, 0, 0), (1, 0, 1), (2, 0, 2)]
    obj = add_object("mixed", points, [[0, 1, 2], [0, 1, 3], [0, 1, 4], [2, 1, 6, 5]])
    for labels in ([0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0], [0, 1, 2, 3]):
        part_ids = np.array(labels, dtype=np.int32) + 1
        assert marks.border_edges(obj.data, part_ids).tolist() == border_by_definition(obj, part_ids)


def test_sharp_and_crease(striped, parts):
    expected = np.array(border_by_definition(striped, ids(striped, parts)))
    bpy.ops.partsam.apply_edge_marks(seam=False, sharp=True, crease=0.75)
    assert [edge.use_edge_sharp for edge in striped.data.edges] == expected.tolist()
    creases = np.array([entry.value for entry in striped.data.attributes["crease_edge"].data])
    assert (creases == expected * 0.75).all()
    assert not any(edge.use_seam for edge in striped.data.edges)
    with pytest.raises(RuntimeError, match="at least one"):
        bpy.ops.partsam.apply_edge_marks(seam=False)


def test_color_attribute_shows_the_parts_and_is_not_read_back(striped, addon, parts):
    bpy.ops.partsam.apply_color_attribute()
    attribute = striped.data.color_attributes.active_color
    assert attribute.name == "partsam_color"
    colors = np.array([entry.color_srgb[:3] for entry in attribute.data])
    corner_parts = np.repeat(ids(striped, parts), 4)
    for part_id in (1, 2, 3):
        assert colors[corner_parts == part_id] == pytest.approx(
            np.tile(parts.part_color(part_id), (48, 1)), abs=1e-3
        )
    exchange = addon("mesh_exchange")
    sample = exchange.sample_shape(exchange.read_shape(bpy.context, [striped]), 100)
    assert np.unique(sample.colors).tolist() == pytest.approx([192 / 255])


def test_all_selected_objects_are_done_and_each_mesh_once(striped, parts):
    other = cube(name="other")
    parts.write_labels(other.data, np.arange(6))
    twin = bpy.data.objects.new("twin", other.data)
    bpy.context.scene.collection.objects.link(twin)
    bare = cube(name="bare")
    activate(striped)
    for obj in (other, twin, bare):
        obj.select_set(True)
    bpy.ops.partsam.apply_face_sets()
    assert ".sculpt_face_set" in striped.data.attributes and ".sculpt_face_set" in other.data.attributes
    assert ".sculpt_face_set" not in bare.data.attributes


def test_one_undo_step(striped):
    bpy.ops.partsam.apply_vertex_groups("EXEC_DEFAULT", True)
    bpy.ops.partsam.apply_edge_marks("EXEC_DEFAULT", True)
    bpy.ops.ed.undo()
    obj = bpy.data.objects["grid"]
    assert len(obj.vertex_groups) == 3 and not any(edge.use_seam for edge in obj.data.edges)
    bpy.ops.ed.undo()
    obj = bpy.data.objects["grid"]
    assert len(obj.vertex_groups) == 0
    bpy.ops.ed.redo()
    assert len(bpy.data.objects["grid"].vertex_groups) == 3


def test_a_hundred_thousand_faces(parts):
    obj = grid(320)
    parts.write_labels(obj.data, columns(320, range(32, 320, 32)))
    for operator in (
        bpy.ops.partsam.apply_vertex_groups,
        bpy.ops.partsam.apply_materials,
        bpy.ops.partsam.apply_face_sets,
        bpy.ops.partsam.apply_edge_marks,
        bpy.ops.partsam.apply_color_attribute,
    ):
        assert operator() == {"FINISHED"}
    bpy.ops.partsam.apply_vertex_groups(falloff=0.05)
    assert sum(edge.use_seam for edge in obj.data.edges) == 9 * 320
    assert len(obj.vertex_groups) == 10 and len(obj.material_slots) == 10
