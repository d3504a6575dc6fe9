# SPDX-License-Identifier: GPL-3.0-or-later
"""What the click tool draws into the viewports: the part so far, the part under the mouse, the dots."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import bpy
import gpu
import numpy as np
from gpu_extras.batch import batch_for_shader

from ...backend.errors import PartSAMError
from ..mesh_exchange.arrays import BoolArray, FloatArray, IntArray
from ..view.drawing import draw_outline, make_lines, overlay_state
from .masks import Preview
from .picker import Picker, Shown
from .prompts import Click
from .screen import Projection
from .work import ClickWork

if TYPE_CHECKING:
    from gpu.types import GPUBatch

MASK_COLOR = (0.1, 0.85, 1.0)
"""Reserved for what is being clicked; existing parts are dimmed meanwhile."""
TAKEN_COLOR = (1.0, 0.3, 0.2)
"""Of what is taken out of a part."""
MASK_OPACITY = 0.7
HOVER_OPACITY = 0.22
SOFT_FROM = 0.25
"""Probability from which a polygon outside of the mask is tinted a little."""

POSITIVE_COLOR = (0.2, 0.95, 0.3, 1.0)
NEGATIVE_COLOR = (1.0, 0.25, 0.2, 1.0)
RIM_COLOR = (0.0, 0.0, 0.0, 0.8)
OUTLINE_COLOR = (1.0, 1.0, 1.0, 0.9)
COVERED_ALPHA = 0.35
DOT_PIXELS = 6.0
DOT_SIDES = 20


class ClickPreview:
    """Draw handlers of one run of the tool, in every 3D viewport.

    outline: pixels of the box or lasso that is being drawn, and the region that it is drawn in
    """

    def __init__(self, work: ClickWork, picker: Picker) -> None:
        self._work, self._picker = work, picker
        self._drawn_version = -1
        self._drawn: dict[str, _DrawnMask] = {}
        self.outline: tuple[object, list[tuple[float, float]]] | None = None
        self.drawn_version = -1
        space = bpy.types.SpaceView3D
        self._handles = [
            space.draw_handler_add(self._draw_masks, (), "WINDOW", "POST_VIEW"),
            space.draw_handler_add(self._draw_dots, (), "WINDOW", "POST_PIXEL"),
        ]

    def remove(self) -> None:
        """Stop drawing. May be called twice."""
        for handle in self._handles:
            bpy.types.SpaceView3D.draw_handler_remove(handle, "WINDOW")
        self._handles = []
        self._drawn = {}

    def _draw_masks(self) -> None:
        try:
            obj, shown = self._picker.object(), self._picker.drawn
        except PartSAMError:
            return
        if shown is None:
            return
        if self._drawn_version != self._picker.version:
            self._drawn_version = self._picker.version
            self._drawn = {}
        for mask in self._masks(shown):
            _draw_mask(mask, obj)
        self.drawn_version = self._work.version

    def _masks(self, shown: Shown) -> list[_DrawnMask]:
        """What is to be drawn now."""
        work = self._work
        if work.preview is None:
            hover = work.hover
            return [] if hover is None else [self._mask("hover", hover, shown, MASK_COLOR, HOVER_OPACITY)]
        taken = work.target is not None and work.target.action == "TAKE"
        color = TAKEN_COLOR if taken else MASK_COLOR
        previews = [("preview", work.preview), ("twin", work.twin)]
        return [
            self._mask(name, preview, shown, color, MASK_OPACITY)
            for name, preview in previews
            if preview is not None
        ]

    def _mask(
        self, name: str, preview: Preview, shown: Shown, color: tuple[float, float, float], opacity: float
    ) -> _DrawnMask:
        drawn = self._drawn.get(name)
        if drawn is None or drawn.preview is not preview or drawn.color != color:
            drawn = _DrawnMask(preview, color, shown, opacity)
            self._drawn[name] = drawn
        return drawn

    def _draw_dots(self) -> None:
        region, view = bpy.context.region, bpy.context.region_data
        if view is None:
            return
        try:
            obj = self._picker.object()
        except PartSAMError:
            return
        matrix = np.array(view.perspective_matrix @ obj.matrix_world, dtype=np.float64)
        projection = Projection(matrix, (region.width, region.height))
        gpu.state.blend_set("ALPHA")
        try:
            for click in self._work.clicks:
                self._draw_dot(projection, click)
            if self.outline is not None and self.outline[0] == region.as_pointer():
                _draw_outline_2d(self.outline[1])
        finally:
            gpu.state.blend_set("NONE")

    def _draw_dot(self, projection: Projection, click: Click) -> None:
        center = self._picker.dot(projection, click)
        if center is None:
            return
        alpha = COVERED_ALPHA if self._picker.is_dot_covered(projection, click) else 1.0
        color = POSITIVE_COLOR if click.positive else NEGATIVE_COLOR
        _draw_disc(center, DOT_PIXELS + 2, (*RIM_COLOR[:3], RIM_COLOR[3] * alpha))
        _draw_disc(center, DOT_PIXELS, (*color[:3], alpha))


def _draw_mask(mask: _DrawnMask, obj: bpy.types.Object) -> None:
    if mask.faces is not None:
        shader = gpu.shader.from_builtin("SMOOTH_COLOR")
        with overlay_state(), gpu.matrix.push_pop():
            gpu.matrix.multiply_matrix(obj.matrix_world)
            shader.bind()
            mask.faces.draw(shader)
    if mask.lines is not None:
        region = bpy.context.region
        draw_outline(mask.lines, obj.matrix_world, (region.width, region.height))


class _DrawnMask:
    """A mask on the graphics processor. faces, lines: None where there is nothing to draw."""

    def __init__(
        self, preview: Preview, color: tuple[float, float, float], shown: Shown, opacity: float
    ) -> None:
        self.preview, self.color = preview, color
        strength = mask_strength(preview.probability, preview.polygons)
        triangles, strengths = tinted_triangles(shown, strength)
        self.faces: GPUBatch | None = None
        if len(triangles):
            corners = shown.positions[triangles].reshape(-1, 3)
            colors = np.empty((len(corners), 4), dtype=np.float32)
            colors[:, :3] = color
            colors[:, 3] = np.repeat(strengths * opacity, 3)
            self.faces = _colored_triangles(corners, colors)
        ends = contour(shown, preview.polygons)
        self.lines: GPUBatch | None = make_lines(ends) if len(ends) else None


def mask_strength(probability: FloatArray, inside: BoolArray) -> FloatArray:
    """How strongly each polygon is tinted, float32 [P] in [0, 1]: a soft border by probability."""
    soft = np.clip((probability - SOFT_FROM) / (1 - SOFT_FROM), 0.0, 1.0)
    strength: FloatArray = np.where(inside, np.maximum(soft, 0.6), np.minimum(soft, 0.3)).astype(np.float32)
    return strength


def tinted_triangles(shown: Shown, strength: FloatArray) -> tuple[IntArray, FloatArray]:
    """Triangles [K, 3] that are tinted, with the strength of each, float32 [K]."""
    polygons = shown.surface.polygons
    values = np.where(polygons >= 0, strength[polygons], 0.0)
    chosen = np.flatnonzero((values > 0.02) & shown.visible)
    return shown.triangles[chosen], values[chosen].astype(np.float32)


def contour(shown: Shown, inside: BoolArray) -> FloatArray:
    """The edges between inside and outside, float32 [K, 2, 3], where they are drawn."""
    surface = shown.surface
    first, second = surface.sides[:, 0], surface.sides[:, 1]
    in_first, in_second = inside[first] & (first >= 0), inside[second] & (second >= 0)
    border = in_first != in_second
    chosen = np.flatnonzero(border)
    ends: FloatArray = surface.positions[surface.edges[chosen]]
    if shown.positions is surface.positions:
        return ends
    return ends + _offsets(shown, np.where(in_first, first, second)[chosen])[:, None]


def _offsets(shown: Shown, polygons: IntArray) -> FloatArray:
    """How far the view moves each of these polygons apart from its place, float32 [K, 3]."""
    surface = shown.surface
    first_corner = np.zeros((int(surface.polygons.max(initial=0)) + 1, 3), dtype=np.float32)
    moved = shown.positions[shown.triangles[:, 0]] - surface.positions[surface.triangles[:, 0]]
    known = surface.polygons >= 0
    first_corner[surface.polygons[known]] = moved[known]
    offsets: FloatArray = first_corner[polygons]
    return offsets


def _colored_triangles(corners: FloatArray, colors: FloatArray) -> GPUBatch:
    layout = gpu.types.GPUVertFormat()
    layout.attr_add(id="pos", comp_type="F32", len=3, fetch_mode="FLOAT")
    layout.attr_add(id="color", comp_type="F32", len=4, fetch_mode="FLOAT")
    buffer = gpu.types.GPUVertBuf(layout, len=len(corners))
    buffer.attr_fill("pos", np.ascontiguousarray(corners, dtype=np.float32))
    buffer.attr_fill("color", colors)
    return gpu.types.GPUBatch(type="TRIS", buf=buffer)


def _draw_disc(center: tuple[float, float], radius: float, color: tuple[float, float, float, float]) -> None:
    radius *= bpy.context.preferences.system.ui_scale
    angles = np.linspace(0.0, 2 * math.pi, DOT_SIDES, endpoint=False)
    rim = np.stack([center[0] + radius * np.cos(angles), center[1] + radius * np.sin(angles)], axis=1)
    fan = [(0, k, k + 1) for k in range(1, DOT_SIDES - 1)]
    _draw_flat("TRIS", [(x, y, 0.0) for x, y in rim.tolist()], color, indices=fan)


def _draw_outline_2d(outline: list[tuple[float, float]]) -> None:
    if len(outline) > 1:
        points = [(x, y, 0.0) for x, y in [*outline, outline[0]]]
        _draw_flat("LINE_STRIP", points, OUTLINE_COLOR)


def _draw_flat(
    kind: str,
    points: list[tuple[float, float, float]],
    color: tuple[float, float, float, float],
    *,
    indices: list[tuple[int, int, int]] | None = None,
) -> None:
    shader = gpu.shader.from_builtin("UNIFORM_COLOR")
    shader.bind()
    shader.uniform_float("color", color)
    batch_for_shader(shader, kind, {"pos": points}, indices=indices).draw(shader)
