# SPDX-License-Identifier: GPL-3.0-or-later
"""What the click tool draws into the viewports: the part so far, the part under the mouse, the dots; and
what else it sets up around itself, and takes away again on every way out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import bpy
import gpu
import numpy as np
from gpu_extras.batch import batch_for_shader
from mathutils import Matrix

from ...backend.errors import PartSAMError
from ..mesh_exchange.arrays import BoolArray, FloatArray, IntArray
from ..view import sync_display
from ..view.drawing import (
    COVERED_SHARE,
    Layer,
    draw_layers,
    draw_outline,
    make_batch,
    make_lines,
    overlay_state,
    upload_positions,
)
from .cursor import CursorText, cursor_lines
from .masks import Preview
from .picker import Picker, Shown
from .prompts import Click
from .screen import Projection
from .work import ClickWork

if TYPE_CHECKING:
    from gpu.types import GPUBatch, GPUVertBuf


TIMER_SECONDS = 0.02
"""Between two looks of the tool at what has come."""


@dataclass(frozen=True)
class Look:
    """How a mask is tinted: sRGB colour, and opacity in its middle."""

    color: tuple[float, float, float]
    opacity: float


MASK_LOOK = Look((0.1, 0.85, 1.0), 0.7)
"""The colour is reserved for what is being clicked; existing parts are dimmed meanwhile."""
HOVER_LOOK = Look(MASK_LOOK.color, 0.22)
TAKEN_LOOK = Look((1.0, 0.3, 0.2), 0.7)
"""Of what is taken out of a part."""
SOFT_FROM = 0.25
"""Probability from which a polygon outside of the mask is tinted a little."""
SHADES = 12
"""Steps of the soft border: all triangles of one are drawn at once."""

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
        self._drawn: list[_DrawnMask] = []
        self._positions: GPUVertBuf | None = None
        self.outline: tuple[object, list[tuple[float, float]]] | None = None
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
        self._drawn, self._positions = [], None

    def _draw_masks(self) -> None:
        try:
            obj, shown = self._picker.object(), self._picker.drawn
        except PartSAMError:
            return
        if shown is None:
            return
        if self._drawn_version != self._picker.version:
            self._drawn_version = self._picker.version
            self._drawn, self._positions = [], None
        through = bpy.context.window_manager.partsam_clicks.through
        for mask, look in self._masks(shown):
            mask.show(look, obj.matrix_world, through=through)

    def _masks(self, shown: Shown) -> list[tuple[_DrawnMask, Look]]:
        """What is to be drawn now."""
        work = self._work
        looks = [(preview, MASK_LOOK) for preview in work.waiting]
        if work.part.previews:
            taken = work.part.target is not None and work.part.target.action == "TAKE"
            looks += [(preview, TAKEN_LOOK if taken else MASK_LOOK) for preview in work.part.previews]
        elif work.part.hover is not None:
            looks.append((work.part.hover, HOVER_LOOK))
        masks = [(self._mask(preview, shown), look) for preview, look in looks]
        self._drawn = [mask for mask, _ in masks]
        return masks

    def _mask(self, preview: Preview, shown: Shown) -> _DrawnMask:
        drawn = next((mask for mask in self._drawn if mask.preview is preview), None)
        if drawn is not None:
            return drawn
        if self._positions is None:
            self._positions = upload_positions(shown.positions)
        return _DrawnMask(preview, shown, self._positions)

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
            for click in self._work.part.clicks:
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


class _DrawnMask:
    """A mask on the graphics processor."""

    def __init__(self, preview: Preview, shown: Shown, positions: GPUVertBuf) -> None:
        """positions: those of `shown`"""
        self.preview = preview
        strength = mask_strength(preview.probability, preview.polygons)
        self._shades = [
            (make_batch(positions, triangles), share)
            for triangles, share in shaded_triangles(shown, strength)
        ]
        ends = contour(shown, preview.polygons)
        self._lines: GPUBatch | None = make_lines(ends) if len(ends) else None

    def show(self, look: Look, matrix: Matrix, *, through: bool) -> None:
        """Draw it; `matrix` leads from object space to the world.

        through: also what other surfaces cover, faintly
        """
        region = bpy.context.region
        for covered in (True, False) if through else (False,):
            opacity = look.opacity * (COVERED_SHARE if covered else 1.0)
            layers = [Layer(batch, (*look.color, opacity * share)) for batch, share in self._shades]
            with overlay_state(covered=covered):
                draw_layers(layers, matrix)
            if self._lines is not None:
                draw_outline(self._lines, matrix, (region.width, region.height), covered=covered)


def mask_strength(probability: FloatArray, inside: BoolArray) -> FloatArray:
    """How strongly each polygon is tinted, float32 [P] in [0, 1]: a soft border by probability."""
    soft = np.clip((probability - SOFT_FROM) / (1 - SOFT_FROM), 0.0, 1.0)
    strength: FloatArray = np.where(inside, np.maximum(soft, 0.6), np.minimum(soft, 0.3)).astype(np.float32)
    return strength


def shaded_triangles(shown: Shown, strength: FloatArray) -> list[tuple[IntArray, float]]:
    """Triangles [K, 3] that are tinted alike, with their strength in (0, 1]. strength: float32 [P]"""
    shades = np.rint(strength * SHADES).astype(np.uint8)
    polygons = shown.surface.polygons
    of_triangle = shades[polygons]  # -1, made by a modifier, takes the last polygon's
    of_triangle[(polygons < 0) | ~shown.visible] = 0
    tinted = np.flatnonzero(of_triangle)
    of_triangle = of_triangle[tinted]
    return [
        (shown.triangles[tinted[of_triangle == shade]], shade / SHADES)
        for shade in np.flatnonzero(np.bincount(of_triangle, minlength=SHADES + 1)).tolist()
    ]


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


class Surroundings:
    """The preview, the text at the mouse, a timer that wakes the tool, and the texts in the status bar.

    Disabling the add-on removes a running modal operator without a word to it; therefore all of this is
    kept apart from the operator and removed by whoever ends the work.
    """

    def __init__(
        self,
        context: bpy.types.Context,
        work: ClickWork,
        picker: Picker,
        *,
        draw_status: Callable[[bpy.types.Header, bpy.types.Context], None],
    ) -> None:
        self.preview = ClickPreview(work, picker)
        self._cursor = CursorText(partial(cursor_lines, work))
        self._picker, self._work = picker, work
        self._timer = context.window_manager.event_timer_add(TIMER_SECONDS, window=context.window)
        context.workspace.status_text_set(draw_status)
        context.window_manager.partsam_clicks.is_running = True
        bpy.app.handlers.depsgraph_update_post.append(self._scene_changed)
        bpy.app.handlers.undo_post.append(self._undone)
        bpy.app.handlers.redo_post.append(self._undone)
        bpy.app.handlers.frame_change_post.append(self._scene_changed)

    def remove(self) -> None:
        """Take everything away."""
        self.preview.remove()
        self._cursor.remove()
        handlers = bpy.app.handlers
        for functions, function in (
            (handlers.depsgraph_update_post, self._scene_changed),
            (handlers.undo_post, self._undone),
            (handlers.redo_post, self._undone),
            (handlers.frame_change_post, self._scene_changed),
        ):
            if function in functions:
                functions.remove(function)
        manager = bpy.context.window_manager
        manager.event_timer_remove(self._timer)
        manager.partsam_clicks.is_running, manager.partsam_clicks.hidden = False, ""
        for obj in bpy.data.objects:
            sync_display(obj)
        for window in manager.windows:
            window.workspace.status_text_set(None)

    def _scene_changed(self, *_arguments: object) -> None:
        self._picker.is_stale = True

    def _undone(self, *_arguments: object) -> None:
        self._picker.is_stale = True
        with suppress(PartSAMError):  # the mesh is gone: the tool ends with its next look
            self._work.follow_undo()
