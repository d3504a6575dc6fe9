# SPDX-License-Identifier: GPL-3.0-or-later
"""Selecting the faces of a part."""

from __future__ import annotations

import bpy

from ..mesh_exchange.arrays import BoolArray, polygon_flags, touched_elements, write_flags
from .attributes import read_part_ids
from .table import get_part


def select_part(mesh: bpy.types.Mesh, part_id: int, *, extend: bool = False) -> int:
    """Select the faces of a part that are not hidden; returns how many. Not in Edit mode."""
    get_part(mesh, part_id)
    chosen = (read_part_ids(mesh) == part_id) & ~polygon_flags(mesh, "hide")
    selected = chosen | polygon_flags(mesh, "select") if extend else chosen
    select_faces(mesh, selected)
    return int(chosen.sum())


def select_faces(mesh: bpy.types.Mesh, faces: BoolArray) -> None:
    """Select exactly these polygons [P] with their edges and vertices. Not in Edit mode."""
    write_flags(mesh, ".select_poly", "FACE", faces)
    write_flags(mesh, ".select_vert", "POINT", touched_elements(mesh, faces, "POINT"))
    write_flags(mesh, ".select_edge", "EDGE", touched_elements(mesh, faces, "EDGE"))
    mesh.update_tag()
