# SPDX-License-Identifier: GPL-3.0-or-later
"""Triangles of a mesh over the viewport, in flat translucent colours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import gpu
import numpy as np
from mathutils import Matrix, Vector
from numpy.typing import NDArray

if TYPE_CHECKING:
    from gpu.types import GPUBatch, GPUVertBuf

Color = tuple[float, float, float, float]

TOWARDS_VIEWER = Matrix.Translation(Vector((0.0, 0.0, -1e-4)))
"""A shift in clip space, which keeps the overlay off the surface at every scale of the scene."""


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
    """A batch of int [T, 3] vertex indices, T > 0, over uploaded positions."""
    indices = gpu.types.GPUIndexBuf(type="TRIS", seq=np.ascontiguousarray(triangles, dtype=np.int32))
    return gpu.types.GPUBatch(type="TRIS", buf=positions, elem=indices)


def draw_layers(layers: Iterable[Layer], matrix: Matrix) -> None:
    """Draw `layers`, given in object space, inside `overlay_state`."""
    shader = gpu.shader.from_builtin("UNIFORM_COLOR")
    shader.bind()
    with gpu.matrix.push_pop():
        gpu.matrix.multiply_matrix(matrix)
        for layer in layers:
            shader.uniform_float("color", layer.color)
            layer.batch.draw(shader)


@contextmanager
def overlay_state() -> Iterator[None]:
    """Blending, the depth test and the shift towards the viewer; all of it reset at the end."""
    gpu.state.blend_set("ALPHA")
    gpu.state.depth_test_set("LESS_EQUAL")
    try:
        with gpu.matrix.push_pop_projection():
            gpu.matrix.load_projection_matrix(TOWARDS_VIEWER @ gpu.matrix.get_projection_matrix())
            yield
    finally:
        gpu.state.depth_test_set("NONE")
        gpu.state.blend_set("NONE")
