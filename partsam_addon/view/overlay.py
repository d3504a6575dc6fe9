# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts in the 3D viewports: their colours over the mesh, the active one outlined, views drawn apart."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import bpy
import numpy as np
from bpy.app.handlers import persistent
from mathutils import Matrix, Vector

from ..mesh_exchange.arrays import FloatArray, IntArray
from ..mesh_exchange.modes import is_modal
from ..parts import UNASSIGNED, UNASSIGNED_COLOR, active_part, color_table, has_parts
from .drawing import (
    Color,
    Layer,
    draw_layers,
    draw_outline,
    draw_points,
    draw_solid,
    eye_of_view,
    make_batch,
    make_lines,
    overlay_state,
    solid_state,
    upload_positions,
)
from .exploded import group_offset, unit_offsets
from .state import hidden_parts, is_drawn_by_overlay, isolated_part
from .surface import Silhouette, Surface, part_edges, read_surface

if TYPE_CHECKING:
    from gpu.types import GPUBatch

logger = logging.getLogger(__name__)

CLAY = np.array((0.8, 0.8, 0.8))
"""Colour of a surface that is drawn in place of Blender's, where the overlay is transparent."""


DIMMED = 0.35
"""How opaque parts are beside what is being clicked."""


@dataclass
class DrawnObject:
    """What is drawn of one object.

    mesh_uid: of its mesh; surface: None where there is none; batches: by part id
    unit_offsets: see explode, read when first needed
    outlines: by part id, the same; silhouettes: of those parts that have no outline
    """

    mesh_uid: int
    surface: Surface | None
    batches: dict[int, GPUBatch] = field(default_factory=dict)
    unit_offsets: FloatArray | None = None
    outlines: dict[int, GPUBatch | None] = field(default_factory=dict)
    silhouettes: dict[int, Silhouette] = field(default_factory=dict)

    @property
    def is_cloud(self) -> bool:
        """Whether points are drawn."""
        return self.surface is not None and self.surface.triangles.shape[1] == 1

    def outline(self, part_id: int, matrix: Matrix) -> GPUBatch | None:
        """The edges around a part, of a closed piece its outline as it is seen now; None if there are none.

        matrix: from its space to the world
        """
        if self.surface is None:
            return None
        if part_id not in self.outlines:
            edges = part_edges(self.surface, part_id)
            border = edges.border()
            self.outlines[part_id] = make_lines(border) if len(border) else None
            if not len(border):
                self.silhouettes[part_id] = edges.silhouette()
        if part_id not in self.silhouettes:
            return self.outlines[part_id]
        seen = self.silhouettes[part_id].seen_from(eye_of_view(matrix))
        return make_lines(seen) if len(seen) else None


PAINT_MODES = {"WEIGHT_PAINT", "VERTEX_PAINT", "TEXTURE_PAINT"}
"""Where the surface shows what is being painted: there parts are outlined only."""


class PartsOverlay:
    """Draws every visible mesh that has parts.

    The triangles are uploaded when a mesh has changed, one index buffer per part over shared positions;
    a colour and an offset are uniforms, so recolouring and exploding upload nothing.
    """

    def __init__(self) -> None:
        self._objects: dict[int, DrawnObject] = {}
        self._handle: object | None = None

    def show(self) -> None:
        """Start drawing."""
        if self._handle is None:
            self._handle = bpy.types.SpaceView3D.draw_handler_add(self._draw, (), "WINDOW", "POST_VIEW")

    def hide(self) -> None:
        """Stop drawing and free what was uploaded."""
        if self._handle is not None:
            bpy.types.SpaceView3D.draw_handler_remove(self._handle, "WINDOW")
            self._handle = None
        self.forget_all()

    def forget(self, uid: int) -> None:
        """The object or mesh with this session_uid has changed."""
        self._objects.pop(uid, None)
        stale = [key for key, drawn in self._objects.items() if drawn.mesh_uid == uid]
        for key in stale:
            del self._objects[key]

    def forget_all(self) -> None:
        """Everything may have changed."""
        self._objects.clear()

    def _draw(self) -> None:
        context = bpy.context
        settings = context.window_manager.partsam
        tinted = settings.show_overlay and context.space_data.overlay.show_overlays
        opacity = settings.overlay_opacity if tinted else 0.0
        if context.window_manager.partsam_clicks.is_running:
            opacity *= DIMMED
        for obj in _shown_objects(context):
            in_place = is_drawn_by_overlay(obj)
            drawn = self._drawn(context, obj) if in_place or tinted else None
            if drawn is None:
                continue
            if in_place:
                _draw_apart(obj, drawn, opacity)
            elif obj.mode not in PAINT_MODES:
                with overlay_state():
                    if drawn.is_cloud:
                        # Below points no surface shines through; in Edit mode, what is selected does.
                        opaque = opacity if obj.data.is_editmode else 1.0
                        draw_points(_layers(obj, drawn, opaque), obj.matrix_world)
                    else:
                        draw_layers(_layers(obj, drawn, opacity), obj.matrix_world)
            if tinted and obj == context.object:
                _outline_chosen(context, obj, drawn)

    def _drawn(self, context: bpy.types.Context, obj: bpy.types.Object) -> DrawnObject | None:
        """What was uploaded of `obj`, or is now; None while its edit mesh is being changed, so that its data
        could move as its faces are read.
        """
        drawn = self._objects.get(obj.session_uid)
        if drawn is None and not (obj.data.is_editmode and is_modal()):
            drawn = _upload(context, obj)
            self._objects[obj.session_uid] = drawn
        return drawn


def _shown_objects(context: bpy.types.Context) -> list[bpy.types.Object]:
    """Objects with parts that this viewport shows, local view included."""
    return [
        obj
        for obj in context.view_layer.objects
        if obj.type == "MESH" and has_parts(obj.data) and obj.visible_get(viewport=context.space_data)
    ]


def _layers(obj: bpy.types.Object, drawn: DrawnObject, opacity: float) -> list[Layer]:
    """The parts, translucent."""
    colors = color_table(obj.data)
    return [
        Layer(batch, (*colors[part_id].tolist(), opacity))
        for part_id, batch in drawn.batches.items()
        if UNASSIGNED != part_id < len(colors)
    ]


def _draw_apart(obj: bpy.types.Object, drawn: DrawnObject, opacity: float) -> None:
    """Draw the surface in place of Blender: moved apart, or one part alone."""
    alone, hidden, colors = isolated_part(obj), hidden_parts(obj), color_table(obj.data)
    with solid_state():
        for part_id, batch in drawn.batches.items():
            if alone in (None, part_id) and part_id not in hidden:
                color = colors[part_id] if part_id < len(colors) else np.array(UNASSIGNED_COLOR)
                layer, matrix = Layer(batch, _mixed(color, opacity)), part_matrix(obj, drawn, part_id)
                if drawn.is_cloud:
                    draw_points([layer], matrix)
                else:
                    draw_solid(layer, matrix)


def part_matrix(obj: bpy.types.Object, drawn: DrawnObject, part_id: int) -> Matrix:
    """Where a part is drawn: the object's world matrix, moved by its offset in the exploded view."""
    factor = obj.partsam_view.factor
    if factor <= 0 or not is_drawn_by_overlay(obj):
        return obj.matrix_world
    moved = group_offset(obj)
    if moved is None:
        if drawn.unit_offsets is None:
            drawn.unit_offsets = unit_offsets(obj.data)
        known = part_id < len(drawn.unit_offsets)
        moved = Vector(drawn.unit_offsets[part_id] * factor) if known else Vector()
    return obj.matrix_world @ Matrix.Translation(moved)


def _outline_chosen(context: bpy.types.Context, obj: bpy.types.Object, drawn: DrawnObject) -> None:
    """Outline the active part and those that are checked in the list."""
    active, alone, hidden = active_part(obj.data), isolated_part(obj), hidden_parts(obj)
    chosen = {part.part_id for part in obj.data.partsam.parts if part.checked or part == active}
    for part_id in sorted(chosen - hidden):
        if alone not in (None, part_id):
            continue
        matrix = part_matrix(obj, drawn, part_id)
        lines = drawn.outline(part_id, matrix)
        if lines is not None:
            draw_outline(lines, matrix, (context.region.width, context.region.height))


def _mixed(color: FloatArray, opacity: float) -> Color:
    red, green, blue = ((1 - opacity) * CLAY + opacity * color).tolist()
    return red, green, blue, 1.0


def _upload(context: bpy.types.Context, obj: bpy.types.Object) -> DrawnObject:
    """Upload the triangles of `obj` as the viewport shows it, by part."""
    surface = read_surface(context, obj)
    if surface is None or not len(surface.triangles):
        return DrawnObject(obj.data.session_uid, None)
    positions = upload_positions(surface.positions)
    groups = split_by_part(surface.triangles, surface.part_ids)
    batches = {part_id: make_batch(positions, group) for part_id, group in groups.items()}
    return DrawnObject(obj.data.session_uid, surface, batches)


def split_by_part(triangles: IntArray, part_ids: IntArray) -> dict[int, IntArray]:
    """Triangles [T, 3] by part id [T]."""
    order = np.argsort(part_ids, kind="stable")
    present, starts = np.unique(part_ids[order], return_index=True)
    groups = np.split(triangles[order], starts[1:])
    return dict(zip(present.tolist(), groups, strict=True))


_overlay = PartsOverlay()


@persistent
def _after_update(_scene: bpy.types.Scene, depsgraph: bpy.types.Depsgraph) -> None:
    for update in depsgraph.updates:
        if update.is_updated_geometry:
            _overlay.forget(update.id.original.session_uid)


@persistent
def _after_replacement(*_arguments: object) -> None:
    """Undo, redo and file loading replace the data without naming what has changed."""
    _overlay.forget_all()


def _handlers() -> list[tuple[list, object]]:
    return [
        (bpy.app.handlers.depsgraph_update_post, _after_update),
        (bpy.app.handlers.undo_post, _after_replacement),
        (bpy.app.handlers.redo_post, _after_replacement),
        (bpy.app.handlers.load_post, _after_replacement),
        (bpy.app.handlers.frame_change_post, _after_update),
    ]


def register() -> None:
    """Draw in every 3D viewport, where there are any."""
    if bpy.app.background:
        return
    for handlers, function in _handlers():
        handlers.append(function)
    _overlay.show()


def unregister() -> None:
    _overlay.hide()
    for handlers, function in _handlers():
        if function in handlers:
            handlers.remove(function)
