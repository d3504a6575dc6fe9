# SPDX-License-Identifier: GPL-3.0-or-later
"""Selecting the faces of a part, and showing one part alone."""

from __future__ import annotations

import bpy
import numpy as np

from ..mesh_exchange.arrays import (
    BoolArray,
    corner_edges,
    corner_polygons,
    corner_vertices,
    polygon_flags,
    write_flags,
)
from ..view.node_groups import ISOLATION, get_input, isolation_group, set_input
from .table import get_part, read_part_ids


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
    write_flags(mesh, ".select_vert", "POINT", _touched(mesh, faces, "POINT"))
    write_flags(mesh, ".select_edge", "EDGE", _touched(mesh, faces, "EDGE"))
    mesh.update_tag()


def isolate_part(obj: bpy.types.Object, part_id: int) -> None:
    """Show only this part: a modifier hides the others in Object mode, hide flags in Edit mode.

    The flags also work in Sculpt mode. Renders are not changed. Not in Edit mode.
    """
    mesh = obj.data
    get_part(mesh, part_id)
    hidden = read_part_ids(mesh) != part_id
    _write_hidden(mesh, hidden)
    modifier = obj.modifiers.get(ISOLATION) or obj.modifiers.new(ISOLATION, "NODES")
    modifier.node_group = isolation_group()
    modifier.show_render = False
    modifier.show_expanded = False
    set_input(modifier, "Part", part_id)
    mesh.update_tag()
    obj.update_tag()


def show_all_parts(obj: bpy.types.Object) -> None:
    """End the isolation and unhide every face. Not in Edit mode."""
    modifier = obj.modifiers.get(ISOLATION)
    if modifier is not None:
        obj.modifiers.remove(modifier)
    _write_hidden(obj.data, np.zeros(len(obj.data.polygons), dtype=bool))
    obj.data.update_tag()


def isolated_part(obj: bpy.types.Object) -> int | None:
    """Id of the part that is shown alone, if one is."""
    modifier = obj.modifiers.get(ISOLATION)
    if modifier is None or modifier.node_group is None:
        return None
    return int(get_input(modifier, "Part"))


def _write_hidden(mesh: bpy.types.Mesh, hidden: BoolArray) -> None:
    """Hide polygons, with the vertices and edges that no visible polygon uses."""
    shown = ~hidden
    write_flags(mesh, ".hide_poly", "FACE", hidden)
    for kind, domain in (("vert", "POINT"), ("edge", "EDGE")):
        write_flags(
            mesh, f".hide_{kind}", domain, _touched(mesh, hidden, domain) & ~_touched(mesh, shown, domain)
        )


def _touched(mesh: bpy.types.Mesh, polygons: BoolArray, domain: str) -> BoolArray:
    """The vertices (POINT) or edges (EDGE) of the polygons in a mask [P]."""
    elements = corner_vertices(mesh) if domain == "POINT" else corner_edges(mesh)
    touched = np.zeros(len(mesh.vertices) if domain == "POINT" else len(mesh.edges), dtype=bool)
    touched[elements[polygons[corner_polygons(mesh)]]] = True
    return touched
