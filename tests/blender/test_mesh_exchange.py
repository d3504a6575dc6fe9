# SPDX-License-Identifier: GPL-3.0-or-later
"""Meshes out of Blender and labels back: geometry, colours, hashes and refusals."""

from __future__ import annotations

import threading
import time

import bpy
import numpy as np
import pytest
from mathutils import Matrix
from meshes import activate, add_object, cube, grid, select_polygons


@pytest.fixture
def exchange(addon):
    return addon("mesh_exchange")


@pytest.fixture
def mesh_error(addon):
    return addon("backend.errors").MeshError


def signed_volume(mesh):
    corners = mesh.corners()
    return float(np.einsum("fi,fi->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6)


def test_cube_is_read_in_world_scale_relative_to_its_origin(exchange):
    obj = cube(size=2.0)
    obj.matrix_world = Matrix.Translation((5, 6, 7)) @ Matrix.Diagonal((1, 2, 3, 1))
    shape = exchange.read_shape(bpy.context, [obj])
    assert shape.mesh.vertices.min(axis=0) == pytest.approx([-1, -2, -3])
    assert shape.mesh.vertices.max(axis=0) == pytest.approx([1, 2, 3])
    assert shape.mesh.face_count == 12
    assert signed_volume(shape.mesh) == pytest.approx(8 * 6)
    assert shape.origin == pytest.approx([5, 6, 7])
    assert shape.from_world([[6, 8, 10]]) == pytest.approx(np.array([[1, 2, 3]]))
    (source,) = shape.sources
    assert np.bincount(source.triangle_polygons).tolist() == [2] * 6


def test_mirrored_object_still_faces_outwards(exchange):
    obj = cube(size=2.0)
    obj.matrix_world = Matrix.Diagonal((-1, 1, 1, 1))
    shape = exchange.read_shape(bpy.context, [obj])
    assert signed_volume(shape.mesh) == pytest.approx(8)
    sample = exchange.sample_shape(shape, 500)
    assert (np.einsum("ni,ni->n", sample.normals, sample.points) > 0.9).all()


def test_hash_ignores_place_and_selection_and_sees_geometry_and_color(exchange):
    obj = cube()
    first = exchange.read_shape(bpy.context, [obj])
    obj.location = (3, 0, 0)
    bpy.context.view_layer.update()
    select_polygons(obj, [1])
    moved = exchange.read_shape(bpy.context, [obj])
    assert moved.content_hash == first.content_hash
    obj.data.vertices[0].co.x += 0.01
    bent = exchange.read_shape(bpy.context, [obj])
    assert bent.content_hash != first.content_hash
    assert bent.sources[0].mesh_hash != first.sources[0].mesh_hash
    obj.data.materials.append(principled("red", (1, 0, 0))[0])
    assert exchange.read_shape(bpy.context, [obj]).content_hash != bent.content_hash


def test_polygon_with_a_hole_is_triangulated_with_a_way_back(exchange):
    # A square ring, slit open between two doubled corners into a single ten-cornered polygon.
    outer, inner = [(-2, -2), (2, -2), (2, 2), (-2, 2)], [(-1, -1), (-1, 1), (1, 1), (1, -1)]
    points = [(x, y, 0) for x, y in [*outer, outer[0], inner[0], *inner[1:], inner[0]]]
    obj = add_object("ring", points, [list(range(10))])
    shape = exchange.read_shape(bpy.context, [obj])
    assert shape.sources[0].triangle_areas.sum() == pytest.approx(16 - 4)
    assert set(shape.sources[0].triangle_polygons.tolist()) == {0}


def test_labels_go_to_polygons_by_area(exchange):
    # One square, triangulated into halves, beside a pentagon of three triangles of unequal area.
    points = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (5, 0, 0), (9, 0, 0), (9, 1, 0), (5, 4, 0)]
    obj = add_object("faces", points, [[0, 1, 2, 3], [4, 5, 6, 7]])
    shape = exchange.read_shape(bpy.context, [obj])
    (source,) = shape.sources
    areas, polygons = source.triangle_areas, source.triangle_polygons
    large = np.flatnonzero(polygons == 1)[np.argmax(areas[polygons == 1])]
    labels = np.zeros(4, dtype=np.int32)
    labels[large] = 7
    labels[np.flatnonzero(polygons == 0)] = [4, 3]  # equal halves: the smaller label wins
    assert exchange.labels_of_polygons(source, labels).tolist() == [3, 7]


def test_selected_faces_only(exchange, mesh_error):
    obj = cube()
    select_polygons(obj, [])
    with pytest.raises(mesh_error, match="No face"):
        exchange.read_shape(bpy.context, [obj], exchange.ReadSettings(selected_only=True))
    select_polygons(obj, [2, 4])
    shape = exchange.read_shape(bpy.context, [obj], exchange.ReadSettings(selected_only=True))
    assert shape.mesh.face_count == 4
    labels = exchange.labels_of_polygons(shape.sources[0], np.zeros(4, dtype=np.int32))
    assert labels.tolist() == [-1, -1, 0, -1, 0, -1]


def test_several_objects_as_one_shape(exchange):
    first, second = cube(name="first"), cube(size=4, name="second")
    second.matrix_world = Matrix.Translation((10, 0, 0))
    shape = exchange.read_shape(bpy.context, [first, second])
    assert shape.mesh.face_count == 24
    assert np.ptp(shape.mesh.vertices[:, 0]) == pytest.approx(13)
    runs = shape.split(np.arange(24))
    assert [source.object_name for source, _ in runs] == ["first", "second"]
    assert runs[1][1].tolist() == list(range(12, 24))


@pytest.mark.parametrize(
    ("scale", "place", "apart"),
    [
        ((-1, 1, 1), (10, 0, 0), True),
        ((2, 2, 2), (0, 0, 10), True),
        ((1, 1, 1), (1.9, 1.9, 0), True),  # their boxes meet, they do not
        ((-1, 1, 1), (0, 0, 0), False),  # the other half of what is modelled with a mirrored instance
        ((1, 1, 1), (0.2, 0, 0), False),  # they cross
    ],
)
def test_copies_that_stand_apart_are_read_once(exchange, scale, place, apart):
    corner = [(0, 0, 0), (2, 0, 0), (2, 0, 0.2), (0, 0, 0.2), (0, 2, 0.2), (0, 2, 0)]
    first = add_object("angle", corner, [[0, 1, 2, 3], [0, 3, 4, 5]])  # two walls that meet at right angles
    copies = [bpy.data.objects.new("instance", first.data), bpy.data.objects.new("copy", first.data.copy())]
    for copy in copies:
        bpy.context.scene.collection.objects.link(copy)
        copy.location, copy.scale = place, scale
    bpy.context.view_layer.update()
    for copy in copies:
        shape = exchange.read_shape(bpy.context, [first, copy])
        assert [source.object_name for source in shape.copies] == ([copy.name] if apart else [])
        assert shape.mesh.face_count == (4 if apart else 8)


@pytest.mark.parametrize("scale", [20, 100, 1000])
@pytest.mark.parametrize("has_many_faces", [True, False])
@pytest.mark.parametrize(("offset", "apart"), [(-0.05, False), (0.002, False), (0.1, True)])
def test_copies_of_very_different_size_that_touch_are_one_shape(
    exchange, scale, has_many_faces, offset, apart
):
    """A small cube lies on a side of a large one, or stands off."""
    small = cube(size=1.0)
    if has_many_faces:
        small.modifiers.new("faces", "SUBSURF").levels = 4
        small.modifiers["faces"].subdivision_type = "SIMPLE"
        bpy.ops.object.modifier_apply(modifier="faces")
    others = [bpy.data.objects.new(name, small.data) for name in ("large", "larger", "tiny")]
    for other in others:
        bpy.context.scene.collection.objects.link(other)
    large, larger, tiny = others
    large.scale = [scale] * 3
    large.location = (0.5 + scale / 2 + offset, scale / 3, scale / 5)
    larger.scale, larger.location = [3 * scale] * 3, (0, 0, 10 * scale)
    tiny.scale, tiny.location = [1 / scale] * 3, (-10 * scale, 0, 0)
    bpy.context.view_layer.update()
    shape = exchange.read_shape(bpy.context, [small, *others])
    assert len(shape.copies) == (3 if apart else 0)


@pytest.mark.parametrize("apart", [True, False])
def test_a_small_copy_far_away_does_not_hide_that_large_ones_touch(exchange, apart):
    first = cube(size=1.0)
    others = [bpy.data.objects.new(name, first.data) for name in ("second", "tiny")]
    for other in others:
        bpy.context.scene.collection.objects.link(other)
    # Their boxes meet, and they do so along an edge only.
    first.rotation_euler.z = others[0].rotation_euler.z = np.pi / 4
    others[0].location.x = np.sqrt(2) + (0.1 if apart else 0.0)
    others[1].scale, others[1].location = [0.001] * 3, (0, 0, 5)
    bpy.context.view_layer.update()
    assert len(exchange.read_shape(bpy.context, [first, *others]).copies) == (2 if apart else 0)


def test_copies_that_modifiers_change_differently_are_one_shape(exchange):
    first, second = grid(4, name="first"), grid(4, name="second")
    second.location.x = 10
    bend = second.modifiers.new("bend", "SIMPLE_DEFORM")
    bend.deform_method, bend.angle = "TWIST", 1.0
    bpy.context.view_layer.update()
    for evaluated in (False, True):
        shape = exchange.read_shape(bpy.context, [first, second], exchange.ReadSettings(evaluated=evaluated))
        assert len(shape.copies) == (0 if evaluated else 1)


def test_evaluated_mesh_maps_back_to_base_polygons(exchange, mesh_error, addon):
    obj = cube()
    obj.modifiers.new("subdivision", "SUBSURF").levels = 2
    names = [attribute.name for attribute in obj.data.attributes]
    shape = exchange.read_shape(bpy.context, [obj], exchange.ReadSettings(evaluated=True))
    (source,) = shape.sources
    assert shape.mesh.face_count == 6 * 16 * 2
    assert np.bincount(source.triangle_polygons).tolist() == [32] * 6
    labels = exchange.labels_of_polygons(source, source.triangle_polygons)
    assert labels.tolist() == [0, 1, 2, 3, 4, 5]
    assert [attribute.name for attribute in obj.data.attributes] == names
    addon("parts").write_labels(obj.data, np.arange(6))
    bpy.ops.partsam.part_isolate(part=1)
    bpy.ops.partsam.explode(factor=1.0)
    again = exchange.read_shape(bpy.context, [obj], exchange.ReadSettings(evaluated=True))
    assert again.content_hash == shape.content_hash  # our own view of parts is not part of the shape
    assert all(modifier.show_viewport for modifier in obj.modifiers)
    names += [
        "partsam_part",
        ".partsam_origin",
        ".partsam_revision",
        ".partsam_hidden",
        *(f".hide_{kind}" for kind in ("vert", "edge", "poly")),
    ]
    remesh = obj.modifiers.new("remesh", "REMESH")
    remesh.mode, remesh.voxel_size = "VOXEL", 0.2
    with pytest.raises(mesh_error, match="apply the modifiers"):
        exchange.read_shape(bpy.context, [obj], exchange.ReadSettings(evaluated=True))
    assert {attribute.name for attribute in obj.data.attributes} == set(names)


def test_polygons_that_a_modifier_removed_get_the_nearest_label(exchange):
    obj = grid(8)
    group = obj.vertex_groups.new(name="keep")
    group.add([v.index for v in obj.data.vertices if v.co.x < 0.5], 1.0, "REPLACE")
    mask = obj.modifiers.new("mask", "MASK")
    mask.vertex_group = "keep"
    shape = exchange.read_shape(bpy.context, [obj], exchange.ReadSettings(evaluated=True))
    (source,) = shape.sources
    centers = shape.mesh.corners().mean(axis=1)
    labels = exchange.labels_of_polygons(source, (centers[:, 1] > 0).astype(np.int32))
    assert (labels == -1).sum() > 0
    filled = exchange.fill_unlabeled(obj.data, labels)
    expected = [int(polygon.center.y > 0) for polygon in obj.data.polygons]
    assert filled.tolist() == expected


def colors_of(exchange, obj, count=2000):
    shape = exchange.read_shape(bpy.context, [obj])
    sample = exchange.sample_shape(shape, count)
    return sample, shape


def test_grey_without_any_color(exchange):
    sample, _ = colors_of(exchange, cube())
    assert np.unique(sample.colors).tolist() == pytest.approx([192 / 255])


def principled(name, color):
    material = bpy.data.materials.new(name)
    if bpy.app.version < (5, 0, 0):
        material.use_nodes = True
    shader = next(n for n in material.node_tree.nodes if n.type == "BSDF_PRINCIPLED")
    shader.inputs["Base Color"].default_value = (*color, 1)
    return material, shader


def test_material_base_colors_per_slot(exchange):
    obj = cube()
    obj.data.materials.append(principled("red", (1, 0, 0))[0])
    obj.data.materials.append(principled("half", (0.2140411, 0.2140411, 0.2140411))[0])
    obj.data.polygons[3].material_index = 1
    sample, shape = colors_of(exchange, obj)
    half = shape.sources[0].triangle_polygons[sample.faces] == 3
    assert sample.colors[~half] == pytest.approx(np.tile([1.0, 0, 0], ((~half).sum(), 1)))
    assert sample.colors[half] == pytest.approx(np.full((half.sum(), 3), 0.5), abs=1e-4)


@pytest.mark.parametrize("domain", ["POINT", "CORNER"])
@pytest.mark.parametrize("kind", ["FLOAT_COLOR", "BYTE_COLOR"])
def test_active_color_attribute(exchange, addon, domain, kind):
    obj = grid(4)
    attribute = obj.data.color_attributes.new("paint", kind, domain)
    x = np.array([v.co.x for v in obj.data.vertices])
    if domain == "CORNER":
        x = x[[loop.vertex_index for loop in obj.data.loops]]
    srgb = np.stack([(x + 1) / 2, 1 - (x + 1) / 2, np.zeros_like(x), np.ones_like(x)], axis=1)
    linear = addon("mesh_exchange.surface_colors").srgb_to_linear(srgb).astype(np.float32)
    attribute.data.foreach_set("color", linear.ravel())
    sample, _ = colors_of(exchange, obj)
    expected = np.stack([(sample.points[:, 0] + 1) / 2, 1 - (sample.points[:, 0] + 1) / 2], axis=1)
    assert sample.colors[:, :2] == pytest.approx(expected, abs=0.005)


def textured(obj, pixels):
    height, width = pixels.shape[:2]
    image = bpy.data.images.new("texture", width, height)
    image.pixels.foreach_set(pixels.astype(np.float32).ravel())
    material, shader = principled("textured", (0, 0, 1))
    node = material.node_tree.nodes.new("ShaderNodeTexImage")
    node.image = image
    material.node_tree.links.new(node.outputs["Color"], shader.inputs["Base Color"])
    obj.data.materials.append(material)
    return image


def test_image_texture_at_each_points_uv_even_if_mirrored(exchange):
    obj = grid(4)  # UVs: x and y from -1..1 to 0..1
    pixels = np.zeros((2, 2, 4))
    pixels[0, 0], pixels[0, 1], pixels[1, 0], pixels[1, 1] = [1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 1, 1], [1] * 4
    textured(obj, pixels)
    for mirror in (1, -1):
        obj.matrix_world = Matrix.Diagonal((mirror, 1, 1, 1))
        sample, _ = colors_of(exchange, obj)
        right, top = (sample.points[:, 0] * mirror > 0).astype(int), (sample.points[:, 1] > 0).astype(int)
        assert (sample.colors == pixels[top, right, :3]).all()


def test_large_image_is_read_small_and_missing_image_falls_back(exchange, addon):
    colors = addon("mesh_exchange.surface_colors")
    image = bpy.data.images.new("large", 3000, 60)
    image.pixels.foreach_set(np.tile(np.float32([0.2, 0.4, 0.6, 1]), 3000 * 60))
    before = len(bpy.data.images)
    for shape in ((20, 1000, 3), (20, 1024, 3)):  # in memory only: every third; packed: scaled
        pixels = colors.read_image(image)
        assert pixels.shape == shape
        assert (pixels.reshape(-1, 3) == [51, 102, 153]).all()
        image.pack()
    assert len(bpy.data.images) == before and tuple(image.size) == (3000, 60)
    obj = grid(2)
    texture = textured(obj, np.ones((2, 2, 4)))
    texture.source, texture.filepath = "FILE", "//gone.png"
    sample, _ = colors_of(exchange, obj)
    assert np.abs(sample.colors - [0, 0, 1]).max() < 1e-6


def test_refusals_say_what_to_do(exchange, mesh_error):
    cases = {
        "holds nothing": ([], []),
        "only points": ([(0, 0, 0), (1, 0, 0)], []),
        "not finite": ([(0, 0, 0), (1, 0, 0), (0, float("nan"), 0)], [[0, 1, 2]]),
        "no surface area": ([(0, 0, 0), (1, 0, 0), (2, 0, 0)], [[0, 1, 2]]),
    }
    for message, (points, polygons) in cases.items():
        obj = add_object("broken", points, polygons)
        with pytest.raises(mesh_error, match=message):
            exchange.read_shape(bpy.context, [obj])
    with pytest.raises(mesh_error, match="Select"):
        exchange.read_shape(bpy.context, [])
    empty = bpy.data.objects.new("empty", None)
    with pytest.raises(mesh_error, match="not a mesh"):
        exchange.read_shape(bpy.context, [empty])


def test_loose_broken_vertices_and_flat_faces_do_no_harm(exchange):
    points = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (float("nan"), 0, 0), (2, 0, 0)]
    obj = add_object("mixed", points, [[0, 1, 2], [0, 1, 4]])
    shape = exchange.read_shape(bpy.context, [obj])
    assert np.isfinite(shape.mesh.vertices).all() and shape.mesh.face_count == 2
    sample = exchange.sample_shape(shape, 100)
    assert set(sample.faces.tolist()) == {0}


def test_linked_object_is_refused(exchange, mesh_error, tmp_path):
    cube(name="library_cube")
    library = str(tmp_path / "library.blend")
    bpy.ops.wm.save_as_mainfile(filepath=library)
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    with bpy.data.libraries.load(library, link=True) as (_, wanted):
        wanted.objects = ["library_cube"]
    obj = bpy.data.objects["library_cube"]
    bpy.context.scene.collection.objects.link(obj)
    with pytest.raises(mesh_error, match="Make Local"):
        exchange.read_shape(bpy.context, [obj])


def test_changed_or_deleted_meshes_are_noticed(exchange, mesh_error):
    obj = cube()
    (source,) = exchange.read_shape(bpy.context, [obj]).sources
    assert exchange.find_unchanged(source) == obj
    obj.name = "renamed"
    assert exchange.find_unchanged(source) == obj
    obj.data.vertices[0].co.z += 1
    with pytest.raises(mesh_error, match="edited"):
        exchange.find_unchanged(source)
    obj.data.vertices[0].co.z -= 1
    assert exchange.find_unchanged(source) == obj
    bpy.data.objects.remove(obj)
    cube(name="renamed")
    with pytest.raises(mesh_error, match="deleted"):
        exchange.find_unchanged(source)


def test_object_mode_returns_to_edit_mode_after_an_error(exchange):
    obj = cube()
    bpy.ops.object.mode_set(mode="EDIT")
    (source,) = (None,)
    with exchange.object_mode(bpy.context, obj):
        assert obj.mode == "OBJECT"
        (source,) = exchange.read_shape(bpy.context, [obj]).sources
    assert obj.mode == "EDIT"
    assert exchange.find_unchanged(source) == obj
    with pytest.raises(ZeroDivisionError), exchange.object_mode(bpy.context, obj):
        raise ZeroDivisionError
    assert obj.mode == "EDIT"


def test_object_mode_of_an_object_that_is_not_active(exchange):
    obj, other = cube(name="edited"), cube(name="other")
    activate(obj)
    bpy.ops.object.mode_set(mode="EDIT")
    obj.select_set(False)
    activate(other)
    with exchange.object_mode(bpy.context, obj):
        assert (obj.mode, other.mode) == ("OBJECT", "OBJECT")
        assert bpy.context.object == other
    assert (obj.mode, bpy.context.object) == ("EDIT", other)


def test_object_mode_refuses_what_is_in_edit_mode_in_another_scene(exchange, mesh_error):
    obj = cube()
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.context.window.scene = bpy.data.scenes.new("elsewhere")
    with (
        pytest.raises(mesh_error, match="Edit mode, but not in this view layer"),
        exchange.object_mode(bpy.context, obj),
    ):
        pytest.fail("its arrays are empty")


def test_modes_change_safely_beside_a_python_thread(exchange):
    """Blender crashed within a few rounds when the operator was called in a context override."""
    obj = cube()
    bpy.ops.object.mode_set(mode="EDIT")
    done = threading.Event()
    turns = 0

    def take_the_lock_again_and_again():
        nonlocal turns
        while not done.is_set():
            turns += 1
            time.sleep(0)

    thread = threading.Thread(target=take_the_lock_again_and_again)
    thread.start()
    try:
        for _ in range(500):
            with exchange.object_mode(bpy.context, obj):
                assert obj.mode == "OBJECT"
            assert obj.mode == "EDIT"
    finally:
        done.set()
        thread.join()
    assert turns


def test_non_manifold_mesh_with_a_hundred_thousand_faces(exchange):
    obj = grid(330)
    mesh = obj.data
    shape = exchange.read_shape(bpy.context, [obj])
    assert shape.mesh.face_count == 2 * 330 * 330
    labels = exchange.labels_of_polygons(shape.sources[0], shape.sources[0].triangle_polygons % 7)
    assert (labels == np.arange(len(mesh.polygons)) % 7).all()
    points = [(0, 0, 0), (0, 0, 1), (1, 0, 0), (0, 1, 0), (-1, 0, 0)]
    fan = add_object("fan", points, [[0, 1, 2], [0, 1, 3], [0, 1, 4]])
    assert exchange.read_shape(bpy.context, [fan]).mesh.face_count == 3


def test_imported_glb_has_its_texture_colors(exchange, repository):
    bpy.ops.import_scene.gltf(filepath=str(repository / "tests" / "data" / "knight.glb"))
    meshes = [obj for obj in bpy.context.scene.objects if obj.type == "MESH"]
    shape = exchange.read_shape(bpy.context, meshes)
    assert shape.mesh.face_count == 4712 and len(shape.sources) == len(meshes)
    sample = exchange.sample_shape(shape, 5000)
    assert len(np.unique(np.rint(sample.colors * 32), axis=0)) > 8
