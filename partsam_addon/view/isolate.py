# SPDX-License-Identifier: GPL-3.0-or-later
"""One part shown alone: drawn by the overlay in Object mode, by hide flags in the other modes."""

from __future__ import annotations

import bpy
import numpy as np

from ..mesh_exchange.arrays import BoolArray, polygon_flags, touched_elements, write_flags
from ..parts import get_part, read_part_ids
from .state import isolated_part, sync_display

__all__ = ["isolate_part", "isolated_part", "show_all_parts", "shown_polygons"]

_USER_HIDDEN = ".partsam_hidden"
"""Face attribute (bool) while a part is isolated: the faces that the user has hidden."""


def isolate_part(obj: bpy.types.Object, part_id: int) -> None:
    """Show only this part. Renders, exports and the shape stay as they are. Not in Edit mode."""
    mesh = obj.data
    get_part(mesh, part_id)
    hidden_by_user = _hidden_by_user(obj)
    write_flags(mesh, _USER_HIDDEN, "FACE", hidden_by_user)
    _write_hidden(mesh, hidden_by_user | (read_part_ids(mesh) != part_id))
    obj.partsam_view.isolated = part_id
    _update(obj)


def show_all_parts(obj: bpy.types.Object) -> None:
    """End the isolation; faces that the user has hidden stay hidden. Not in Edit mode."""
    mesh = obj.data
    if _USER_HIDDEN in mesh.attributes:
        _write_hidden(mesh, _hidden_by_user(obj))
        mesh.attributes.remove(mesh.attributes[_USER_HIDDEN])
    obj.partsam_view.isolated = 0
    _update(obj)


def shown_polygons(obj: bpy.types.Object) -> BoolArray | None:
    """Which polygons the viewport shows, bool [P]; None if no part is shown alone. Not in Edit mode."""
    part_id = isolated_part(obj)
    return None if part_id is None else read_part_ids(obj.data) == part_id


def _hidden_by_user(obj: bpy.types.Object) -> BoolArray:
    """Faces that are hidden by the user's own doing, before the isolation or in the isolated part."""
    mesh = obj.data
    hidden = polygon_flags(mesh, "hide")
    attribute = mesh.attributes.get(_USER_HIDDEN)
    if attribute is None:
        return hidden
    before = np.zeros(len(mesh.polygons), dtype=bool)
    attribute.data.foreach_get("value", before)
    alone = read_part_ids(mesh) == obj.partsam_view.isolated
    return np.where(alone, hidden, before)


def _write_hidden(mesh: bpy.types.Mesh, hidden: BoolArray) -> None:
    """Hide polygons, with the vertices and edges that no visible polygon uses."""
    write_flags(mesh, ".hide_poly", "FACE", hidden)
    for kind, domain in (("vert", "POINT"), ("edge", "EDGE")):
        flags = touched_elements(mesh, hidden, domain) & ~touched_elements(mesh, ~hidden, domain)
        write_flags(mesh, f".hide_{kind}", domain, flags)


def _update(obj: bpy.types.Object) -> None:
    sync_display(obj)
    obj.data.update_tag()
    obj.update_tag()
