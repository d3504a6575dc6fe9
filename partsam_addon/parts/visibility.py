# SPDX-License-Identifier: GPL-3.0-or-later
"""Selecting the faces of a part."""

from __future__ import annotations

import bpy

from ..mesh_exchange.elements import element_flags, write_element_flags
from .attributes import read_part_ids
from .table import get_part


def select_part(mesh: bpy.types.Mesh, part_id: int, *, extend: bool = False) -> int:
    """Select the faces of a part that are not hidden; returns how many. Not in Edit mode."""
    get_part(mesh, part_id)
    chosen = (read_part_ids(mesh) == part_id) & ~element_flags(mesh, "hide")
    selected = chosen | element_flags(mesh, "select") if extend else chosen
    write_element_flags(mesh, "select", selected)
    mesh.update_tag()
    return int(chosen.sum())
