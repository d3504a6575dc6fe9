# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings the table of parts and the faces together after anything else has changed the mesh.

Deleting, subdividing, remeshing, joining and booleans know nothing of the table. Each face carries the
number of the table that its part belongs to, so faces that came from another mesh are told apart.
"""

from __future__ import annotations

import bpy
import numpy as np

from ..constants import PART_ATTRIBUTE
from ..mesh_exchange.arrays import IntArray, read_polygon_integers, write_polygon_integers
from .attributes import TREE_ATTRIBUTE, read_foreign, read_part_ids
from .memory import MEMORY_ATTRIBUTE
from .palette import UNASSIGNED
from .schema import PARTSAM_PG_part
from .snapshots import get_snapshots
from .table import adopt_description, free_ids, read_faces, sync_table, write_part_ids


def bring_together(mesh: bpy.types.Mesh) -> None:
    """Make table and faces agree. At the entry of everything that reads or changes parts. Not in Edit mode.

    Parts of faces that were joined from another mesh keep their names and get new numbers where theirs are
    taken; the slider leaves them alone.
    """
    if PART_ATTRIBUTE not in mesh.attributes and not len(mesh.partsam.parts):
        return
    part_ids, foreign = read_part_ids(mesh), read_foreign(mesh)
    if foreign.any():
        _adopt(mesh, part_ids, foreign)
    else:
        sync_table(mesh, part_ids)
    get_snapshots().keep(mesh, read_faces(mesh, read_part_ids(mesh)))


def _adopt(mesh: bpy.types.Mesh, part_ids: IntArray, foreign: IntArray) -> None:
    """Take in the parts of faces whose table, in `foreign` [P], is another one (0: this one)."""
    own = np.unique(part_ids[foreign == 0]).tolist()
    taken = {UNASSIGNED, *own}
    result = part_ids.copy()
    descriptions: dict[int, PARTSAM_PG_part] = {}
    for origin in np.unique(foreign[foreign != 0]).tolist():
        described = _descriptions(mesh, origin)
        here = foreign == origin
        for part_id in np.unique(part_ids[here]).tolist():
            if part_id == UNASSIGNED:
                continue
            new_id = part_id if part_id not in taken else free_ids(taken, 1)[0]
            taken.add(new_id)
            result[here & (part_ids == part_id)] = new_id
            if part_id in described:
                descriptions[new_id] = described[part_id]
    # What these say of foreign faces is about the other mesh's levels and former parts.
    for name in (TREE_ATTRIBUTE, MEMORY_ATTRIBUTE):
        values = read_polygon_integers(mesh, name)
        if values is not None:
            write_polygon_integers(mesh, name, np.where(foreign != 0, 0, values))
    for new_id, part in descriptions.items():
        if new_id not in own:
            adopt_description(mesh, new_id, part)
    write_part_ids(mesh, result)


def _descriptions(mesh: bpy.types.Mesh, origin: int) -> dict[int, PARTSAM_PG_part]:
    """The parts of the table with the number `origin`, if the mesh that has it is still in the file."""
    for other in bpy.data.meshes:
        if other != mesh and other.partsam.origin == origin:
            return {part.part_id: part for part in other.partsam.parts}
    return {}
