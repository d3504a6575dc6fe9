# SPDX-License-Identifier: GPL-3.0-or-later
"""Triangles and lines of a mesh in the viewport: translucent over its surface, or in its place."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import bpy
import gpu
import numpy as np
from mathutils import Matrix, Vector
from numpy.typing import NDArray

from ..mesh_exchange.surface_colors import srgb_to_linear

if TYPE_CHECKING:
    from gpu.types import GPUBatch, GPUShader, GPUVertBuf

Color = tuple[float, float, float, float]

TOWARDS_VIEWER = Matrix.Translation(Vector((0.0, 0.0, -1e-4)))
"""A shift in clip space, which keeps the overlay off the surface at every scale of the scene."""

LINES_TOWARDS_VIEWER = Matrix.Translation(Vector((0.0, 0.0, -3e-4)))
"""The shift for lines, which lie on the overlay."""

POINT_SIZE = 6.0
"""Of the points of a cloud, in pixels at scale 1."""

COVERED_SHARE = 0.4
"""Opacity of what is drawn although other surfaces cover it."""

_VERTEX = """
void main()
{
  place = pos;
  gl_Position = matrix * vec4(pos, 1.0);
}
"""

_FRAGMENT = """
void main()
{
  vec3 normal = normalize(cross(dFdx(place), dFdy(place)));
  float facing = abs(dot(normal, light.xyz));
  result = vec4(color.rgb * (0.25 + 0.75 * facing * facing), 1.0);  // linear: the frame buffer encodes it
}
"""


@dataclass(frozen=True)
class Layer:
    """Triangles that share a colour. color: sRGB and opacity."""

    batch: GPUBatch
    color: Color


def upload_positions(positions: NDArray) -> GPUVertBuf:
    """float32 [V, 3] to the graphics processor."""
    layout = gpu.types.GPUVertFormat()
    layout.attr_add(id="pos", comp_type="F32", len=3, fetch_mode="FLOAT")
    buffer = gpu.types.GPUVertBuf(layout, len=len(positions))
    buffer.attr_fill("pos", np.ascontiguousarray(positions, dtype=np.float32))
    return buffer


def make_batch(positions: GPUVertBuf, triangles: NDArray) -> GPUBatch:
    """A batch of vertex indices over uploaded positions: of triangles, int [T, 3], or points, [T, 1]."""
    kind, seq = ("TRIS", triangles) if triangles.shape[1] == 3 else ("POINTS", triangles.ravel())
    indices = gpu.types.GPUIndexBuf(type=kind, seq=np.ascontiguousarray(seq, dtype=np.int32))
    return gpu.types.GPUBatch(type=kind, buf=positions, elem=indices)


def make_lines(ends: NDArray) -> GPUBatch:
    """A batch of line segments, float32 [K, 2, 3], K > 0."""
    return gpu.types.GPUBatch(type="LINES", buf=upload_positions(ends.reshape(-1, 3)))


def draw_layers(layers: Iterable[Layer], matrix: Matrix) -> None:
    """Draw `layers`, given in object space, inside `overlay_state`."""
    shader = gpu.shader.from_builtin("UNIFORM_COLOR")
    shader.bind()
    with gpu.matrix.push_pop():
        gpu.matrix.multiply_matrix(matrix)
        for layer in layers:
            shader.uniform_float("color", layer.color)
            layer.batch.draw(shader)


def draw_points(layers: Iterable[Layer], matrix: Matrix) -> None:
    """Draw the points of `layers`, given in object space, inside `overlay_state` or `solid_state`."""
    gpu.state.point_size_set(POINT_SIZE * bpy.context.preferences.system.ui_scale)
    try:
        draw_layers(layers, matrix)
    finally:
        gpu.state.point_size_set(1.0)


def draw_solid(layer: Layer, matrix: Matrix) -> None:
    """Draw an opaque, shaded surface, inside `solid_state`; `matrix` leads from its space to the world."""
    shader = _solid_shader()
    shader.bind()
    view = gpu.matrix.get_model_view_matrix()
    towards_eye = (view @ matrix).to_3x3().inverted_safe() @ Vector((0.0, 0.0, 1.0))
    shader.uniform_float("matrix", gpu.matrix.get_projection_matrix() @ view @ matrix)
    shader.uniform_float("light", (*towards_eye.normalized(), 0.0))
    linear = srgb_to_linear(np.array(layer.color[:3])).tolist()
    shader.uniform_float("color", (*linear, 1.0))
    layer.batch.draw(shader)


def draw_outline(
    lines: GPUBatch, matrix: Matrix, viewport: tuple[float, float], *, covered: bool = False
) -> None:
    """Draw lines in white with a dark rim; `viewport`: width and height of the region in pixels.

    covered: what other surfaces cover, faintly, instead of what they do not
    """
    share = COVERED_SHARE if covered else 1.0
    shader = gpu.shader.from_builtin("POLYLINE_UNIFORM_COLOR")
    shader.bind()
    scale = bpy.context.preferences.system.ui_scale
    with _blended(LINES_TOWARDS_VIEWER, covered), gpu.matrix.push_pop():
        gpu.matrix.multiply_matrix(matrix)
        shader.uniform_float("viewportSize", viewport)
        for width, color in ((4.0, (0.0, 0.0, 0.0, 0.55 * share)), (2.0, (1.0, 1.0, 1.0, 0.95 * share))):
            shader.uniform_float("lineWidth", width * scale)
            shader.uniform_float("color", color)
            lines.draw(shader)


def eye_of_view(matrix: Matrix) -> NDArray:
    """Where the view that is being drawn is seen from, homogeneous [4], its sign arbitrary: what has no place
    in its picture. `matrix` leads from the space that it is given in to the world.
    """
    projection = gpu.matrix.get_projection_matrix() @ gpu.matrix.get_model_view_matrix() @ matrix
    return np.array(projection.inverted_safe() @ Vector((0.0, 0.0, 1.0, 0.0)), dtype=np.float32)


@contextmanager
def overlay_state(*, covered: bool = False) -> Iterator[None]:
    """Blending, the depth test and the shift towards the viewer; all of it reset at the end.

    covered: for what other surfaces cover instead of what they do not
    """
    with _blended(TOWARDS_VIEWER, covered):
        yield


@contextmanager
def solid_state() -> Iterator[None]:
    """Surfaces that hide what lies behind them; reset at the end."""
    gpu.state.depth_test_set("LESS_EQUAL")
    gpu.state.depth_mask_set(True)
    try:
        yield
    finally:
        gpu.state.depth_mask_set(False)
        gpu.state.depth_test_set("NONE")


@contextmanager
def _blended(shift: Matrix, covered: bool = False) -> Iterator[None]:
    gpu.state.blend_set("ALPHA")
    gpu.state.depth_test_set("GREATER" if covered else "LESS_EQUAL")
    try:
        with gpu.matrix.push_pop_projection():
            gpu.matrix.load_projection_matrix(shift @ gpu.matrix.get_projection_matrix())
            yield
    finally:
        gpu.state.depth_test_set("NONE")
        gpu.state.blend_set("NONE")


@functools.cache
def _solid_shader() -> GPUShader:
    """Flat shading by a light at the eye; normals come from the positions of neighbouring pixels."""
    interface = gpu.types.GPUStageInterfaceInfo("partsam_solid")
    interface.smooth("VEC3", "place")
    info = gpu.types.GPUShaderCreateInfo()
    info.push_constant("MAT4", "matrix")
    info.push_constant("VEC4", "color")
    info.push_constant("VEC4", "light")
    info.vertex_in(0, "VEC3", "pos")
    info.vertex_out(interface)
    info.fragment_out(0, "VEC4", "result")
    info.vertex_source(_VERTEX)
    info.fragment_source(_FRAGMENT)
    return gpu.shader.create_from_info(info)
