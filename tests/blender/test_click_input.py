# SPDX-License-Identifier: GPL-3.0-or-later
"""The click tool without a window or a network: picking on what is seen, keys, outlines, masks."""

from __future__ import annotations

import runpy
from dataclasses import dataclass
from types import SimpleNamespace

import bpy
import numpy as np
import pytest
from mathutils import Euler, Matrix, Vector
from meshes import add_object, cube, grid


@dataclass(frozen=True)
class Pressed:
    """An event, as far as keys are told apart by it; Blender makes none without a window."""

    type: str
    value: str = "PRESS"
    shift: bool = False
    ctrl: bool = False
    alt: bool = False
    oskey: bool = False


@pytest.fixture
def tool(addon):
    """The tool's modules by name."""
    return lambda name: addon(f"click_tool.{name}")


def looking_down(tool, obj, *, size=(200, 100), height=10.0, width=8.0):
    """An orthographic projection from above: `width` world units across, the origin in the middle."""
    view = Matrix.Translation(Vector((0, 0, -height)))
    across = Matrix.Diagonal(Vector((2 / width, 2 / (width * size[1] / size[0]), -1 / height, 1)))
    return tool("screen").Projection(np.array(across @ view @ obj.matrix_world), size)


def from_the_front(tool, obj, *, size=(300, 300)):
    """A perspective projection along Y, as a camera at (0, -10, 0) sees it."""
    view = Matrix.Rotation(np.radians(-90), 4, "X") @ Matrix.Translation(Vector((0, 10, 0)))
    near, far = 0.1, 100.0
    lens = Matrix(
        (
            (2, 0, 0, 0),
            (0, 2, 0, 0),
            (0, 0, -(far + near) / (far - near), -2 * far * near / (far - near)),
            (0, 0, -1, 0),
        )
    )
    return tool("screen").Projection(np.array(lens @ view @ obj.matrix_world), size)


def pixel(projection, point):
    return tuple(projection.to_pixels(np.array([point], dtype=float))[0])


def test_all_hits_under_a_pixel_come_nearest_first_and_where_a_ray_cast_finds_them(tool):
    bpy.ops.mesh.primitive_monkey_add(rotation=(0.3, 0.1, 0.4), scale=(1, 2, 1), location=(0.2, 0, 0.1))
    obj = bpy.context.object
    bpy.context.view_layer.update()
    surface = tool("surface").read_surface(bpy.context, obj, as_seen_places=False)
    projection = from_the_front(tool, obj)
    index = tool("screen").ScreenIndex(surface.positions, surface.triangles, projection)
    met = 0
    for x, y in np.random.default_rng(0).uniform(120, 180, (60, 2)):
        start, end = projection.ray(x, y)
        hits = index.hits(x, y)
        found, place, *_rest = obj.ray_cast(start, Vector(end - start))
        assert bool(hits) == found
        if found:
            met += 1
            assert [hit.distance for hit in hits] == sorted(hit.distance for hit in hits)
            here = hits[0].weights @ surface.positions[surface.triangles[hits[0].triangle]]
            assert here == pytest.approx(np.array(place), abs=1e-4)
    assert met > 15


def test_triangles_behind_the_viewer_are_not_met(tool):
    obj = cube(size=30)  # around the camera of `from_the_front`
    surface = tool("surface").read_surface(bpy.context, obj, as_seen_places=False)
    index = tool("screen").ScreenIndex(surface.positions, surface.triangles, from_the_front(tool, obj))
    (hit,) = index.hits(140, 155)
    assert surface.positions[surface.triangles[hit.triangle], 1].min() == pytest.approx(15)


def test_nothing_is_met_while_a_scale_of_zero_makes_the_object_flat(tool):
    obj = cube(size=2)
    obj.scale.y = 0
    bpy.context.view_layer.update()
    surface = tool("surface").read_surface(bpy.context, obj, as_seen_places=False)
    index = tool("screen").ScreenIndex(surface.positions, surface.triangles, from_the_front(tool, obj))
    assert index.hits(150, 150) == []


@pytest.mark.parametrize("kind", ["mirror", "subdivision", "shape key", "pose", "plain"])
def test_a_place_on_what_is_seen_is_traced_back_to_the_base_mesh(tool, kind):
    obj = grid(4)
    obj.matrix_world = Matrix.LocRotScale(Vector((1, 2, 0)), Euler((0, 0, 0.5)), Vector((2, 1, 1)))
    if kind == "mirror":
        for vertex in obj.data.vertices:
            vertex.co.x += 1.5
        obj.modifiers.new("Mirror", "MIRROR")
        seen, wanted = (-1.1, 0.3, 0), (1.1, 0.3, 0)
    elif kind == "subdivision":
        obj.modifiers.new("Subdivision", "SUBSURF").levels = 2
        seen, wanted = (0.1, 0.3, 0), (0.1, 0.3, 0)
    elif kind == "shape key":
        obj.shape_key_add(name="Basis")
        key = obj.shape_key_add(name="Aside")
        for point in key.data:
            point.co.x += 1
        key.value = 1.0
        seen, wanted = (1.1, 0.3, 0), (0.1, 0.3, 0)
    elif kind == "pose":
        moved = posed(obj, Vector((0, 0.5, 0)))
        seen, wanted = (0.1, 0.3 + moved, 0), (0.1, 0.3, 0)
    else:
        seen = wanted = (0.1, 0.3, 0)
    bpy.context.view_layer.update()
    surface = tool("surface").read_surface(bpy.context, obj, as_seen_places=False)
    projection = looking_down(tool, obj)
    index = tool("screen").ScreenIndex(surface.positions, surface.triangles, projection)
    hit = index.hits(*pixel(projection, seen))[0]
    assert surface.place(hit.triangle, hit.weights) == pytest.approx(wanted, abs=0.02)
    base = obj.data.polygons[surface.polygons[hit.triangle]]
    corners = np.array([obj.data.vertices[index].co for index in base.vertices])
    assert (corners.min(axis=0) <= np.array(wanted) + 1e-6).all()
    assert (corners.max(axis=0) >= np.array(wanted) - 1e-6).all()
    assert [attribute.name for attribute in obj.data.attributes if "partsam" in attribute.name] == []


def posed(obj, way):
    """Move all of `obj` by a bone; how far along Y."""
    armature = bpy.data.objects.new("Rig", bpy.data.armatures.new("Rig"))
    bpy.context.scene.collection.objects.link(armature)
    bpy.context.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="EDIT")
    bone = armature.data.edit_bones.new("Bone")
    bone.head, bone.tail = (0, 0, 0), (0, 0, 1)
    bpy.ops.object.mode_set(mode="OBJECT")
    obj.vertex_groups.new(name="Bone").add(range(len(obj.data.vertices)), 1.0, "REPLACE")
    armature.matrix_world = obj.matrix_world
    obj.modifiers.new("Armature", "ARMATURE").object = armature
    bone = armature.pose.bones["Bone"]
    bone.matrix = Matrix.Translation(way) @ bone.matrix
    bpy.context.view_layer.update()
    return way.y


def test_a_modifier_that_rebuilds_the_mesh_leaves_the_base_mesh_to_be_clicked(tool):
    obj = cube()
    obj.modifiers.new("Remesh", "REMESH").mode = "VOXEL"
    bpy.context.view_layer.update()
    surface = tool("surface").read_surface(bpy.context, obj, as_seen_places=False)
    assert sorted(set(surface.polygons.tolist())) == list(range(6))


def make_picker(tool, obj):
    hidden = np.zeros(len(obj.data.polygons), dtype=bool)
    return tool("picker").Picker(obj.session_uid, hidden, as_seen_places=False)


def test_the_picker_follows_deformation_explosion_and_what_is_hidden(tool, addon):
    obj = grid(2)
    addon("parts").write_labels(obj.data, np.array([0, 1, 0, 1]))
    picker = make_picker(tool, obj)
    first = picker.shown()
    assert first.visible.all()
    obj.data.vertices[4].co.z = 1
    obj.data.update()
    bpy.context.view_layer.update()
    assert picker.shown() is first  # nobody has told it yet
    picker.is_stale = True
    assert picker.shown().positions[4, 2] == 1
    addon("view").explode(obj, 1.0)
    bpy.context.view_layer.update()
    picker.is_stale = True
    apart = picker.shown()
    assert len(apart.positions) == 3 * len(apart.triangles)
    middle = apart.positions[apart.triangles].mean(axis=1)[:, 0]
    assert np.abs(middle).min() > 0.6  # the halves, whose centres lay at .5, have moved outwards
    ends = tool("preview").contour(apart, np.array([True, False, True, False]))
    assert ends[:, :, 0] == pytest.approx(apart.positions[:, 0].max() * 0 + ends[0, 0, 0])
    picker.cover(np.array([True, False, True, False]))
    assert picker.shown().visible.tolist() == [False, False, True, True] * 2


@pytest.mark.parametrize("size", [2, 0.1])
def test_dots_behind_the_surface_are_told_from_those_before_it(tool, size):
    obj = cube(size=size)
    picker = make_picker(tool, obj)
    projection = from_the_front(tool, obj)
    view = SimpleNamespace(mouse=(150.2, 150.3), projection=lambda _obj: projection)
    front, back = picker.hits(view)
    assert (front.place[1], back.place[1]) == pytest.approx((-size / 2, size / 2))
    assert [picker.is_dot_covered(projection, click) for click in (front, back)] == [False, True]
    assert picker.dot(projection, back) == pytest.approx(view.mouse, abs=0.01)


def test_faces_hidden_in_edit_mode_are_not_clicked_and_stay_hidden(tool):
    obj = grid(2)
    hide = obj.data.attributes.new(".hide_poly", "BOOLEAN", "FACE")
    hide.data[1].value = True
    hidden = tool("surface").hidden_polygons(obj, in_edit_mode=True)
    assert hidden.tolist() == [False, True, False, False]
    assert not tool("surface").hidden_polygons(obj, in_edit_mode=False).any()


def test_another_object_covers_the_mesh_but_not_one_beside_it(tool):
    obj = grid(2)
    other = cube(size=0.4, name="other")
    other.location = (0.5, 0, 3)
    bpy.context.view_layer.update()
    between = tool("picker")._is_between
    depsgraph = bpy.context.evaluated_depsgraph_get()
    assert between(other, Vector((0.5, 0, 9)), Vector((0.5, 0, 0)), depsgraph)
    assert not between(other, Vector((-0.5, 0, 9)), Vector((-0.5, 0, 0)), depsgraph)
    assert not between(other, Vector((0.5, 0, 9)), Vector((0.5, 0, 5)), depsgraph)
    assert not between(other, Vector((0.5, 0.21, 9)), Vector((0.5, 0.21, 0)), depsgraph)
    assert obj.name == "grid"


def key_table(tool, name):
    """The tool's keys, and navigation as one of Blender's own keymaps has it.

    Read off the keymap's file: choosing a keymap without a window keeps Blender 4.5 from ever ending.
    """
    (folder,) = bpy.utils.preset_paths("keyconfig")
    keymaps = runpy.run_path(f"{folder}/keymap_data/{name}.py")["generate_keymaps"]()
    keys = tool("keys")
    navigation = [
        keys.Key(event["type"], tuple(state(event, modifier) for modifier in keys.MODIFIERS))
        for title, _space, content in keymaps
        if title in keys.NAVIGATION_KEYMAPS
        for operator, event, extra in content["items"]
        if keys.navigates(operator, SimpleNamespace(**dict((extra or {}).get("properties", ()))))
    ]
    own = keys.own_keymap(bpy.context.window_manager)
    if own is None:  # a new file drops it where there is no window
        keys.register()
        own = keys.own_keymap(bpy.context.window_manager)
    return keys.KeyTable(
        [(keys.Key.of_item(item), item.properties.action) for item in own.keymap_items], navigation
    )


def state(event, modifier):
    wanted = event.get(modifier, event.get("any", False))
    return None if wanted == -1 or event.get("any") else bool(wanted)


OWN = {
    ("LEFTMOUSE", ""): "CLICK",
    ("LEFTMOUSE", "ctrl"): "EXCLUDE",
    ("LEFTMOUSE", "shift"): "ADD_TO",
    ("LEFTMOUSE", "shift ctrl"): "TAKE_FROM",
    ("WHEELUPMOUSE", "ctrl"): "LARGER",
    ("TAB", ""): "NEXT_LEVEL",
    ("RET", ""): "ACCEPT",
    ("ESC", ""): "LEAVE",
    ("Z", "ctrl"): "TAKE_BACK",
}
NAVIGATION = {
    "blender_default": [
        *(("MIDDLEMOUSE", ""), ("MIDDLEMOUSE", "shift"), ("MIDDLEMOUSE", "ctrl"), ("WHEELUPMOUSE", "")),
        *(("NUMPAD_1", ""), ("NUMPAD_5", ""), ("SPACE", "ctrl"), ("Q", "ctrl alt"), ("T", "")),
    ],
    "industry_compatible_data": [
        *(("LEFTMOUSE", "alt"), ("MIDDLEMOUSE", "alt"), ("RIGHTMOUSE", "alt"), ("WHEELUPMOUSE", "")),
        *(("F1", ""), ("F", "")),
    ],
}
NOTHING = [("G", ""), ("DEL", ""), ("RIGHTMOUSE", ""), ("W", "shift")]


def pressed(key, modifiers, value="PRESS"):
    return Pressed(key, value, **dict.fromkeys(modifiers.split(), True))


@pytest.mark.parametrize("name", NAVIGATION)
def test_events_are_told_apart_in_every_keymap(tool, name):
    table = key_table(tool, name)
    for key, action in OWN.items():
        assert table.action(pressed(*key)) == action
        assert table.action(pressed(*key, value="DOUBLE_CLICK")) == action
        assert table.action(pressed(*key, value="RELEASE")) is None
    for key in NAVIGATION[name]:
        assert table.action(pressed(*key)) is None, key
        assert table.is_navigation(pressed(*key)), key
    for key in NOTHING:
        assert table.action(pressed(*key)) is None, key
        assert not table.is_navigation(pressed(*key)), key
    assert table.is_navigation(pressed("NDOF_MOTION", "", "NOTHING"))


def test_keys_are_the_users_to_change(tool):
    key_table(tool, "blender_default")
    keys = tool("keys")
    own = keys.own_keymap(bpy.context.window_manager)
    item = next(item for item in own.keymap_items if item.properties.action == "BOX")
    item.type = "K"
    try:
        table = keys.KeyTable.of_user(bpy.context.window_manager)
        assert (table.action(Pressed("K")), table.action(Pressed("B"))) == ("BOX", None)
        assert table.keys_of("LARGER") == "Ctrl Wheel Up"
    finally:
        item.type = "B"


def test_outlines_and_spread_points(tool):
    prompts = tool("prompts")
    pixels = prompts.Outline.box((10, 50), (30, 10)).pixels()
    assert len(pixels) == 144
    assert pixels.min(axis=0).tolist() > [10, 10]
    lasso = prompts.Outline(((0, 0), (100, 0), (0, 100)), positive=False)
    assert (lasso.pixels().sum(axis=1) <= 100).all()
    seen = [prompts.Click((float(x), 0.0, 0.0), x, True) for x in range(50)]
    found = lasso.clicks(seen)
    assert len(found) == 6 and not any(click.positive for click in found)
    assert {found[1].polygon, found[2].polygon} == {0, 49}  # far from each other
    assert (
        lasso.clicks([]) == prompts.Faces(np.zeros(4, dtype=bool)).clicks(np.zeros((4, 3)), np.ones(4)) == ()
    )
    centers, chosen = np.eye(4, 3), np.array([True, False, True, False])
    faces = prompts.Faces(chosen).clicks(centers, np.ones(4))
    assert [(click.polygon, click.positive) for click in faces] == [(0, True), (2, True)]
    line = np.stack([np.linspace(0, 1, 101), np.zeros(101)], axis=1)
    assert sorted(prompts.spread(line, 3).tolist()) == [0, 50, 100]


def test_levels_and_sizes_choose_among_the_candidates(tool):
    choice = tool("masks").Choice
    shares = np.array([0.02, 0.4, 0.1])
    assert choice().pick(2, shares) == 2
    assert [choice(level=level).pick(0, shares) for level in range(3)] == [1, 2, 0]
    assert [choice(size=size).pick(0, shares) for size in (0.9, 0.15, 0.001)] == [1, 2, 0]
    assert choice(level=2).pick(0, shares[:1]) == 0
    assert choice(size=0.9).pick(2, shares, asked=0.9) == 2  # what the network makes of the size


def test_probabilities_of_polygons_are_those_of_their_triangles_by_area(tool, addon):
    obj = add_object("kite", [(0, 0, 0), (1, 0, 0), (1, 3, 0), (0, 1, 0)], [[0, 1, 2, 3]])
    shape = addon("mesh_exchange").read_shape(bpy.context, [obj])
    polygons = tool("masks").PolygonMap(shape.sources[0])
    areas = shape.sources[0].triangle_areas
    values = np.array([1.0, 0.0])
    assert polygons.mean(values)[0] == pytest.approx(areas[0] / areas.sum())
    assert polygons.shares(np.array([[1.0, -1.0], [1.0, 1.0]])) == pytest.approx([areas[0] / areas.sum(), 1])


def test_mirrored_masks_are_two_parts_or_one(tool):
    accepting = tool("accepting")
    masks = tool("masks")

    def preview(inside):
        inside = np.array(inside, dtype=bool)
        return masks.Preview(None, 0, inside.astype(np.float32), inside)

    arm, other_arm, trunk = preview([1, 0, 0, 0]), preview([0, 0, 0, 1]), preview([0, 1, 1, 0])
    assert len(accepting.parts_of(arm, other_arm, None)) == 2
    (one,) = accepting.parts_of(trunk, trunk, None)
    assert one.polygons.tolist() == [False, True, True, False]
    (into,) = accepting.parts_of(arm, other_arm, accepting.Target(1, "ADD"))
    assert into.polygons.tolist() == [True, False, False, True]


def test_triangles_are_drawn_in_shades(tool):
    obj = grid(2)
    shown = make_picker(tool, obj).shown()
    shades = tool("preview").shaded_triangles(shown, np.array([0.0, 1.0, 0.5, 0.5], dtype=np.float32))
    assert {share: len(triangles) for triangles, share in shades} == {0.5: 4, 1.0: 2}
    drawn = {tuple(triangle) for triangles, _ in shades for triangle in triangles.tolist()}
    assert drawn == {
        tuple(triangle)
        for triangle, polygon in zip(shown.triangles.tolist(), shown.surface.polygons, strict=True)
        if polygon > 0
    }
