# SPDX-License-Identifier: GPL-3.0-or-later
"""The colour of a surface at any of its points, from colour attributes, materials and textures.

What the user sees decides: an image or colour attribute that feeds the material's base colour; without
one, the mesh's active colour attribute; else the plain base colour; else the neutral grey that the
network was trained with. All colours are RGB as displayed (sRGB), in [0, 1].
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import bpy
import numpy as np

from ...backend.geometry.mesh import NEUTRAL_GREY
from .arrays import FloatArray, IntArray, corner_vertices, read_polygon_integers
from .base_colors import BaseColor, find_base_color

OWN_COLOR_ATTRIBUTE = "partsam_color"
"""The overlay written as a colour attribute; never read back as the surface's own colour."""

MAX_TEXTURE_SIDE = 1024
"""Larger images are scaled down before they are read: 100,000 samples do not see finer detail."""


@dataclass(frozen=True)
class Paint:
    """How the triangles of one material slot are coloured: the first that is there of the three.

    image: uint8 [H, W, 3] with rows from bottom to top, looked up at uvs: float32 [T, 3, 2]
    attribute: scene-linear float32 [N, 3], the colours of vertices or face corners; elements: int32 [T, 3],
        which of them each corner of the object's T triangles has
    color: float32 [3]
    """

    color: FloatArray
    image: np.ndarray | None = None
    uvs: FloatArray | None = None
    attribute: FloatArray | None = None
    elements: IntArray | None = None


@dataclass(frozen=True)
class SurfaceColors:
    """The paints of one object and the paint of each of its triangles, int32 [T]."""

    paints: tuple[Paint, ...]
    triangle_paints: IntArray

    def at(self, triangles: IntArray, barycentric: FloatArray) -> FloatArray:
        """Colours at points given by triangle [N] and barycentric weights [N, 3]: float32 [N, 3]."""
        colors = np.empty((len(triangles), 3), dtype=np.float32)
        paints = self.triangle_paints[triangles]
        for index, paint in enumerate(self.paints):
            here = np.flatnonzero(paints == index)
            if len(here):
                colors[here] = _paint_at(paint, triangles[here], barycentric[here])
        return colors


def read_surface_colors(
    mesh: bpy.types.Mesh,
    materials: list[bpy.types.Material | None],
    *,
    corners: IntArray,
    polygons: IntArray,
) -> SurfaceColors:
    """Read all that `at` needs for the triangles with these corners [T, 3] and polygons [T]."""
    slots = read_polygon_integers(mesh, "material_index")
    triangle_paints: IntArray
    if slots is None or not materials:
        triangle_paints = np.zeros(len(polygons), dtype=np.int32)
    else:
        triangle_paints = np.clip(slots, 0, len(materials) - 1)[polygons]
    used = set(np.unique(triangle_paints).tolist())
    reader = _PaintReader(mesh, corners)
    paints = tuple(
        reader.read(material) if index in used else Paint(_grey())
        for index, material in enumerate(materials or [None])
    )
    return SurfaceColors(paints, triangle_paints)


def linear_to_srgb(linear: FloatArray) -> FloatArray:
    """Scene-linear RGB to display sRGB, both in [0, 1] (IEC 61966-2-1)."""
    linear = np.clip(np.nan_to_num(linear), 0.0, 1.0)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


def srgb_to_linear(srgb: FloatArray) -> FloatArray:
    """Display sRGB to scene-linear RGB, both in [0, 1] (IEC 61966-2-1)."""
    srgb = np.clip(np.nan_to_num(srgb), 0.0, 1.0)
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


class _PaintReader:
    """Reads paints of one mesh; images, UV maps and attributes that several share are read once."""

    def __init__(self, mesh: bpy.types.Mesh, corners: IntArray) -> None:
        self._mesh = mesh
        self._corners = corners
        self._images: dict[str, np.ndarray | None] = {}
        self._uvs: dict[str, FloatArray] = {}
        self._attributes: dict[str, tuple[FloatArray, IntArray] | None] = {}

    def read(self, material: bpy.types.Material | None) -> Paint:
        base = BaseColor() if material is None else find_base_color(material)
        color = _grey() if base.color is None else linear_to_srgb(np.asarray(base.color, dtype=np.float32))
        if base.image is not None and len(self._mesh.uv_layers):
            image = self._image(base.image)
            if image is not None:
                return Paint(color, image=image, uvs=self._uv(base.uv_map))
        attribute, elements = self._attribute(base.attribute) or (None, None)
        return Paint(color, attribute=attribute, elements=elements)

    def _image(self, image: bpy.types.Image) -> np.ndarray | None:
        if image.name not in self._images:
            self._images[image.name] = read_image(image)
        return self._images[image.name]

    def _uv(self, name: str) -> FloatArray:
        layers = self._mesh.uv_layers
        layer = layers.get(name) or next((layer for layer in layers if layer.active_render), layers[0])
        if layer.name not in self._uvs:
            coordinates = np.empty((len(self._mesh.loops), 2), dtype=np.float32)
            layer.uv.foreach_get("vector", coordinates.ravel())
            self._uvs[layer.name] = np.nan_to_num(coordinates)[self._corners]
        return self._uvs[layer.name]

    def _attribute(self, name: str) -> tuple[FloatArray, IntArray] | None:
        """Colours and elements of the attribute `name`, or of the active one if that says anything."""
        if name not in self._attributes:
            self._attributes[name] = _read_color_attribute(self._mesh, name, self._corners)
        return self._attributes[name]


def read_image(image: bpy.types.Image) -> np.ndarray | None:
    """Pixels of `image` as displayed, uint8 [H, W, 3] from the bottom row up; None if it has none.

    Images larger than MAX_TEXTURE_SIDE come smaller: scaled down in a copy before they are read, or,
    where only Blender's memory holds the pixels and a copy would lose them, by every n-th pixel.
    """
    width, height = image.size
    if width == 0 or height == 0:
        return None
    scale = MAX_TEXTURE_SIDE / max(width, height)
    if scale >= 1:
        return _read_pixels(image)
    if image.is_dirty or image.source == "GENERATED":
        return _read_pixels(image, step=math.ceil(1 / scale))
    small = image.copy()
    try:
        small.scale(max(1, round(width * scale)), max(1, round(height * scale)))
        return _read_pixels(small)
    finally:
        bpy.data.images.remove(small)


def _read_pixels(image: bpy.types.Image, *, step: int = 1) -> np.ndarray | None:
    width, height = image.size
    pixels = np.empty(len(image.pixels), dtype=np.float32)
    if len(pixels) != width * height * image.channels or image.channels < 3:
        return None
    image.pixels.foreach_get(pixels)
    rgb = pixels.reshape(height, width, image.channels)[step // 2 :: step, step // 2 :: step, :3]
    if image.is_float:
        rgb = linear_to_srgb(rgb)
    return np.rint(np.clip(np.nan_to_num(rgb), 0, 1) * 255).astype(np.uint8)


def _read_color_attribute(
    mesh: bpy.types.Mesh, name: str, corners: IntArray
) -> tuple[FloatArray, IntArray] | None:
    attribute = mesh.color_attributes.get(name) if name else _active_color(mesh)
    if attribute is None:
        return None
    rgba = np.empty((len(attribute.data), 4), dtype=np.float32)
    attribute.data.foreach_get("color", rgba.ravel())
    if not name and (len(rgba) == 0 or max(np.ptp(channel) for channel in rgba.T[:3]) < 1e-3):
        return None  # one colour all over: a fresh, unpainted attribute
    return rgba[:, :3], corner_vertices(mesh)[corners] if attribute.domain == "POINT" else corners


def _active_color(mesh: bpy.types.Mesh) -> bpy.types.Attribute | None:
    """The active colour attribute; behind our own overlay, the first other one."""
    active = mesh.color_attributes.active_color
    if active is None or active.name != OWN_COLOR_ATTRIBUTE:
        return active
    return next((other for other in mesh.color_attributes if other.name != OWN_COLOR_ATTRIBUTE), None)


def _paint_at(paint: Paint, triangles: IntArray, barycentric: FloatArray) -> FloatArray:
    if paint.image is not None and paint.uvs is not None:
        uv = np.einsum("nk,nkc->nc", barycentric, paint.uvs[triangles])
        height, width = paint.image.shape[:2]
        # Nearest texel, with the repeat that image textures have by default.
        column = np.floor(uv[:, 0] * width).astype(np.int64) % width
        row = np.floor(uv[:, 1] * height).astype(np.int64) % height
        return paint.image[row, column].astype(np.float32) / 255
    if paint.attribute is not None and paint.elements is not None:
        # Converted here: there are far fewer samples than corners of a large mesh.
        return np.einsum(
            "nk,nkc->nc", barycentric, linear_to_srgb(paint.attribute[paint.elements[triangles]])
        )
    return np.broadcast_to(paint.color, (len(triangles), 3))


def _grey() -> FloatArray:
    return np.full(3, NEUTRAL_GREY, dtype=np.float32)
