# SPDX-License-Identifier: GPL-3.0-or-later
"""The part colours in the 3D viewports."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import bpy
import numpy as np
from bpy.app.handlers import persistent

from ..mesh_exchange.arrays import (
    IntArray,
    corner_vertices,
    read_polygon_integers,
    triangle_corners,
    vertex_positions,
)
from ..parts import PART_ATTRIBUTE, UNASSIGNED, color_table, has_parts
from .drawing import Layer, draw_layers, make_batch, overlay_state, upload_positions

if TYPE_CHECKING:
    from gpu.types import GPUBatch

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PartBatches:
    """What is drawn of one object. batches: by part id; mesh_uid: of its mesh."""

    mesh_uid: int
    batches: dict[int, GPUBatch]


class PartsOverlay:
    """Draws every visible mesh that has parts.

    The triangles are uploaded when a mesh has changed, one index buffer per part over shared positions;
    a colour is a uniform, so recolouring uploads nothing.
    """

    def __init__(self) -> None:
        self._objects: dict[int, PartBatches] = {}
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
        if not settings.show_overlay or not context.space_data.overlay.show_overlays:
            return
        with overlay_state():
            for obj in _shown_objects(context):
                draw_layers(self._layers(context, obj, settings.overlay_opacity), obj.matrix_world)

    def _layers(self, context: bpy.types.Context, obj: bpy.types.Object, opacity: float) -> list[Layer]:
        drawn = self._objects.get(obj.session_uid)
        if drawn is None:
            drawn = _upload(context, obj)
            self._objects[obj.session_uid] = drawn
        colors = color_table(obj.data)
        return [
            Layer(batch, (*colors[part_id].tolist(), opacity))
            for part_id, batch in drawn.batches.items()
            if part_id < len(colors)
        ]


def _shown_objects(context: bpy.types.Context) -> list[bpy.types.Object]:
    """Objects with parts that this viewport shows, local view included.

    In Edit and Sculpt mode what is seen is not the mesh that holds the labels.
    """
    return [
        obj
        for obj in context.view_layer.objects
        if obj.type == "MESH"
        and has_parts(obj.data)
        and obj.mode not in {"EDIT", "SCULPT"}
        and obj.visible_get(viewport=context.space_data)
    ]


def _upload(context: bpy.types.Context, obj: bpy.types.Object) -> PartBatches:
    """Upload the triangles of `obj` as its modifiers show it, by part."""
    shown = obj.evaluated_get(context.evaluated_depsgraph_get()).data
    part_ids = read_polygon_integers(shown, PART_ATTRIBUTE)
    if part_ids is None or not len(part_ids):
        return PartBatches(obj.data.session_uid, {})
    corners, polygons = triangle_corners(shown)
    triangles = corner_vertices(shown)[corners]
    positions = upload_positions(vertex_positions(shown))
    groups = split_by_part(triangles, part_ids[polygons])
    return PartBatches(
        obj.data.session_uid, {part_id: make_batch(positions, group) for part_id, group in groups.items()}
    )


def split_by_part(triangles: IntArray, part_ids: IntArray) -> dict[int, IntArray]:
    """Triangles [T, 3] by part id [T]; faces in no part are left out."""
    order = np.argsort(part_ids, kind="stable")
    present, starts = np.unique(part_ids[order], return_index=True)
    groups = np.split(triangles[order], starts[1:])
    return {
        part_id: group
        for part_id, group in zip(present.tolist(), groups, strict=True)
        if part_id != UNASSIGNED
    }


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
