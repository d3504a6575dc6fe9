# SPDX-License-Identifier: GPL-3.0-or-later
"""One part shown alone: drawn by the overlay in Object mode, by hide flags in the other modes."""

from __future__ import annotations

import bpy
import numpy as np
from bpy.app.handlers import persistent

from ..mesh_exchange.arrays import BoolArray, IntArray
from ..mesh_exchange.elements import (
    element_count,
    element_flags,
    forget_integers,
    has_element_integers,
    has_integers,
    read_element_integers,
    write_element_flags,
    write_element_integers,
)
from ..parts import read_part_ids, set_active_part
from .state import is_in_object_mode, isolated_part, sync_display

__all__ = ["isolate_part", "isolated_part", "show_all_parts", "shown_polygons"]

_STATE = ".partsam_hidden"
"""Face attribute (int) while a part is isolated: _BY_USER for faces that the user had hidden before, plus
_ALONE for those of the part, whose hide flags are the user's own."""

_BY_USER, _ALONE = 1, 2


def isolate_part(obj: bpy.types.Object, part_id: int) -> None:
    """Show only this part. Renders, exports and the shape stay as they are. Not in Edit mode."""
    set_active_part(obj.data, part_id)
    _show_alone(obj, read_part_ids(obj.data) == part_id)
    obj.partsam_view.isolated = part_id
    obj.data.partsam.is_followed = True
    _update(obj)


def show_all_parts(obj: bpy.types.Object) -> None:
    """End the isolation; faces that the user has hidden stay hidden. Not in Edit mode."""
    mesh = obj.data
    if has_integers(mesh, _STATE):
        write_element_flags(mesh, "hide", _hidden_by_user(mesh))
        forget_integers(mesh, _STATE)
    obj.partsam_view.isolated = 0
    mesh.partsam.is_followed = any(
        other.data == mesh and other.partsam_view.isolated for other in bpy.data.objects
    )
    _update(obj)


def shown_polygons(obj: bpy.types.Object) -> BoolArray | None:
    """Which polygons the viewport shows, bool [P]; None if no part is shown alone. Not in Edit mode."""
    part_id = isolated_part(obj)
    return None if part_id is None else read_part_ids(obj.data) == part_id


@persistent
def _follow_labels(_scene: bpy.types.Scene, depsgraph: bpy.types.Depsgraph) -> None:
    """After labels or the row have changed: hide what is not of the part, or end the isolation with it."""
    for update in depsgraph.updates:
        if update.is_updated_geometry and isinstance(update.id, bpy.types.Object):
            obj = update.id.original
            if is_in_object_mode(obj) and obj.partsam_view.isolated and obj.is_editable:
                _refresh(obj)


def _refresh(obj: bpy.types.Object) -> None:
    part_id = isolated_part(obj)
    if part_id is None:
        show_all_parts(obj)
        return
    obj.partsam_view.isolated = part_id
    alone = read_part_ids(obj.data) == part_id
    if ((_read_state(obj.data) & _ALONE != 0) != alone).any():
        _show_alone(obj, alone)


def register() -> None:
    """Let isolations follow the labels and the row of the list."""
    bpy.app.handlers.depsgraph_update_post.append(_follow_labels)


def unregister() -> None:
    """Stop following."""
    bpy.app.handlers.depsgraph_update_post.remove(_follow_labels)


def _show_alone(obj: bpy.types.Object, alone: BoolArray) -> None:
    """Show only these polygons [P], except those that the user hides."""
    hidden = _hidden_by_user(obj.data)
    write_element_integers(obj.data, _STATE, hidden * _BY_USER + alone * _ALONE)
    write_element_flags(obj.data, "hide", hidden | ~alone)


def _hidden_by_user(mesh: bpy.types.Mesh) -> BoolArray:
    """Polygons [P] that are hidden by the user's own doing, before the isolation or in the isolated part."""
    state, hidden = _read_state(mesh), element_flags(mesh, "hide")
    if not has_element_integers(mesh, _STATE):
        return hidden
    return np.where(state & _ALONE != 0, hidden, state & _BY_USER != 0)


def _read_state(mesh: bpy.types.Mesh) -> IntArray:
    state = read_element_integers(mesh, _STATE)
    return np.zeros(element_count(mesh), dtype=np.int32) if state is None else state


def _update(obj: bpy.types.Object) -> None:
    sync_display(obj)
    obj.data.update_tag()
    obj.update_tag()
