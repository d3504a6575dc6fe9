# SPDX-License-Identifier: GPL-3.0-or-later
"""The picture of a segmented shape: the lump, its parts in colour, and the parts pulled apart.

Cycles on the CPU in a scene of its own: the scene that holds the parts stays as the user would have it.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix, Vector

Color = tuple[float, float, float]

PALETTE = (
    *("3f78b5", "ef8636", "58a65c", "d9534f", "e8bf3d", "8f6bb3"),
    *("45aaa3", "e587a6", "9b7257", "6fb7e0", "b5b84c", "c85f8f"),
)
CLAY: Color = (0.30, 0.29, 0.28)
BACKDROP: Color = (0.62, 0.62, 0.61)


@dataclass(frozen=True)
class Picture:
    """How the picture is taken.

    Attributes:
        width: pixels; the height follows.
        samples: light paths per pixel, before denoising.
        spread: distance of a part from its place in the exploded figure, per distance from the foot.
        gap: distance between two figures, in widths of the shape.
        turn: rotation of each figure about the vertical, in radians.
    """

    width: int = 1000
    samples: int = 16
    spread: float = 0.35
    gap: float = 1.02
    turn: float = math.radians(24.0)

    @property
    def height(self) -> int:
        return round(0.45 * self.width)


def bounds(objects: Sequence[bpy.types.Object]) -> tuple[Vector, Vector]:
    """Lowest and highest corner of the objects' vertices together, in world space."""
    lows, highs = [], []
    for obj in objects:
        flat = np.empty(3 * len(obj.data.vertices), dtype=np.float32)
        obj.data.vertices.foreach_get("co", flat)
        matrix = np.array(obj.matrix_world)
        world = flat.reshape(-1, 3) @ matrix[:3, :3].T + matrix[:3, 3]
        lows.append(world.min(axis=0))
        highs.append(world.max(axis=0))
    return Vector(np.min(lows, axis=0).tolist()), Vector(np.max(highs, axis=0).tolist())


def part_color(index: int) -> Color:
    """An sRGB colour for the index-th part: the palette, then the palette again in other hues."""
    code = PALETTE[index % len(PALETTE)]
    hue, saturation, value = colorsys.rgb_to_hsv(*(int(code[at : at + 2], 16) / 255 for at in (0, 2, 4)))
    return colorsys.hsv_to_rgb((hue + index // len(PALETTE) / 9.0) % 1.0, saturation, value)


def matte(name: str, color: Color, *, roughness: float = 0.55) -> bpy.types.Material:
    """A plain material of one linear colour."""
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    shader = next(node for node in material.node_tree.nodes if node.type == "BSDF_PRINCIPLED")
    shader.inputs["Base Color"].default_value = (*color, 1.0)
    shader.inputs["Roughness"].default_value = roughness
    return material


def place(
    scene: bpy.types.Scene,
    original: bpy.types.Object,
    transform: Matrix,
    *,
    material: bpy.types.Material | None = None,
) -> None:
    """Put a copy of the object into the scene, moved in world space; in one material, or in its own."""
    mesh = original.data.copy()
    if material is not None:
        mesh.materials.clear()
        mesh.materials.append(material)
        mesh.polygons.foreach_set("material_index", np.zeros(len(mesh.polygons), dtype=np.int32))
    copy = bpy.data.objects.new(f"{original.name} (picture)", mesh)
    copy.matrix_world = transform @ original.matrix_world
    scene.collection.objects.link(copy)


def add_backdrop(scene: bpy.types.Scene, *, floor: float, size: float) -> None:
    """A sheet that lies on the floor and bends up behind the figures, without an edge to be seen."""
    radius, depth, steps = size, 1.5 * size, 24
    profile = [(-20.0 * size, floor), (depth, floor)]
    for step in range(1, steps + 1):
        angle = math.pi / 2 * step / steps
        profile.append((depth + radius * math.sin(angle), floor + radius * (1 - math.cos(angle))))
    profile.append((depth + radius, floor + 20.0 * size))
    wide = 40.0 * size
    vertices = [(x, y, z) for y, z in profile for x in (-wide, wide)]
    faces = [(2 * i, 2 * i + 1, 2 * i + 3, 2 * i + 2) for i in range(len(profile) - 1)]
    mesh = bpy.data.meshes.new("Backdrop")
    mesh.from_pydata(vertices, [], faces)
    mesh.shade_smooth()
    mesh.materials.append(matte("Backdrop", BACKDROP, roughness=0.9))
    scene.collection.objects.link(bpy.data.objects.new("Backdrop", mesh))


def add_light(
    scene: bpy.types.Scene, name: str, *, at: Vector, to: Vector, size: float, watts: float
) -> None:
    """A square soft light at `at` that shines at `to`."""
    light = bpy.data.lights.new(name, "AREA")
    light.energy = watts
    light.size = size
    obj = bpy.data.objects.new(name, light)
    obj.location = at
    obj.rotation_euler = (to - at).to_track_quat("-Z", "Y").to_euler()
    scene.collection.objects.link(obj)


def add_camera(scene: bpy.types.Scene, *, low: Vector, high: Vector, picture: Picture) -> None:
    """A long lens, slightly from above, that just frames the box."""
    data = bpy.data.cameras.new("Camera")
    data.lens, data.sensor_width = 85.0, 36.0
    aspect = picture.width / picture.height
    middle, size = (low + high) / 2, high - low
    half_width = data.sensor_width / 2 / data.lens
    distance = 1.08 * max(size.x / 2, aspect * size.z / 2) / half_width + size.y / 2
    tilt = math.radians(9.0)
    camera = bpy.data.objects.new("Camera", data)
    camera.location = middle + distance * Vector((0.0, -math.cos(tilt), math.sin(tilt)))
    camera.rotation_euler = (middle - camera.location).to_track_quat("-Z", "Y").to_euler()
    scene.collection.objects.link(camera)
    scene.camera = camera


def configure_render(scene: bpy.types.Scene, *, picture: Picture, output: Path) -> None:
    scene.render.engine = "CYCLES"
    scene.cycles.device = "CPU"
    scene.cycles.samples = picture.samples
    scene.cycles.use_denoising = True
    scene.cycles.max_bounces = 3  # matte surfaces in an even light: further bounces do not show
    scene.render.resolution_x, scene.render.resolution_y = picture.width, picture.height
    scene.render.resolution_percentage = 100
    scene.render.image_settings.file_format = "PNG"
    scene.render.filepath = str(output)
    scene.view_settings.view_transform = "AgX"
    scene.view_settings.look = "AgX - Medium High Contrast"


def light_scene(scene: bpy.types.Scene, *, middle: Vector, reach: float) -> None:
    """Key light from the upper left, fill from the right, a rim from behind, an even dim sky."""
    world = bpy.data.worlds.new("Sky")
    world.use_nodes = True
    background = next(node for node in world.node_tree.nodes if node.type == "BACKGROUND")
    background.inputs["Color"].default_value = (1.0, 1.0, 1.0, 1.0)
    background.inputs["Strength"].default_value = 0.5
    scene.world = world
    lights = {
        "Key": ((-0.9, -1.0, 1.3), 0.7, 34.0),
        "Fill": ((1.3, -1.0, 0.5), 1.4, 7.0),
        "Rim": ((0.4, 0.8, 1.3), 0.7, 16.0),
    }
    for name, (direction, size, watts) in lights.items():
        at = middle + reach * Vector(direction)
        add_light(scene, name, at=at, to=middle, size=size * reach, watts=watts * reach * reach)


def place_figures(
    scene: bpy.types.Scene,
    whole: bpy.types.Object,
    parts: Sequence[bpy.types.Object],
    *,
    picture: Picture,
) -> None:
    """Three figures in a row: the lump, the parts in place, the parts pulled away from the foot's middle."""
    low, high = bounds([whole])
    foot = Vector(((low.x + high.x) / 2, (low.y + high.y) / 2, low.z))
    width = high.x - low.x
    turn = Matrix.Translation(foot) @ Matrix.Rotation(picture.turn, 4, "Z") @ Matrix.Translation(-foot)
    left = Matrix.Translation((-picture.gap * width, 0, 0))
    right = Matrix.Translation(((picture.gap + picture.spread / 3) * width, 0, 0))
    place(scene, whole, left @ turn, material=matte("Clay", CLAY))
    for part in parts:
        part_low, part_high = bounds([part])
        away = picture.spread * ((part_low + part_high) / 2 - foot)
        place(scene, part, turn)
        place(scene, part, right @ turn @ Matrix.Translation(away))
    scene.view_layers[0].update()


def render(
    whole: bpy.types.Object,
    parts: Sequence[bpy.types.Object],
    output: Path,
    *,
    picture: Picture | None = None,
) -> None:
    """Render `whole` in clay beside its `parts` in colour and the parts exploded; a PNG at `output`."""
    picture = picture or Picture()
    scene = bpy.data.scenes.new("Picture")
    place_figures(scene, whole, parts, picture=picture)
    low, high = bounds(list(scene.objects))
    reach = (high - low).length
    add_backdrop(scene, floor=low.z, size=reach)
    light_scene(scene, middle=(low + high) / 2, reach=reach)
    add_camera(scene, low=low, high=high, picture=picture)
    configure_render(scene, picture=picture, output=output)
    bpy.ops.render.render(write_still=True, scene=scene.name)
