# SPDX-License-Identifier: GPL-3.0-or-later
"""A picture of the parts in UV space, for masks in texturing programs."""

from __future__ import annotations

from dataclasses import dataclass

import bpy
import numpy as np

from ...backend.errors import MeshError, PromptError
from ..apply.ownership import read_made, write_made
from ..mesh_exchange.arrays import FloatArray, IntArray, ranges, triangle_corners
from ..parts import color_table, read_part_ids
from ..steps import Steps, finish
from ..wording import say

KIND = "id_map"

_MESH = "mesh"
"""On the image: the name of the mesh that it was made for."""

EMPTY = -1
"""Value of pixels that no triangle covers."""

_CHUNK = 4_000_000
"""Pixels of the triangles' boxes at a time; bounds memory to some hundred MB."""

_RASTERIZED = 0.9
"""Share of the work that is done when all triangles are."""

_TOLERANCE = 1e-9
"""Twice the area, in pixels, by which a pixel may lie outside of an edge."""


def check_bakeable(obj: bpy.types.Object) -> None:
    """Raise PromptError where there is nothing to paint through."""
    if obj.data.uv_layers.active is None:
        raise PromptError(say('"{name}" has no UV map; unwrap it first (Unwrap Parts)', name=obj.name))


def bake_id_map(obj: bpy.types.Object, *, size: int = 1024, margin: int = 4) -> bpy.types.Image:
    """Paint the part colours through the active UV map into a square image, packed into the file.

    size: side in pixels; margin: pixels that colours are extended beyond the islands. Pixels outside
    are transparent. No smoothing: each pixel has exactly one part's colour. The image of an earlier call for
    the same mesh is painted anew, in the new size; other images are left alone, whatever they are called.
    """
    painting = Painting.read(obj, size=size, margin=margin)
    return write_image(obj, finish(painting.paint()))


@dataclass(frozen=True)
class Painting:
    """What is to be painted, read from a mesh; the rest may be done in another thread.

    uv_map: name of the map; uvs: float32 [C, 2], its UVs; corners: int32 [T, 3]; parts: int32 [T]
    colors: float32 [largest id + 1, 3], by part id
    """

    uv_map: str
    uvs: FloatArray
    corners: IntArray
    parts: IntArray
    colors: FloatArray
    size: int
    margin: int

    @classmethod
    def read(cls, obj: bpy.types.Object, *, size: int, margin: int) -> Painting:
        """Through the active UV map. Not in Edit mode. PromptError where there is none."""
        mesh = obj.data
        check_bakeable(obj)
        uv_map, (corners, polygons) = mesh.uv_layers.active.name, triangle_corners(mesh)
        parts, uvs = read_part_ids(mesh)[polygons], _read_uvs(mesh, uv_map)
        return cls(uv_map, uvs, corners, parts, color_table(mesh), size, margin)

    def check(self, obj: bpy.types.Object) -> None:
        """Raise MeshError where the UV map is not the one that was read any more. Not in Edit mode."""
        known = self.uv_map in obj.data.uv_layers
        if known and np.array_equal(_read_uvs(obj.data, self.uv_map), self.uvs, equal_nan=True):
            return
        raise MeshError(
            say(
                'The UV map "{uv_map}" of "{name}" was changed meanwhile; start again',
                uv_map=self.uv_map,
                name=obj.name,
            )
        )

    def paint(self) -> Steps:
        """The pixels, as `Painted`."""
        covered = yield from rasterize(np.nan_to_num(self.uvs)[self.corners], self.parts, self.size)
        for _ in range(self.margin):
            covered = extend(covered, 1)
            yield _RASTERIZED
        return Painted(covered, self.colors, _colored(covered, self.colors))


def _read_uvs(mesh: bpy.types.Mesh, name: str) -> FloatArray:
    uvs = np.empty((len(mesh.loops), 2), dtype=np.float32)
    mesh.uv_layers[name].uv.foreach_get("vector", uvs.ravel())
    return uvs


@dataclass(frozen=True)
class Painted:
    """parts: int32 [size, size] from the bottom row up, EMPTY outside; colors: float32 [largest id + 1, 3];
    pixels: float32 [size, size, 4]"""

    parts: IntArray
    colors: FloatArray
    pixels: FloatArray


def _colored(parts: IntArray, colors: FloatArray) -> FloatArray:
    opaque = np.concatenate([colors, np.ones((len(colors), 1), dtype=np.float32)], axis=1)
    table = np.concatenate([np.zeros((1, 4), dtype=np.float32), opaque])  # the first one: EMPTY
    return table.take(parts - EMPTY, axis=0)


def rasterize(triangles: FloatArray, values: IntArray, size: int) -> Steps:
    """In portions: the value of the triangle over each pixel centre, int32 [size, size] from the bottom up.

    triangles: UVs [T, 3, 2]; values: int32 [T], from 0. Where triangles overlap, the last one wins;
    triangles outside 0..1 wrap around, as textures do.
    """
    canvas = np.full((size, size), EMPTY, dtype=np.int32)
    points = triangles.astype(np.float64)
    corners = [points[:, k] for k in range(3)]
    lowest = np.minimum(np.minimum(*corners[:2]), corners[2])
    points = (points - np.floor(lowest)[:, None]) * size - 0.5  # pixel centres: integers
    low = np.ceil((lowest - np.floor(lowest)) * size - 0.5).astype(np.int32)
    corners = [points[:, k] for k in range(3)]
    high = np.floor(np.maximum(np.maximum(*corners[:2]), corners[2])).astype(np.int32)
    twice_area = _cross(corners[1] - corners[0], corners[2] - corners[0])
    # Most triangles of a dense mesh lie between pixel centres.
    covering = np.flatnonzero((high >= low).all(axis=1) & (twice_area != 0))
    shapes = _Shapes(points[covering], np.sign(twice_area[covering]), low[covering], high[covering])
    values = values[covering]
    stops = np.cumsum((shapes.high - shapes.low + 1).prod(axis=1, dtype=np.int64))
    start = 0
    while start < len(stops):
        done = stops[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(stops, done + _CHUNK, side="right")))
        owner, x, y = _covered(shapes.part(start, stop))
        canvas[y % size, x % size] = values[start + owner]
        start = stop
        yield _RASTERIZED * start / len(stops)
    return canvas


@dataclass(frozen=True)
class _Shapes:
    """Triangles in pixels.

    points: float64 [T, 3, 2]; turn: float64 [T], 1 for counterclockwise ones, -1 for the others
    low, high: int32 [T, 2], the first and last pixel of their boxes
    """

    points: FloatArray
    turn: FloatArray
    low: IntArray
    high: IntArray

    def part(self, start: int, stop: int) -> _Shapes:
        part = slice(start, stop)
        return _Shapes(self.points[part], self.turn[part], self.low[part], self.high[part])


def _covered(shapes: _Shapes) -> tuple[IntArray, IntArray, IntArray]:
    """The pixels of each triangle, borders included, row by row: its number, x and y, int [N] each."""
    rows = shapes.high[:, 1] - shapes.low[:, 1] + 1
    owner: IntArray = np.repeat(np.arange(len(rows), dtype=np.int32), rows)
    y = ranges(shapes.low[:, 1], rows)
    first, last = _spans(shapes, owner, y)
    counts = np.maximum(last - first + 1, 0)
    return np.repeat(owner, counts), ranges(first, counts), np.repeat(y, counts)


def _spans(shapes: _Shapes, owner: IntArray, y: IntArray) -> tuple[IntArray, IntArray]:
    """The first and last pixel of triangle `owner` in row `y`, int32 [R] all; first > last: none."""
    low, high = shapes.low[owner, 0].astype(np.float64), shapes.high[owner, 0].astype(np.float64)
    for k in range(3):
        start = shapes.points[:, k]
        along = (shapes.points[:, (k + 1) % 3] - start) * shapes.turn[:, None]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            slope = along[:, 0] / along[:, 1]
            bound = (start[:, 0] + _TOLERANCE / along[:, 1])[owner] + slope[owner] * (y - start[owner, 1])
        rises = along[owner, 1]
        np.minimum(high, bound, out=high, where=rises > 0)
        np.maximum(low, bound, out=low, where=rises < 0)
        flat = np.flatnonzero(rises == 0)
        outside = along[owner[flat], 0] * (y[flat] - start[owner[flat], 1]) < -_TOLERANCE
        high[flat[outside]] = -np.inf
    high = np.maximum(high, low - 2)  # nothing may be beyond what integers hold
    return np.ceil(low).astype(np.int32), np.floor(high).astype(np.int32)


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


def _cross(a: FloatArray, b: FloatArray) -> FloatArray:
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]


def write_image(obj: bpy.types.Object, painted: Painted) -> bpy.types.Image:
    """Put pixels into the image that an earlier call made for this mesh, or a new one."""
    mesh, size, name = obj.data, len(painted.parts), f"{obj.name} Parts"
    pixels, colors = painted.pixels, color_table(mesh)
    if not np.array_equal(colors, painted.colors):  # chosen anew meanwhile
        pixels = _colored(painted.parts, colors)
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
