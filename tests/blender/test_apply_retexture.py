# SPDX-License-Identifier: GPL-3.0-or-later
"""Unwrapping part by part and the ID map."""

from __future__ import annotations

import bpy
import numpy as np
import pytest
from meshes import activate, cube, grid, select_polygons
from test_apply_labels import border_by_definition
from test_parts import columns, ids


@pytest.fixture
def parts(addon):
    return addon("parts")


def uvs_of(obj, name):
    uvs = np.empty((len(obj.data.loops), 2), dtype=np.float32)
    obj.data.uv_layers[name].uv.foreach_get("vector", uvs.ravel())
    return uvs


def boxes_of_parts(obj, parts, name):
    """Lower and upper UV corner of each part."""
    uvs = uvs_of(obj, name)
    labels = np.repeat(ids(obj, parts), [polygon.loop_total for polygon in obj.data.polygons])
    return [(uvs[labels == part].min(axis=0), uvs[labels == part].max(axis=0)) for part in np.unique(labels)]


def uv_areas(obj, parts, name):
    uvs, labels = uvs_of(obj, name), ids(obj, parts)
    found = np.zeros(labels.max() + 1)
    for polygon in obj.data.polygons:
        p = uvs[list(polygon.loop_indices)].astype(float)
        q = np.roll(p, -1, axis=0)
        found[labels[polygon.index]] += abs((p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]).sum()) / 2
    return found


@pytest.mark.parametrize("method", ["SMART", "ANGLE_BASED", "CONFORMAL"])
def test_parts_lie_in_disjoint_rectangles_with_equal_density(parts, method):
    bpy.ops.mesh.primitive_uv_sphere_add(segments=24, ring_count=12)
    obj = bpy.context.object
    old = uvs_of(obj, "UVMap")
    z = np.array([polygon.center.z for polygon in obj.data.polygons])
    parts.write_labels(obj.data, np.digitize(z, [-0.6, 0.1, 0.8]).astype(np.int32))
    bystander = cube(name="bystander")
    activate(obj)
    bystander.select_set(True)
    select_polygons(obj, [3, 5])
    obj.data.polygons[7].hide = True
    bpy.ops.partsam.apply_unwrap(method=method)
    assert obj.mode == "OBJECT" and bystander.select_get() and bpy.context.object == obj
    assert [p.index for p in obj.data.polygons if p.select] == [3, 5]
    assert [p.index for p in obj.data.polygons if p.hide] == [7]
    assert (uvs_of(obj, "UVMap") == old).all() and obj.data.uv_layers.active.name == "Parts"
    boxes = boxes_of_parts(obj, parts, "Parts")
    for index, (low, high) in enumerate(boxes):
        assert (low >= -1e-5).all() and (high <= 1 + 1e-5).all()
        for other_low, other_high in boxes[:index]:
            assert (high < other_low).any() or (other_high < low).any()
    area = np.zeros(len(boxes) + 1)
    for polygon, part in zip(obj.data.polygons, ids(obj, parts), strict=True):
        area[part] += polygon.area
    density = uv_areas(obj, parts, "Parts")[1:] / area[1:]
    assert density == pytest.approx(np.full(len(density), density.mean()), rel=1e-2)
    assert density.sum() > 0
    assert [e.use_seam for e in obj.data.edges] == border_by_definition(obj, ids(obj, parts))


@pytest.mark.parametrize("method", ["SMART", "ANGLE_BASED"])
def test_parts_apart_are_unwrapped_as_within_the_whole(parts, addon, method):
    bpy.ops.mesh.primitive_uv_sphere_add(segments=16, ring_count=8)
    obj = bpy.context.object
    x = np.array([polygon.center.x for polygon in obj.data.polygons])
    parts.write_labels(obj.data, np.digitize(x, [-0.3, 0.5]).astype(np.int32))
    addon("apply.marks").mark_borders(obj.data, seam=True)
    unwrap = addon("retexture.unwrap")
    apart_mesh = unwrap.UnwrapTask.read(obj, method=method, margin=0.01, new_map=False).split()
    apart, done = apart_mesh.given.uvs.copy(), 0
    while done < len(apart_mesh.topologies):
        done = unwrap.unwrap_some(bpy.context, obj, apart_mesh, apart, done, seconds=0)
    assert bpy.context.object == obj and len(bpy.data.meshes) == 1
    whole, corners = (
        np.empty_like(apart),
        np.repeat(ids(obj, parts), [p.loop_total for p in obj.data.polygons]),
    )
    bpy.context.scene.tool_settings.use_uv_select_sync = True
    for part in (1, 2, 3):
        select_polygons(obj, np.flatnonzero(ids(obj, parts) == part).tolist())
        bpy.ops.object.mode_set(mode="EDIT")
        if method == "SMART":
            bpy.ops.uv.smart_project(island_margin=0.01)
        else:
            bpy.ops.uv.unwrap(method=method, margin=0.01)
            bpy.ops.uv.pack_islands(margin=0.01)
        bpy.ops.object.mode_set(mode="OBJECT")
        whole[corners == part] = uvs_of(obj, "UVMap")[corners == part]
    np.testing.assert_allclose(apart, whole, atol=1e-4)


def test_unwrap_into_the_active_map_from_edit_mode_is_one_undo_step(parts):
    obj = grid(6)
    parts.write_labels(obj.data, columns(6, [2]))
    before = uvs_of(obj, "UVMap")
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.partsam.apply_unwrap(uv_map="ACTIVE")
    assert obj.mode == "EDIT"
    bpy.ops.object.mode_set(mode="OBJECT")
    assert [layer.name for layer in obj.data.uv_layers] == ["UVMap"]
    assert (uvs_of(obj, "UVMap") != before).any()
    bpy.ops.ed.undo_push(message="before")
    kept = uvs_of(obj, "UVMap")
    bpy.ops.partsam.apply_unwrap("EXEC_DEFAULT", True)
    bpy.ops.ed.undo()
    obj = bpy.data.objects["grid"]
    assert [layer.name for layer in obj.data.uv_layers] == ["UVMap"]
    assert (uvs_of(obj, "UVMap") == kept).all()


def test_rectangles_never_overlap(addon):
    layout = addon("retexture.layout")
    random = np.random.default_rng(3)
    for count in (1, 2, 7, 40):
        sizes = random.random((count, 2)) + 0.01
        corners, side = layout.pack_rectangles(sizes)
        assert (corners >= 0).all() and (corners + sizes <= side * (1 + 1e-9)).all()
        for i in range(count):
            for j in range(i):
                apart = (corners[i] + sizes[i] <= corners[j] + 1e-12) | (
                    corners[j] + sizes[j] <= corners[i] + 1e-12
                )
                assert apart.any()
        assert np.prod(sizes, axis=1).sum() > 0.45 * side**2 or count < 3


def pixels_of(image):
    width, height = image.size
    pixels = np.empty(width * height * 4, dtype=np.float32)
    image.pixels.foreach_get(pixels)
    return pixels.reshape(height, width, 4)


def test_id_map_has_the_color_of_the_part_at_every_pixel(parts):
    obj = grid(4)
    parts.write_labels(obj.data, columns(4, [1, 3]))
    bpy.ops.partsam.apply_id_map(size=64, margin=0)
    image = bpy.data.images["grid Parts"]
    pixels = pixels_of(image)
    expected = np.repeat([1, 2, 2, 3], 16)
    for column in range(64):
        color = (*parts.part_color(int(expected[column])), 1)
        assert pixels[:, column] == pytest.approx(np.tile(color, (64, 1)), abs=1 / 254)
    assert image.packed_file is not None
    material = bpy.data.materials.new("painted")
    if bpy.app.version < (5, 0, 0):  # later it always has nodes
        material.use_nodes = True
    texture = material.node_tree.nodes.new("ShaderNodeTexImage")
    texture.image = image
    bpy.ops.partsam.apply_id_map(size=32)
    assert [i.name for i in bpy.data.images if "Parts" in i.name] == ["grid Parts"]
    assert texture.image == image and tuple(image.size) == (32, 32)
    assert pixels_of(image)[0, 0] == pytest.approx((*parts.part_color(1), 1), abs=1 / 254)


def test_images_and_maps_of_the_user_are_left_alone(parts):
    obj = grid(4)
    parts.write_labels(obj.data, columns(4, [1, 3]))
    mine = bpy.data.images.new("grid Parts", 32, 32)
    before = pixels_of(mine)
    obj.data.uv_layers.new(name="Parts")
    uvs = [tuple(entry.vector) for entry in obj.data.uv_layers["Parts"].uv]
    for _ in range(2):
        bpy.ops.partsam.apply_id_map(size=32)
        bpy.ops.partsam.apply_unwrap()
    assert (pixels_of(mine) == before).all()
    assert [tuple(entry.vector) for entry in obj.data.uv_layers["Parts"].uv] == uvs
    assert [layer.name for layer in obj.data.uv_layers] == ["UVMap", "Parts", "Parts.001"]
    assert [i.name for i in bpy.data.images if "Parts" in i.name] == ["grid Parts", "grid Parts.001"]
    copy = obj.copy()
    copy.data = obj.data.copy()
    bpy.context.scene.collection.objects.link(copy)
    activate(copy)
    bpy.ops.partsam.apply_id_map(size=64)  # an image of its own
    assert tuple(bpy.data.images["grid Parts.001"].size) == (32, 32)
    activate(obj)
    bpy.ops.partsam.apply_id_map(size=16)  # and the first one keeps its own
    assert tuple(bpy.data.images["grid Parts.001"].size) == (16, 16)
    assert len([image for image in bpy.data.images if "Parts" in image.name]) == 3


def test_raster_covers_half_a_square_wraps_and_extends(addon):
    id_map, finish = addon("retexture.id_map"), addon("steps").finish
    triangle = np.array([[[0, 0], [1, 0], [0, 1]]], dtype=float)
    canvas = finish(id_map.rasterize(triangle, np.array([5]), 8))
    y, x = np.mgrid[0:8, 0:8]
    inside = (x + 0.5) / 8 + (y + 0.5) / 8 <= 1
    assert ((canvas == 5) == inside).all() and (canvas[~inside] == -1).all()
    assert (finish(id_map.rasterize(triangle + 3, np.array([5]), 8)) == canvas).all()
    single = np.full((5, 5), -1)
    single[2, 2] = 1
    grown = id_map.extend(single, 2)
    assert ((grown == 1) == (abs(x[:5, :5] - 2) + abs(y[:5, :5] - 2) <= 2)).all()
    border = np.full((3, 3), -1)
    border[0, 0] = 1
    assert id_map.extend(border, 1).tolist() == [[1, 1, -1], [1, -1, -1], [-1, -1, -1]]


def test_id_map_needs_uvs(parts):
    obj = cube()
    parts.write_labels(obj.data, np.arange(6))
    with pytest.raises(RuntimeError, match="unwrap it first"):
        bpy.ops.partsam.apply_id_map()
    bpy.ops.partsam.apply_unwrap()
    assert bpy.ops.partsam.apply_id_map(size=64) == {"FINISHED"}
    colors = {tuple(c) for c in pixels_of(bpy.data.images["cube Parts"]).reshape(-1, 4).round(2).tolist()}
    assert len(colors) == 7
