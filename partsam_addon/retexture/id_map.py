# SPDX-License-Identifier: GPL-3.0-or-later
"""A picture of the parts in UV space, for masks in texturing programs."""

from __future__ import annotations

import bpy
import numpy as np

from ...backend.errors import PromptError
from ..apply.ownership import read_made, write_made
from ..mesh_exchange.arrays import FloatArray, IntArray, triangle_corners
from ..parts import color_table, read_part_ids

KIND = "id_map"

_MESH = "mesh"
"""On the image: the name of the mesh that it was made for."""

EMPTY = -1
"""Value of pixels that no triangle covers."""

_CHUNK = 4_000_000
"""Pixels tested at a time; bounds memory to some hundred MB."""


def check_bakeable(obj: bpy.types.Object) -> None:
    """Raise PromptError where there is nothing to paint through."""
    if obj.data.uv_layers.active is None:
        raise PromptError(f'"{obj.name}" has no UV map; unwrap it first (Unwrap Parts)')


def bake_id_map(obj: bpy.types.Object, *, size: int = 1024, margin: int = 4) -> bpy.types.Image:
    """Paint the part colours through the active UV map into a square image, packed into the file.

    size: side in pixels; margin: pixels that colours are extended beyond the islands. Pixels outside
    are transparent. No smoothing: each pixel has exactly one part's colour. The image of an earlier call for
    the same mesh is painted anew, in the new size; other images are left alone, whatever they are called.
    """
    mesh = obj.data
    check_bakeable(obj)
    uvs = np.empty((len(mesh.loops), 2), dtype=np.float32)
    mesh.uv_layers.active.uv.foreach_get("vector", uvs.ravel())
    corners, polygons = triangle_corners(mesh)
    covered = rasterize(np.nan_to_num(uvs)[corners], read_part_ids(mesh)[polygons], size)
    covered = extend(covered, margin)
    pixels = np.zeros((size, size, 4), dtype=np.float32)
    pixels[:, :, :3] = color_table(mesh)[np.maximum(covered, 0)]
    pixels[:, :, 3] = 1
    pixels[covered == EMPTY] = 0
    return _image(mesh, f"{obj.name} Parts", size, pixels)


def rasterize(triangles: FloatArray, values: IntArray, size: int) -> IntArray:
    """The value of the triangle over each pixel centre, int32 [size, size] from the bottom row up.

    triangles: UVs [T, 3, 2]; values: int32 [T], from 0. Where triangles overlap, the last one wins;
    triangles outside 0..1 wrap around, as textures do.
    """
    canvas = np.full((size, size), EMPTY, dtype=np.int32)
    points = triangles.astype(np.float64)
    points = (points - np.floor(points.min(axis=1, keepdims=True))) * size - 0.5  # pixel centres: integers
    low = np.ceil(points.min(axis=1)).astype(np.int64)
    spans = np.floor(points.max(axis=1)).astype(np.int64) - low + 1
    counts = np.where((spans > 0).all(axis=1), spans.prod(axis=1), 0)
    twice_area = _cross(points[:, 1] - points[:, 0], points[:, 2] - points[:, 0])
    counts[twice_area == 0] = 0
    covering = np.flatnonzero(counts)  # most triangles of a dense mesh lie between pixel centres
    points, low, width = points[covering], low[covering], spans[covering, 0]
    values, counts = values[covering], counts[covering]
    turn = np.sign(twice_area[covering])
    stops = np.cumsum(counts)
    start = 0
    while start < len(counts):
        done = stops[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(stops, done + _CHUNK, side="right")))
        part = slice(start, stop)
        owner: IntArray = np.repeat(np.arange(start, stop), counts[part])
        offset = np.arange(len(owner)) - np.repeat(stops[part] - counts[part] - done, counts[part])
        row = offset // width[owner]
        x, y = low[owner, 0] + offset - row * width[owner], low[owner, 1] + row
        owner, x, y = _inside(points, turn, owner, x, y)
        canvas[y % size, x % size] = values[owner]
        start = stop
    return canvas


def extend(canvas: IntArray, margin: int) -> IntArray:
    """Grow the values [H, W] into empty pixels beside them, `margin` times by one pixel."""
    for _ in range(margin):
        grown = canvas.copy()
        for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
            shifted = np.roll(canvas, step, axis=axis)
            edge = [slice(None), slice(None)]
            edge[axis] = slice(0, 1) if step > 0 else slice(-1, None)
            shifted[tuple(edge)] = EMPTY
            grown = np.where(grown == EMPTY, shifted, grown)
        canvas = grown
    return canvas


def _inside(
    triangles: FloatArray, turn: FloatArray, owner: IntArray, x: IntArray, y: IntArray
) -> tuple[IntArray, IntArray, IntArray]:
    """Those of the pixels x, y [N] that lie in their triangle `owner` [N], borders included.

    triangles: float64 [T, 3, 2]; turn: float64 [T], 1 for counterclockwise ones, -1 for the others
    """
    for k in range(3):
        start = triangles[:, k]
        along = (triangles[:, (k + 1) % 3] - start) * turn[:, None]
        height = along[owner, 0] * (y - start[owner, 1]) - along[owner, 1] * (x - start[owner, 0])
        inside = height >= -1e-9
        owner, x, y = owner[inside], x[inside], y[inside]
    return owner, x, y


def _cross(a: FloatArray, b: FloatArray) -> FloatArray:
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]


def _image(mesh: bpy.types.Mesh, name: str, size: int, pixels: FloatArray) -> bpy.types.Image:
    """The image that an earlier call made for this mesh, in the new size, or a new one."""
    image = read_made(mesh, KIND)
    # A copy of the mesh claims the image as well: it belongs to the one that it was made for.
    claims = sum(read_made(other, KIND) == image for other in bpy.data.meshes)
    if (
        not isinstance(image, bpy.types.Image)
        or not image.is_editable
        or (claims > 1 and read_made(image, _MESH) != mesh.name)
    ):
        image = bpy.data.images.new(name, size, size, alpha=True)
        write_made(mesh, KIND, image)
        write_made(image, _MESH, mesh.name)
    elif tuple(image.size) != (size, size):
        image.scale(size, size)  # in place: materials keep their image
    image.pixels.foreach_set(pixels.ravel())
    image.update()
    image.pack()
    return image
