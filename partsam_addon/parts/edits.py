# SPDX-License-Identifier: GPL-3.0-or-later
"""What was done by hand, as a layer over the cut: a face attribute that no cut and no network overrules.

Being a face attribute it follows undo in every mode, saving, and whatever else becomes of the mesh.
"""

from __future__ import annotations

import bpy

from ..mesh_exchange.arrays import BoolArray
from ..mesh_exchange.elements import has_element_integers, remove_integers, write_element_integers
from .attributes import EDIT_ATTRIBUTE, read_edits

FOLLOWS = 0
"""The cut decides on the face's part."""

FIXED = 1
"""The face belongs to a part that was made by hand, and stays in it."""

ABSORBED = 2
"""The face's part was deleted by hand: whatever part is around takes it, at every cut."""


def mark_edits(mesh: bpy.types.Mesh, faces: BoolArray, value: int) -> None:
    """Note what was done by hand to the polygons in a mask [P]. Not in Edit mode."""
    edits = read_edits(mesh)
    if (edits[faces] == value).all():
        return
    edits[faces] = value
    if edits.any():
        write_element_integers(mesh, EDIT_ATTRIBUTE, edits)
    else:
        remove_integers(mesh, EDIT_ATTRIBUTE)


def has_edits(mesh: bpy.types.Mesh) -> bool:
    """Whether anything was done by hand. Works in every mode."""
    return has_element_integers(mesh, EDIT_ATTRIBUTE)
