# SPDX-License-Identifier: GPL-3.0-or-later
"""What the click tool draws: the part so far, and the clicks."""

from __future__ import annotations

import math

import bpy
import gpu
import numpy as np
from bpy_extras.view3d_utils import location_3d_to_region_2d
from gpu_extras.batch import batch_for_shader
from mathutils import Vector

from ..mesh_exchange.arrays import corner_vertices, triangle_corners, vertex_positions
from ..view.drawing import Layer, draw_layers, make_batch, overlay_state, upload_positions
from .work import ClickWork

MASK_COLOR = (0.1, 0.75, 1.0, 0.65)
POSITIVE_COLOR = (0.2, 0.95, 0.3, 1.0)
NEGATIVE_COLOR = (1.0, 0.25, 0.2, 1.0)
RIM_COLOR = (0.0, 0.0, 0.0, 0.8)
DOT_PIXELS = 6.0
DOT_SIDES = 20


class ClickPreview:
    """Draw handlers of one run of the tool, in every 3D viewport."""

    def __init__(self, work: ClickWork) -> None:
        self._work = work
        self._source = work.shape.sources[0]
        self._layer: Layer | None = None
        self._drawn_version = -1
        space = bpy.types.SpaceView3D
        self._handles = [
            space.draw_handler_add(self._draw_mask, (), "WINDOW", "POST_VIEW"),
            space.draw_handler_add(self._draw_clicks, (), "WINDOW", "POST_PIXEL"),
        ]

    def remove(self) -> None:
        """Stop drawing. May be called twice."""
        for handle in self._handles:
            bpy.types.SpaceView3D.draw_handler_remove(handle, "WINDOW")
        self._handles = []
        self._layer = None

    def _draw_mask(self) -> None:
        obj = bpy.data.objects.get(self._source.object_name)
        if obj is None or obj.type != "MESH":
            return
        if self._drawn_version != self._work.version:
            self._drawn_version = self._work.version
            self._layer = self._upload(obj.data)
        if self._layer is not None:
            with overlay_state():
                draw_layers([self._layer], obj.matrix_world)

    def _upload(self, mesh: bpy.types.Mesh) -> Layer | None:
        preview = self._work.preview
        if preview is None or len(mesh.polygons) != len(preview.polygons) or not preview.polygons.any():
            return None
        corners, polygons = triangle_corners(mesh)
        triangles = corner_vertices(mesh)[corners[preview.polygons[polygons]]]
        if not len(triangles):
            return None
        return Layer(make_batch(upload_positions(vertex_positions(mesh)), triangles), MASK_COLOR)

    def _draw_clicks(self) -> None:
        region, view = bpy.context.region, bpy.context.region_data
        if view is None:
            return
        gpu.state.blend_set("ALPHA")
        try:
            for click in self._work.clicks:
                center = location_3d_to_region_2d(region, view, Vector(click.position))
                if center is not None:
                    color = POSITIVE_COLOR if click.positive else NEGATIVE_COLOR
                    _draw_dot(center, DOT_PIXELS + 2, RIM_COLOR)
                    _draw_dot(center, DOT_PIXELS, color)
        finally:
            gpu.state.blend_set("NONE")


def _draw_dot(center: Vector, radius: float, color: tuple[float, float, float, float]) -> None:
    radius *= bpy.context.preferences.system.ui_scale
    angles = np.linspace(0.0, 2 * math.pi, DOT_SIDES, endpoint=False)
    rim = np.stack([center.x + radius * np.cos(angles), center.y + radius * np.sin(angles)], axis=1)
    fan = [(0, k, k + 1) for k in range(1, DOT_SIDES - 1)]
    shader = gpu.shader.from_builtin("UNIFORM_COLOR")
    shader.bind()
    shader.uniform_float("color", color)
    points = [(x, y, 0.0) for x, y in rim.tolist()]
    batch_for_shader(shader, "TRIS", {"pos": points}, indices=fan).draw(shader)
