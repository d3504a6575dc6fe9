# SPDX-License-Identifier: GPL-3.0-or-later
"""Meshes whose table of parts and faces are in step, so that each operator's look at them costs little.

Nothing tells that a script or another add-on has written into a mesh; checksums of what was seen last do,
in a fraction of the time of counting again.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict

import bpy

from ..mesh_exchange.arrays import corner_vertices, vertex_positions
from .attributes import read_origins
from .table import Faces, active_part

MAX_MESHES = 64
"""Meshes that are remembered, those seen last."""

_seen: OrderedDict[int, tuple] = OrderedDict()
"""What each mesh (session_uid) was like when its table and faces were in step."""


def is_settled(mesh: bpy.types.Mesh, faces: Faces) -> bool:
    """Whether table, faces and shape are as they were when `settle` was called. Not in Edit mode."""
    seen = _seen.get(mesh.session_uid)
    return seen is not None and seen[0] == _counted(mesh) and seen == _state(mesh, faces)


def settle(mesh: bpy.types.Mesh, faces: Faces) -> None:
    """Remember that table and faces are in step now."""
    _seen[mesh.session_uid] = _state(mesh, faces)
    _seen.move_to_end(mesh.session_uid)
    while len(_seen) > MAX_MESHES:
        _seen.popitem(last=False)


def _state(mesh: bpy.types.Mesh, faces: Faces) -> tuple:
    arrays = (
        *(faces.part_ids, faces.edits, faces.atoms, read_origins(mesh)),
        *(vertex_positions(mesh), corner_vertices(mesh)),
    )
    return (_counted(mesh), *((len(array), zlib.crc32(array.data)) for array in arrays))


def _counted(mesh: bpy.types.Mesh) -> tuple:
    """What the table says of the faces; names and colors are no matter of theirs."""
    table = mesh.partsam
    return (
        (table.origin, table.face_count, table.area, active_part(mesh) is not None),
        tuple((part.part_id, part.face_count, part.area, part.by_hand, part.level) for part in table.parts),
        tuple((level.number, level.first_atom, level.face_count) for level in table.levels),
    )
