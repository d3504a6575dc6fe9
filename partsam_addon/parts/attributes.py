# SPDX-License-Identifier: GPL-3.0-or-later
"""The face attributes that hold what is known of each polygon. None of this works in Edit mode.

A mesh without polygons has them on its vertices, under other names: see `mesh_exchange.elements`.

`partsam_part` (its id is public) is the part; `.partsam_edit` what was done by hand (see `edits`);
`.partsam_tree` the atom of the part tree (see `levels`); `.partsam_origin` the table that the id belongs to.
"""

from __future__ import annotations

import random

import bpy
import numpy as np

from ..constants import PART_ATTRIBUTE
from ..mesh_exchange.arrays import IntArray
from ..mesh_exchange.elements import element_count, read_element_integers, write_element_integers
from .palette import UNASSIGNED

EDIT_ATTRIBUTE = ".partsam_edit"
TREE_ATTRIBUTE = ".partsam_tree"
ORIGIN_ATTRIBUTE = ".partsam_origin"

NO_ATOM = 0
"""Atom of faces that no level decides on."""


def read_part_ids(mesh: bpy.types.Mesh) -> IntArray:
    """Part id of each polygon, int32 [P]; 0 where it is in no part."""
    return np.maximum(_read(mesh, PART_ATTRIBUTE), UNASSIGNED)


def read_edits(mesh: bpy.types.Mesh) -> IntArray:
    """`edits.FOLLOWS`, `FIXED` or `ABSORBED` for each polygon, int32 [P]."""
    return _read(mesh, EDIT_ATTRIBUTE)


def read_atoms(mesh: bpy.types.Mesh) -> IntArray:
    """The atom of each polygon, int32 [P]; NO_ATOM where no level decides."""
    return _read(mesh, TREE_ATTRIBUTE)


def read_foreign(mesh: bpy.types.Mesh) -> IntArray:
    """The origin of polygons that came from a mesh with another table, int32 [P]; 0 for all others."""
    origins = read_origins(mesh)
    return np.where(origins != mesh.partsam.origin, origins, 0)


def read_origins(mesh: bpy.types.Mesh) -> IntArray:
    """The number of the table that each polygon's part is from, int32 [P]; 0 for those never in a part."""
    return _read(mesh, ORIGIN_ATTRIBUTE)


def mark_origin(mesh: bpy.types.Mesh) -> None:
    """Have every face carry the number of this mesh's table, which no other mesh of the file has."""
    table = mesh.partsam
    if table.origin == 0 or shares_origin(mesh):
        table.origin = random.SystemRandom().randrange(1, 2**31)
    if (_read(mesh, ORIGIN_ATTRIBUTE) != table.origin).any():
        write_element_integers(
            mesh, ORIGIN_ATTRIBUTE, np.full(element_count(mesh), table.origin, dtype=np.int32)
        )


def shares_origin(mesh: bpy.types.Mesh) -> bool:
    """Whether another mesh of the file has the number of this mesh's table."""
    return any(other.partsam.origin == mesh.partsam.origin for other in bpy.data.meshes if other != mesh)


def _read(mesh: bpy.types.Mesh, name: str) -> IntArray:
    values = read_element_integers(mesh, name)
    return np.zeros(element_count(mesh), dtype=np.int32) if values is None else values
