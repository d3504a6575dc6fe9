# SPDX-License-Identifier: GPL-3.0-or-later
"""Separation keeps every layer, value by value; explosion leaves no trace; caps close what was cut."""

from __future__ import annotations

import bpy
import numpy as np
import pytest
from mathutils import Euler, Matrix, Vector
from meshes import activate, add_object, cube, grid
from test_parts import columns, ids

RNG_SEED = 7


@pytest.fixture
def parts(addon):
    return addon("parts")


@pytest.fixture
def separation(addon):
    return addon("separation.separation")


def number_elements(mesh):
    """Attributes that tell in any copy where each element comes from."""
    for name, domain in (("v", "POINT"), ("e", "EDGE"), ("f", "FACE"), ("c", "CORNER")):
        attribute = mesh.attributes.new(f"id_{name}", "INT", domain)
        attribute.data.foreach_set("value", np.arange(len(attribute.data), dtype=np.int32))


def numbers(mesh, name):
    values = np.empty(len(mesh.attributes[f"id_{name}"].data), dtype=np.int32)
    mesh.attributes[f"id_{name}"].data.foreach_get("value", values)
    return values


MEMBERS = {
    "FLOAT": ("value", 1, np.float32),
    "INT": ("value", 1, np.int32),
    "BOOLEAN": ("value", 1, bool),
    "INT8": ("value", 1, np.int32),
    "FLOAT2": ("vector", 2, np.float32),
    "FLOAT_VECTOR": ("vector", 3, np.float32),
    "FLOAT_COLOR": ("color", 4, np.float32),
    "BYTE_COLOR": ("color_srgb", 4, np.float32),
    "INT32_2D": ("value", 2, np.int32),
    "QUATERNION": ("value", 4, np.float32),
    "FLOAT4X4": ("value", 16, np.float32),
}


def values(mesh, name):
    attribute = mesh.attributes[name]
    member, width, dtype = MEMBERS[attribute.data_type]
    found = np.empty((len(attribute.data), width), dtype=dtype)
    attribute.data.foreach_get(member, found.ravel())
    return found


def positions(mesh):
    found = np.empty((len(mesh.vertices), 3), dtype=np.float32)
    mesh.vertices.foreach_get("co", found.ravel())
    return found


def corner_normals(mesh):
    found = np.empty((len(mesh.loops), 3), dtype=np.float32)
    mesh.corner_normals.foreach_get("vector", found.ravel())
    return found


def fill_with_everything(obj):
    """Give the mesh one layer of every kind, with different values everywhere."""
    random = np.random.default_rng(RNG_SEED)
    mesh = obj.data
    wanted = [
        (f"{t.lower()}_{d.lower()}", t, d) for t in MEMBERS for d in ("POINT", "EDGE", "FACE", "CORNER")
    ]
    wanted += [("crease_edge", "FLOAT", "EDGE"), ("bevel_weight_edge", "FLOAT", "EDGE")]
    wanted += [("crease_vert", "FLOAT", "POINT"), ("bevel_weight_vert", "FLOAT", "POINT")]
    wanted += [("sharp_face", "BOOLEAN", "FACE"), ("sharp_edge", "BOOLEAN", "EDGE")]
    wanted += [("material_index", "INT", "FACE"), (".sculpt_face_set", "INT", "FACE")]
    for name, data_type, domain in wanted:
        if name not in mesh.attributes:
            mesh.attributes.new(name, data_type, domain)
    for name, data_type, _ in wanted:
        member, width, dtype = MEMBERS[data_type]
        size = len(mesh.attributes[name].data) * width
        if dtype is bool:
            array = random.random(size) < 0.5
        elif dtype is np.int32:
            array = random.integers(0, 3 if name == "material_index" else 100, size).astype(np.int32)
        else:
            array = random.random(size).astype(np.float32)
        mesh.attributes[name].data.foreach_set(member, array)
    mesh.edges.foreach_set("use_seam", (random.random(len(mesh.edges)) < 0.3).tolist())
    for name in ("red", "green", "blue"):
        mesh.materials.append(bpy.data.materials.new(name))
    for name in ("Bone", "Tail"):
        group = obj.vertex_groups.new(name=name)
        for vertex in range(0, len(mesh.vertices), 2 if name == "Bone" else 3):
            group.add([vertex], float(random.random()) if vertex % 4 else 1.0, "REPLACE")
    obj.shape_key_add(name="Basis")
    for name in ("Smile", "Frown"):
        block = obj.shape_key_add(name=name, from_mix=False)
        moved = positions(mesh) + random.random((len(mesh.vertices), 3)).astype(np.float32)
        block.data.foreach_set("co", moved.ravel())
        block.value, block.slider_max = 0.25, 2.0
    mesh.shape_keys.key_blocks["Frown"].relative_key = mesh.shape_keys.key_blocks["Smile"]
    mesh.shape_keys.key_blocks["Frown"].vertex_group = "Tail"


def weights_of(obj):
    """{group name: {vertex: weight}}"""
    names = [group.name for group in obj.vertex_groups]
    found = {name: {} for name in names}
    for vertex in obj.data.vertices:
        for entry in vertex.groups:
            found[names[entry.group]][vertex.index] = entry.weight
    return found


def separated(names):
    return [bpy.data.objects[name] for name in names]


def test_every_layer_is_kept(parts):
    obj = grid(6)
    obj.data.uv_layers.new(name="Second")
    parts.write_labels(obj.data, columns(6, [2, 4]))
    number_elements(obj.data)
    fill_with_everything(obj)
    obj.data.uv_layers.active_index = 1
    obj.data.uv_layers["UVMap"].active_render = True
    obj.data.color_attributes.active_color = obj.data.color_attributes["byte_color_corner"]
    source_part = ids(obj, parts)
    seams = np.array([edge.use_seam for edge in obj.data.edges])
    weights = weights_of(obj)
    assert bpy.ops.partsam.apply_separate(origin="KEEP") == {"FINISHED"}
    seen = []
    for part_id, part in enumerate(separated(["Part 1", "Part 2", "Part 3"]), start=1):
        mesh = part.data
        source = {name: numbers(mesh, name) for name in "vefc"}
        seen += source["f"].tolist()
        assert (source_part[source["f"]] == part_id).all()
        domain_key = {"POINT": "v", "EDGE": "e", "FACE": "f", "CORNER": "c"}
        names = {a.name for a in obj.data.attributes if a.data_type in MEMBERS} - {".partsam_revision"}
        assert names <= {a.name for a in mesh.attributes}
        for name in names - {"position", ".edge_verts", ".corner_vert", ".corner_edge", ".partsam_origin"}:
            original, copied = obj.data.attributes[name], mesh.attributes[name]
            assert (copied.data_type, copied.domain) == (original.data_type, original.domain)
            expected = values(obj.data, name)[source[domain_key[original.domain]]]
            assert (values(mesh, name) == expected).all(), name
        assert (positions(mesh) == positions(obj.data)[source["v"]]).all()
        assert (np.array([edge.use_seam for edge in mesh.edges]) == seams[source["e"]]).all()
        # The connectivity is the original's.
        for edge in mesh.edges:
            ends = {source["v"][v] for v in edge.vertices}
            assert ends == set(obj.data.edges[source["e"][edge.index]].vertices)
        for polygon in mesh.polygons:
            loop = [source["v"][v] for v in polygon.vertices]
            assert loop == list(obj.data.polygons[source["f"][polygon.index]].vertices)
        assert not mesh.validate()
        # Weights, shape keys, active layers, materials.
        local = {int(v): i for i, v in enumerate(source["v"])}
        expected_weights = {
            name: {local[v]: w for v, w in entries.items() if v in local} for name, entries in weights.items()
        }
        assert weights_of(part) == expected_weights
        keys, original_keys = mesh.shape_keys.key_blocks, obj.data.shape_keys.key_blocks
        assert [k.name for k in keys] == ["Basis", "Smile", "Frown"]
        for key in keys:
            original = original_keys[key.name]
            assert [tuple(p.co) for p in key.data] == [tuple(original.data[v].co) for v in source["v"]]
            assert (key.value, key.slider_max, key.vertex_group) == (
                original.value,
                original.slider_max,
                original.vertex_group,
            )
            assert key.relative_key.name == original.relative_key.name
        assert mesh.uv_layers.active.name == "Second" and mesh.uv_layers["UVMap"].active_render
        assert mesh.color_attributes.active_color.name == "byte_color_corner"
        assert [m.name for m in mesh.materials] == ["red", "green", "blue"]
        assert [p.name for p in mesh.partsam.parts] == [f"Part {part_id}"]
    assert sorted(seen) == list(range(36))


def test_an_attribute_named_as_a_vertex_group_is_kept_beside_it(parts, separation):
    """Blender has both on a mesh if the attribute was there first, and refuses the attribute otherwise."""
    obj = grid(2)
    parts.write_labels(obj.data, np.array([0, 0, 1, 1], dtype=np.int32))
    obj.data.attributes.new("Head", "FLOAT", "POINT").data.foreach_set(
        "value", np.arange(9, dtype=np.float32)
    )
    obj.vertex_groups.new(name="Head").add([0, 8], 0.5, "REPLACE")
    number_elements(obj.data)
    for drop_unused in (False, True):
        settings = separation.SeparateSettings(drop_unused=drop_unused)
        for part in separation.separate_parts(bpy.context, obj, settings).objects:
            sources = numbers(part.data, "v")
            assert values(part.data, "Head").ravel().tolist() == sources.tolist()
            (group,) = part.vertex_groups
            weights = [{g.group: g.weight for g in v.groups}.get(group.index, 0) for v in part.data.vertices]
            assert weights == [0.5 * (source in (0, 8)) for source in sources.tolist()]


def test_custom_normals_and_sharp_edges_are_kept(parts):
    obj = cube()
    obj.data.polygons.foreach_set("use_smooth", [True] * 6)
    tilted = [Vector((0.3, 0.2, 1)).normalized(), Vector((1, 0.1, 0.2)).normalized()]
    chosen = [tilted[loop.vertex_index % 2] for loop in obj.data.loops]
    obj.data.normals_split_custom_set(chosen)
    number_elements(obj.data)
    expected = corner_normals(obj.data)
    assert obj.data.has_custom_normals
    parts.write_labels(obj.data, np.array([0, 0, 0, 1, 1, 1]))
    bpy.ops.partsam.apply_separate()
    for part in separated(["Part 1", "Part 2"]):
        assert part.data.has_custom_normals
        assert corner_normals(part.data) == pytest.approx(expected[numbers(part.data, "c")], abs=2e-3)
        sharp = [edge.use_edge_sharp for edge in part.data.edges]
        assert sharp == [obj.data.edges[e].use_edge_sharp for e in numbers(part.data, "e")]


def test_no_custom_normals_are_invented(parts):
    obj = cube()
    parts.write_labels(obj.data, np.array([0, 0, 0, 1, 1, 1]))
    bpy.ops.partsam.apply_separate()
    assert not any(part.data.has_custom_normals for part in separated(["Part 1", "Part 2"]))


def world_corners(obj):
    matrix = np.array(obj.matrix_world)
    return positions(obj.data) @ matrix[:3, :3].T + matrix[:3, 3]


@pytest.mark.parametrize("grouping", ["EMPTY", "COLLECTION", "NONE"])
@pytest.mark.parametrize("mirrored", [False, True])
def test_parts_stay_in_place_with_their_own_origins(parts, grouping, mirrored):
    parent = bpy.data.objects.new("parent", None)
    home = bpy.data.collections.new("home")
    bpy.context.scene.collection.children.link(home)
    home.objects.link(parent)
    parent.matrix_world = Matrix.Translation((1, 2, 3)) @ Euler((0.3, 0.2, 0.1)).to_matrix().to_4x4()
    obj = grid(6)
    home.objects.link(obj)
    bpy.context.scene.collection.objects.unlink(obj)
    obj.parent = parent
    obj.location, obj.rotation_euler = (4, 0, 1), (0, 0.5, 0)
    obj.scale = (-2 if mirrored else 2, 1, 3)
    obj.delta_location, obj.delta_scale = (0, 0, 1), (1, 2, 1)
    child = bpy.data.objects.new("child", None)
    home.objects.link(child)
    child.parent, child.location = obj, (0, 0, 5)
    activate(obj)
    parts.write_labels(obj.data, columns(6, [2, 4]))
    number_elements(obj.data)
    before, child_before = world_corners(obj), child.matrix_world.copy()
    obj_name = obj.name
    bpy.ops.partsam.apply_separate(grouping=grouping, original="REMOVE")
    bpy.context.view_layer.update()
    made = separated(["Part 1", "Part 2", "Part 3"])
    for part in made:
        assert world_corners(part) == pytest.approx(before[numbers(part.data, "v")], abs=1e-5)
        local = positions(part.data)
        assert local.min(axis=0) + local.max(axis=0) == pytest.approx(np.zeros(3), abs=1e-6)
    assert obj_name not in bpy.data.objects
    assert np.array(child.matrix_world) == pytest.approx(np.array(child_before), abs=1e-5)
    root = made[0].parent
    if grouping == "EMPTY":
        assert root.type == "EMPTY" and root.parent == parent and child.parent == root
        assert list(root.users_collection) == [home]
    else:
        assert root == parent
    if grouping == "COLLECTION":
        assert [c.name for c in made[0].users_collection] == ["grid Parts"]
        assert "grid Parts" in home.children
    assert all(part.select_get() for part in made) and bpy.context.object in made


def test_original_is_hidden_and_untouched(parts):
    obj = grid(6)
    parts.write_labels(obj.data, columns(6, [2]))
    before = values(obj.data, "partsam_part")
    bpy.ops.partsam.apply_separate()
    assert obj.hide_get() and obj.hide_render and not obj.select_get()
    assert (values(obj.data, "partsam_part") == before).all() and len(obj.data.partsam.parts) == 2


def test_modifiers_animation_and_constraints_follow_where_they_make_sense(parts):
    obj = grid(6)
    parts.write_labels(obj.data, columns(6, [2]))
    obj.modifiers.new("smooth", "SUBSURF").levels = 1
    obj.modifiers.new("hair", "CLOTH")
    obj.keyframe_insert("location", frame=1)
    driver = obj.driver_add('modifiers["smooth"].levels').driver
    driver.expression = "2"
    obj.constraints.new("LIMIT_LOCATION")
    bpy.ops.partsam.apply_separate()
    part = bpy.data.objects["Part 1"]
    assert [m.name for m in part.modifiers] == ["smooth"]
    assert [d.data_path for d in part.animation_data.drivers] == ['modifiers["smooth"].levels']
    assert part.animation_data.action is None and len(part.constraints) == 0
    assert part.parent.animation_data.action == obj.animation_data.action
    assert [c.type for c in part.parent.constraints] == ["LIMIT_LOCATION"]


def test_mirror_modifier_keeps_the_origin(parts):
    obj = grid(6)
    parts.write_labels(obj.data, columns(6, [2]))
    obj.modifiers.new("mirror", "MIRROR")
    bpy.ops.partsam.apply_separate()
    assert tuple(bpy.data.objects["Part 1"].location) == (0, 0, 0)


def test_faces_in_no_part_and_loose_elements_are_not_lost(parts):
    points = [
        (0, 0, 0),
        (1, 0, 0),
        (1, 1, 0),
        (0, 1, 0),
        (2, 0, 0),
        (2, 1, 0),
        (5, 5, 5),
        (6, 6, 6),
        (7, 7, 7),
    ]
    obj = add_object("mixed", points, [[0, 1, 2, 3], [1, 4, 5, 2]])
    mesh = bpy.data.meshes.new("mixed")
    mesh.from_pydata(points, [(6, 7)], [[0, 1, 2, 3], [1, 4, 5, 2]])
    obj.data = mesh
    parts.write_part_ids(mesh, np.array([1, 0], dtype=np.int32))
    bpy.ops.partsam.apply_separate()
    rest = bpy.data.objects["mixed Rest"].data
    assert (len(rest.vertices), len(rest.edges), len(rest.polygons)) == (7, 5, 1)
    assert len(bpy.data.objects["Part 1"].data.vertices) == 4
    assert not rest.validate()


def test_single_part_is_refused_and_multi_user_mesh_is_left_alone(parts):
    obj = cube()
    parts.write_labels(obj.data, np.zeros(6, dtype=np.int32))
    with pytest.raises(RuntimeError, match="single part"):
        bpy.ops.partsam.apply_separate()
    assert len(bpy.data.objects) == 1
    twin = bpy.data.objects.new("twin", obj.data)
    bpy.context.scene.collection.objects.link(twin)
    parts.write_labels(obj.data, np.array([0, 0, 0, 1, 1, 1]))
    bpy.ops.partsam.apply_separate(original="REMOVE")
    assert twin.data.users == 1 and len(twin.data.polygons) == 6


def test_separate_from_edit_mode_and_undo(parts):
    obj = grid(6)
    parts.write_labels(obj.data, columns(6, [2]))
    bpy.ops.ed.undo_push(message="parts")
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.ed.undo_push(message="edit mode")
    bpy.ops.partsam.apply_separate("EXEC_DEFAULT", True)
    assert len(bpy.data.objects) == 4
    bpy.ops.ed.undo()
    assert [o.name for o in bpy.data.objects] == ["grid"]
    assert not bpy.data.objects["grid"].hide_get()


def closed(mesh):
    """Whether every edge has exactly two faces, in opposite directions."""
    directed = set()
    for polygon in mesh.polygons:
        for a, b in zip(polygon.vertices, [*polygon.vertices[1:], polygon.vertices[0]], strict=True):
            if (a, b) in directed:
                return False
            directed.add((a, b))
    return all((b, a) in directed for a, b in directed)


def volume(mesh):
    mesh.calc_loop_triangles()
    points = positions(mesh)
    triangles = np.array([t.vertices[:] for t in mesh.loop_triangles])
    a, b, c = (points[triangles[:, k]] for k in range(3))
    return float(np.einsum("fi,fi->", a, np.cross(b, c)) / 6)


def test_caps_close_both_halves_of_a_cut_sphere(parts):
    bpy.ops.mesh.primitive_uv_sphere_add(segments=16, ring_count=8)
    obj = bpy.context.object
    whole = volume(obj.data)
    labels = np.array([int(p.center.z > 0) for p in obj.data.polygons])
    parts.write_labels(obj.data, labels)
    bpy.ops.partsam.apply_separate(cap_holes=True)
    made = separated(["Part 1", "Part 2"])
    assert all(closed(part.data) for part in made)
    assert sum(volume(part.data) for part in made) == pytest.approx(whole, rel=1e-5)
    for part in made:
        caps = values(part.data, "partsam_cap")[:, 0]
        assert caps.sum() == 14
        normals = np.array([p.normal for p in part.data.polygons])[caps]
        assert np.abs(normals[:, 2]) == pytest.approx(np.ones(14), abs=1e-5)
        assert not part.data.validate()
        assert set(values(part.data, "partsam_part")[:, 0]) <= {1, 2}


def test_caps_leave_older_holes_open_and_close_inner_loops(parts):
    # An open tube of four rings: its ends are holes of the mesh, the cut between is ours.
    sides, rings = 12, 4
    angles = np.arange(sides) * 2 * np.pi / sides
    points = [(np.cos(a), np.sin(a), z) for z in range(rings) for a in angles]
    polygons = [
        [r * sides + s, r * sides + (s + 1) % sides, (r + 1) * sides + (s + 1) % sides, (r + 1) * sides + s]
        for r in range(rings - 1)
        for s in range(sides)
    ]
    obj = add_object("tube", points, polygons)
    parts.write_labels(obj.data, np.repeat([0, 1, 0], sides))
    bpy.ops.partsam.apply_separate(cap_holes=True)
    ends, middle = separated(["Part 1", "Part 2"])
    assert closed(middle.data) and volume(middle.data) == pytest.approx(3.0)
    assert values(middle.data, "partsam_cap").sum() == 2 * (sides - 2)
    assert values(ends.data, "partsam_cap").sum() == 2 * (sides - 2)
    boundary = np.bincount([e for p in ends.data.polygons for e in loop_edges(ends.data, p)])
    assert (boundary == 1).sum() == 2 * sides  # the two old ends


def loop_edges(mesh, polygon):
    return [mesh.loops[index].edge_index for index in polygon.loop_indices]


def test_caps_across_doubled_vertices(parts):
    # A cube whose faces share no vertex, cut into a corner of three faces and the rest.
    solid = cube()
    faces = [[tuple(solid.data.vertices[v].co) for v in p.vertices] for p in solid.data.polygons]
    points = [point for face in faces for point in face]
    obj = add_object("loose", points, [list(range(4 * k, 4 * k + 4)) for k in range(6)])
    parts.write_labels(obj.data, np.array([0, 1, 0, 1, 0, 1]))
    bpy.ops.partsam.apply_separate(cap_holes=True)
    made = separated(["Part 1", "Part 2"])
    assert sum(volume(part.data) for part in made) == pytest.approx(8.0)
    assert [int(values(part.data, "partsam_cap").sum()) for part in made] == [4, 4]


def test_knight_is_separated_with_its_texture_coordinates(parts, repository):
    bpy.ops.import_scene.gltf(filepath=str(repository / "tests" / "data" / "knight.glb"))
    obj = max((o for o in bpy.context.scene.objects if o.type == "MESH"), key=lambda o: len(o.data.polygons))
    activate(obj)
    number_elements(obj.data)
    parts.write_labels(obj.data, np.arange(len(obj.data.polygons)) * 5 // len(obj.data.polygons))
    normals, uv_name = corner_normals(obj.data), obj.data.uv_layers[0].name
    assert bpy.ops.partsam.apply_separate(cap_holes=True) == {"FINISHED"}
    for part in separated([f"Part {k}" for k in range(1, 6)]):
        kept = ~np.repeat(values(part.data, "partsam_cap")[:, 0], 3)
        source = numbers(part.data, "c")
        assert (values(part.data, uv_name) == values(obj.data, uv_name)[source]).all()
        assert corner_normals(part.data)[kept] == pytest.approx(normals[source][kept], abs=5e-3)
        assert [m.name for m in part.data.materials] == [m.name for m in obj.data.materials]
        assert not part.data.validate()


def test_a_hundred_thousand_faces_into_fifty_objects(parts):
    obj = grid(320)
    parts.write_labels(obj.data, columns(320, np.arange(1, 50) * 6))
    bpy.ops.partsam.apply_separate()
    made = [o for o in bpy.data.objects if o.name.startswith("Part ")]
    assert len(made) == 50 and sum(len(o.data.polygons) for o in made) == 320 * 320
