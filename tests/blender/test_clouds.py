# SPDX-License-Identifier: GPL-3.0-or-later
"""Point clouds: meshes without faces get parts on their vertices, by the real backend."""

from __future__ import annotations

import bmesh
import bpy
import numpy as np
import pytest
from meshes import activate, add_object, grid
from segmenting import dumbbell, needs_backend, use_real_backend

pytestmark = needs_backend

COUNT = 1500


@pytest.fixture(autouse=True)
def real_backend(monkeypatch):
    use_real_backend(monkeypatch)


@pytest.fixture
def parts(addon):
    return addon("parts")


def scan(addon, *, name="scan"):
    """Points on a dumbbell, with a color each; active and selected."""
    solid = dumbbell()
    mesh = addon("mesh_exchange").read_surface(solid)[0]
    points = addon("backend.geometry").sample_surface(mesh, COUNT, seed=3).points
    bpy.data.objects.remove(solid)
    obj = add_object(name, points.tolist(), [])
    colors = obj.data.color_attributes.new("Col", "FLOAT_COLOR", "POINT")
    colors.data.foreach_set("color", np.tile([0.2, 0.4, 0.6, 1], COUNT))
    return obj


def ids(obj):
    attribute = obj.data.attributes["partsam_part_points"]
    assert (attribute.data_type, attribute.domain) == ("INT", "POINT")
    values = np.empty(len(obj.data.vertices), dtype=np.int32)
    attribute.data.foreach_get("value", values)
    return values


def labelled(addon):
    """A scan whose parts are known: left, middle, right."""
    obj = scan(addon)
    x = np.array([vertex.co.x for vertex in obj.data.vertices])
    addon("parts").write_labels(obj.data, np.searchsorted([-1, 1], x).astype(np.int32))
    return obj


def test_a_cloud_gets_parts_that_are_cut_split_and_made_vertex_groups(addon, parts):
    obj = scan(addon)
    broken = obj.data.vertices[5]
    broken.co.x = float("nan")
    assert bpy.ops.partsam.segment(prompts=24, granularity=0.6) == {"FINISHED"}
    table, found = obj.data.partsam, ids(obj)
    assert found[5] == 0 and (np.delete(found, 5) > 0).all()
    counts = {part.part_id: part.face_count for part in table.parts}
    assert counts == dict(
        zip(*(v.tolist() for v in np.unique(found[found > 0], return_counts=True)), strict=True)
    )
    assert len(counts) > 1
    bpy.ops.partsam.cut(granularity=0.0)
    assert len(table.parts) == 1
    bpy.ops.partsam.cut(granularity=0.6)
    assert (ids(obj) == found).all()
    largest = max(table.parts, key=lambda part: part.face_count)
    parts.set_active_part(obj.data, largest.part_id)
    others = found != largest.part_id
    bpy.ops.partsam.split_part(granularity=0.7)
    assert (ids(obj)[others] == found[others]).all()
    bpy.ops.partsam.apply_vertex_groups()
    assert {group.name for group in obj.vertex_groups} == {part.name for part in table.parts}
    for part in table.parts:
        group = obj.vertex_groups[part.name]
        members = [v.index for v in obj.data.vertices if any(g.group == group.index for g in v.groups)]
        assert members == np.flatnonzero(ids(obj) == part.part_id).tolist()


def test_only_selected_points_are_segmented(addon):
    obj = labelled(addon)
    left = ids(obj) == 1
    addon("mesh_exchange.elements").write_element_flags(obj.data, "select", left)
    before = ids(obj)
    bpy.ops.partsam.segment(prompts=16, poses=2, selected_faces_only=True, keep_edits=False)
    assert (ids(obj)[~left] == before[~left]).all() and (ids(obj)[left] > 0).all()


def test_the_list_works_on_points(addon, parts):
    obj = labelled(addon)
    table = obj.data.partsam
    assert [part.face_count for part in table.parts] == np.bincount(ids(obj))[1:].tolist()
    bpy.ops.partsam.part_rename(part=2, name="Rod")
    bpy.ops.partsam.part_recolor(part=2, color=(1, 0, 0))
    bpy.ops.partsam.part_select(part=2)
    chosen = [vertex.index for vertex in obj.data.vertices if vertex.select]
    assert chosen == np.flatnonzero(ids(obj) == 2).tolist()
    bpy.ops.partsam.part_new_from_selected(name="Bar")
    assert {part.name for part in table.parts} >= {"Bar"} and "Rod" not in {part.name for part in table.parts}
    bpy.ops.partsam.part_isolate(part=1)
    assert [v.hide for v in obj.data.vertices] == (ids(obj) != 1).tolist()
    bpy.ops.partsam.part_isolate(part=1)
    assert not any(vertex.hide for vertex in obj.data.vertices)
    bpy.ops.partsam.explode(factor=0.5)
    bpy.ops.partsam.explode(factor=0.0)
    bar = next(part.part_id for part in table.parts if part.name == "Bar")
    bpy.ops.partsam.part_delete(part=bar)  # each point goes to the nearest other part
    x = np.array([vertex.co.x for vertex in obj.data.vertices])
    assert (ids(obj) == np.where(x < 0, 1, 3))[np.abs(x) > 0.2].all()
    bpy.ops.partsam.part_merge(part=3, into="1")
    assert (ids(obj) == 1).all()
    bpy.ops.partsam.apply_color_attribute()
    color = obj.data.color_attributes["partsam_color"]
    assert color.domain == "POINT" and len(color.data) == COUNT
    bpy.ops.partsam.parts_clear()
    assert not parts.has_parts(obj.data)


def test_edit_mode_and_its_undo_keep_the_table(addon, parts):
    obj = labelled(addon)
    bpy.ops.ed.undo_push(message="labelled")
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.ed.undo_push(message="edit")
    bpy.ops.partsam.part_merge(part=3, into="1")
    bpy.ops.ed.undo_push(message="merge")
    assert [part.part_id for part in obj.data.partsam.parts] == [1, 2]
    bpy.ops.ed.undo()
    obj = bpy.context.object
    assert [part.part_id for part in obj.data.partsam.parts] == [1, 2, 3]
    bpy.ops.object.mode_set(mode="OBJECT")
    assert sorted(set(ids(obj))) == [1, 2, 3]


def test_a_cloud_is_separated_by_its_parts(addon):
    obj = labelled(addon)
    found, table = ids(obj), obj.data.partsam
    obj.location, obj.data.vertices[0].co = (1, 2, 3), (0, 0, 9)
    obj.vertex_groups.new(name="seen").add(list(range(0, COUNT, 2)), 0.5, "REPLACE")
    obj.shape_key_add(name="Basis")
    obj.shape_key_add(name="up").data[0].co.z = 12
    inside = np.flatnonzero(found == found[0])[:2].tolist()
    obj.data.edges.add(1)
    obj.data.edges[0].vertices = inside
    expected = {part.name: part.part_id for part in table.parts}
    bpy.context.view_layer.update()
    places = np.array([obj.matrix_world @ vertex.co for vertex in obj.data.vertices])
    assert bpy.ops.partsam.apply_separate(grouping="COLLECTION") == {"FINISHED"}
    made = [one for one in bpy.data.objects if one.type == "MESH" and one is not obj]
    assert {one.name for one in made} == set(expected)
    bpy.context.view_layer.update()
    for one in made:
        own = found == expected[one.name]
        mesh = one.data
        moved = np.array([one.matrix_world @ vertex.co for vertex in mesh.vertices])
        np.testing.assert_allclose(moved, places[own], atol=1e-5)
        assert len(mesh.color_attributes["Col"].data) == own.sum() == len(mesh.vertices)
        weighted = sum(bool(vertex.groups) for vertex in mesh.vertices)
        assert weighted == (own & (np.arange(COUNT) % 2 == 0)).sum()
        assert [part.name for part in mesh.partsam.parts] == [one.name]
        assert (ids(one) == expected[one.name]).all()
        assert len(mesh.edges) == int(expected[one.name] == found[0])
        assert set(mesh.shape_keys.key_blocks.keys()) == {"Basis", "up"}


CLICK_REFUSED = r"this needs faces\. Press Segment .* select points in Edit mode"


@pytest.mark.parametrize("mode", ["OBJECT", "EDIT"])
def test_a_scripts_click_on_points_is_refused_with_the_way_out_in_every_mode(addon, mode):
    obj = labelled(addon)
    bpy.ops.object.mode_set(mode=mode)
    with pytest.raises(RuntimeError, match=CLICK_REFUSED):
        bpy.ops.partsam.click(points="0 0 1")
    with pytest.raises(addon("api").PartSAMError, match=CLICK_REFUSED):
        addon("api").predict(obj, [(0, 0, 1)], [1])
    assert obj.mode == mode


def test_what_needs_faces_says_so_and_loses_nothing(addon):
    obj = labelled(addon)
    before, attributes = ids(obj), set(obj.data.attributes.keys())
    refused = [t for t in addon("targets").TARGETS if t.operator.needs_faces]
    assert {t.idname for t in refused} >= {"partsam.apply_id_map", "partsam.apply_armature"}
    for target in refused:
        with pytest.raises(RuntimeError, match=r"point cloud|no faces"):
            getattr(bpy.ops.partsam, target.idname.partition(".")[2])()
    for wish in ({"cap_holes": True}, {"origin": "JOINT"}, {"link_copies": True}):
        with pytest.raises(RuntimeError, match=r"is a point cloud, and .* needs faces"):
            bpy.ops.partsam.apply_separate(**wish)
    with pytest.raises(RuntimeError, match="set Falloff to 0"):
        bpy.ops.partsam.apply_vertex_groups(falloff=0.1)
    with pytest.raises(RuntimeError, match=CLICK_REFUSED):
        bpy.ops.partsam.click(points="0 0 1")
    target = grid(3)
    activate(obj)
    target.select_set(True)
    with pytest.raises(RuntimeError, match="this needs faces"):
        bpy.ops.partsam.transfer_parts()
    with pytest.raises(RuntimeError, match="Each in Turn"):
        bpy.ops.partsam.segment(several="JOINED")
    activate(obj)
    obj.modifiers.new("Displace", "DISPLACE")
    with pytest.raises(RuntimeError, match="cannot be mapped back"):
        bpy.ops.partsam.segment(source="EVALUATED")
    assert (ids(obj) == before).all() and set(obj.data.attributes.keys()) == attributes
    assert set(bpy.data.objects) == {obj, target}
    few = add_object("few", [(0, 0, 0), (1, 0, 0)], [])
    with pytest.raises(RuntimeError, match="only 2 points; without faces it takes 4"):
        bpy.ops.partsam.segment()
    assert not len(few.data.partsam.parts)


def test_a_mesh_that_loses_its_faces_loses_their_parts(parts):
    obj = grid(4)
    parts.write_labels(obj.data, np.repeat([0, 1], 8))
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.select_all(action="SELECT")
    bpy.ops.mesh.delete(type="EDGE_FACE")
    bpy.ops.object.mode_set(mode="OBJECT")
    parts.bring_together(obj.data)
    assert len(obj.data.vertices) == 25 and not parts.has_parts(obj.data)
    parts.write_labels(obj.data, np.arange(25) // 13)
    assert [part.face_count for part in obj.data.partsam.parts] == [13, 12]


@pytest.mark.parametrize("order", [1, -1])
def test_a_joined_mesh_shows_its_faces_parts_and_keeps_those_of_its_points(addon, parts, order, capfd):
    solid, cloud = grid(4, name="solid"), labelled(addon)
    cloud.data.partsam.parts[1].name = "Rod"
    before = ids(cloud)
    parts.write_labels(solid.data, np.repeat([0, 1], 8))
    solid.data.partsam.parts[0].name = "Front"
    joined, other = (solid, cloud)[::order]
    activate(joined)
    other.select_set(True)
    bpy.ops.object.join("EXEC_DEFAULT", True)
    table = joined.data.partsam
    bpy.ops.partsam.part_lock("EXEC_DEFAULT", True, part=0)
    assert {(part.name, part.face_count) for part in table.parts} >= {("Front", 8)} and len(table.parts) == 2
    bpy.ops.object.mode_set("EXEC_DEFAULT", True, mode="EDIT")
    bpy.ops.mesh.select_all(action="SELECT")
    bpy.ops.mesh.delete(type="ONLY_FACE")
    bpy.ops.object.mode_set("EXEC_DEFAULT", True, mode="OBJECT")
    bpy.ops.partsam.part_select("EXEC_DEFAULT", True, part=0)
    names = {part.name: part.face_count for part in table.parts}
    assert len(names) == 3 and names["Rod"] == (before == 2).sum()
    bpy.ops.partsam.parts_clear()
    assert not [name for name in set(joined.data.attributes.keys()) if "partsam" in name]


def test_files_of_earlier_versions_have_the_points_attributes_renamed(addon, parts, tmp_path):
    """They had the names of those of faces; joining then covered the ones of the faces."""
    obj = labelled(addon)
    before = ids(obj)
    for name in set(obj.data.attributes.keys()):
        if name.endswith("_points"):
            obj.data.attributes[name].name = name.removesuffix("_points")
    assert parts.has_parts(obj.data)  # also where it was appended
    solid = grid(4, name="solid")
    parts.write_labels(solid.data, np.repeat([0, 1], 8))
    numbered = solid.data.attributes["partsam_part"]
    numbered.name = "partsam_part.001"
    solid.data.attributes.new("partsam_part", "INT", "POINT")
    parts.bring_together(solid.data)
    assert [part.face_count for part in solid.data.partsam.parts] == [8, 8]
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "older.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "older.blend"))
    obj = bpy.data.objects["scan"]
    assert (ids(obj) == before).all() and [part.part_id for part in obj.data.partsam.parts] == [1, 2, 3]


def test_faces_over_the_points_of_a_cloud_take_over_their_parts(addon, parts):
    obj = labelled(addon)
    obj.data.partsam.parts[0].name = "Left"
    before = ids(obj)
    left = np.flatnonzero(before == 1)[:3].tolist()
    bpy.ops.ed.undo_push(message="labelled")

    def add_face(vertices):
        bpy.ops.object.mode_set("EXEC_DEFAULT", True, mode="EDIT")
        edit_mesh = bmesh.from_edit_mesh(obj.data)
        edit_mesh.verts.ensure_lookup_table()
        face = edit_mesh.faces.new([edit_mesh.verts[index] for index in vertices])
        bpy.ops.mesh.select_all(action="DESELECT")
        face.select = True
        bmesh.update_edit_mesh(obj.data)

    add_face(left)
    bpy.ops.partsam.part_rename(part=1, name="Ear")
    assert [(part.name, part.face_count) for part in obj.data.partsam.parts] == [("Ear", 1)]
    bpy.ops.partsam.part_new_from_selected(name="Tip")  # the points' parts are not its business
    bpy.ops.mesh.delete(type="ONLY_FACE")
    bpy.ops.object.mode_set("EXEC_DEFAULT", True, mode="OBJECT")
    bpy.ops.partsam.part_lock(part=3)
    assert (ids(obj) == before).all()
    assert (obj.data.partsam.parts[0].part_id, obj.data.partsam.parts[0].name) == (1, "Ear")
    parts.clear_parts(obj.data)
    parts.write_labels(obj.data, np.where(before == 1, parts.KEEP, 0))
    add_face(left)  # on points that are in no part
    with pytest.raises(RuntimeError, match="loose points have parts"):
        bpy.ops.partsam.part_select()
    with pytest.raises(RuntimeError, match="loose points have parts"):
        bpy.ops.partsam.part_select()  # now its poll says so


def test_points_of_a_deleted_part_go_to_the_nearest_of_many(parts):
    random = np.random.default_rng(0)
    points = random.normal(size=(600, 3))
    points[0] = np.nan
    obj = add_object("many", points.tolist(), [])
    labels = random.integers(0, 7, 600) * (points[:, 0] < 0)
    parts.write_labels(obj.data, labels)
    before = ids(obj)
    parts.delete_part(obj.data, 1)
    owners = before != 1
    places = np.nan_to_num(points)
    nearest = np.linalg.norm(places[:, None] - places[owners], axis=-1).argmin(axis=1)
    assert (ids(obj)[1:] == before[owners][nearest][1:]).all()


def test_blenders_point_cloud_objects_are_to_be_converted(addon):
    cloud = bpy.data.objects.new("lidar", bpy.data.pointclouds.new("lidar"))
    bpy.context.scene.collection.objects.link(cloud)
    activate(cloud)
    with pytest.raises(RuntimeError, match=r"not a mesh; convert it first \(Object > Convert > Mesh\)"):
        bpy.ops.partsam.segment()
    obj = scan(addon)
    kinds = bpy.ops.object.convert.get_rna_type().properties["target"].enum_items.keys()
    if "POINTCLOUD" not in kinds:
        return  # Blender 4.2 cannot make any
    bpy.ops.object.convert(target="POINTCLOUD")
    assert bpy.context.object.type == "POINTCLOUD"
    bpy.ops.object.convert(target="MESH")
    assert bpy.context.object.type == "MESH" and len(bpy.context.object.data.vertices) == COUNT
    assert bpy.ops.partsam.segment(prompts=8) == {"FINISHED"}
    assert obj.name in bpy.data.objects
