# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts as face sets and colours; their borders as seams, sharp edges and creases."""

from __future__ import annotations

import bpy
import numpy as np

from ..mesh_exchange.arrays import (
    BoolArray,
    IntArray,
    corner_edges,
    corner_polygons,
    edge_vertices,
    read_polygon_integers,
    vertex_positions,
    write_flags,
    write_polygon_integers,
)
from ..mesh_exchange.elements import is_cloud
from ..mesh_exchange.surface_colors import OWN_COLOR_ATTRIBUTE, srgb_to_linear
from ..parts import color_table, read_part_ids
from ..parts.polygon_graph import edge_places, weld
from .ownership import digest, read_made, write_made

DEFAULT_FACE_SET = 1
"""The face set that Sculpt mode shows without a colour."""


_FACE_SETS = ".sculpt_face_set"


def write_face_sets(mesh: bpy.types.Mesh) -> None:
    """A face set per part; faces in no part get Sculpt mode's default one."""
    sets = (read_part_ids(mesh) + DEFAULT_FACE_SET).astype(np.int32)
    write_polygon_integers(mesh, _FACE_SETS, sets)
    write_made(mesh, "face_sets", digest(sets))


def has_foreign_face_sets(mesh: bpy.types.Mesh) -> bool:
    """Whether the mesh has face sets that are not what we wrote last."""
    sets = read_polygon_integers(mesh, _FACE_SETS)
    if sets is None or not len(sets) or (sets == sets[0]).all():
        return False
    return read_made(mesh, "face_sets") != digest(sets)


def border_edges(mesh: bpy.types.Mesh, part_ids: IntArray) -> BoolArray:
    """Edges between faces of different parts, bool [E]; exact at non-manifold edges as well.

    Edges at the same place count as one: where vertices are doubled (glTF splits them at UV seams and
    sharp edges) all copies of a border edge are border edges.
    """
    places, labels = weld(vertex_positions(mesh)), part_ids[corner_polygons(mesh)]
    return borders_at_places(places, edge_vertices(mesh), corner_edges(mesh), labels)


def borders_at_places(
    places: IntArray, edge_vertices: IntArray, corner_edges: IntArray, corner_labels: IntArray
) -> BoolArray:
    """Edges at which corners of different labels lie, bool [E].

    places: int [V], the first vertex at the place of each; edge_vertices: int [E, 2]
    corner_edges, corner_labels: int [C], the edge and the label of each corner
    """
    place_of_edge = edge_places(places, edge_vertices)
    here = place_of_edge[corner_edges]
    border = np.zeros(len(place_of_edge), dtype=bool)
    one = np.empty(len(place_of_edge), dtype=np.int32)
    one[here] = corner_labels  # one of the labels at each place: any other one makes it a border
    border[here[one[here] != corner_labels]] = True
    return border[place_of_edge]


def mark_borders(
    mesh: bpy.types.Mesh,
    *,
    seam: bool = False,
    sharp: bool = False,
    crease: float = 0.0,
    clear: bool = False,
) -> int:
    """Mark the edges between parts; returns how many there are.

    crease: subdivision crease, 0 for none. clear: first take the marks of the chosen kinds from all edges.
    """
    border = border_edges(mesh, read_part_ids(mesh))
    if seam:
        _mark_seams(mesh, border, clear=clear)
    if sharp:
        write_flags(mesh, "sharp_edge", "EDGE", border | _old_flags(mesh, "sharp_edge", clear=clear))
    if crease > 0:
        _mark_creases(mesh, border, crease, clear=clear)
    mesh.update_tag()
    return int(border.sum())


def write_part_colors(mesh: bpy.types.Mesh) -> None:
    """The part colours as the active colour attribute, so that they show without the overlay."""
    table = color_table(mesh)
    linear = np.ones((len(table), 4), dtype=np.float32)
    linear[:, :3] = srgb_to_linear(table)
    domain, part_ids = "CORNER", read_part_ids(mesh)
    if is_cloud(mesh):
        domain = "POINT"
    else:
        part_ids = part_ids[corner_polygons(mesh)]
    attribute = mesh.color_attributes.get(OWN_COLOR_ATTRIBUTE)
    if attribute is not None and (attribute.data_type, attribute.domain) != ("FLOAT_COLOR", domain):
        mesh.color_attributes.remove(attribute)
        attribute = None
    if attribute is None:
        attribute = mesh.color_attributes.new(OWN_COLOR_ATTRIBUTE, "FLOAT_COLOR", domain)
    attribute.data.foreach_set("color", linear[part_ids].ravel())
    mesh.color_attributes.active_color = attribute
    mesh.update_tag()


def _mark_seams(mesh: bpy.types.Mesh, border: BoolArray, *, clear: bool) -> None:
    # Through the property: the attribute's name differs between Blender 4.2 and 4.5.
    seams = np.zeros(len(border), dtype=bool)
    if not clear:
        mesh.edges.foreach_get("use_seam", seams)
    mesh.edges.foreach_set("use_seam", seams | border)


def _old_flags(mesh: bpy.types.Mesh, name: str, *, clear: bool) -> BoolArray:
    flags = np.zeros(len(mesh.edges), dtype=bool)
    attribute = mesh.attributes.get(name)
    if attribute is not None and not clear:
        attribute.data.foreach_get("value", flags)
    return flags


def _mark_creases(mesh: bpy.types.Mesh, border: BoolArray, crease: float, *, clear: bool) -> None:
    values = np.zeros(len(border), dtype=np.float32)
    attribute = mesh.attributes.get("crease_edge")
    if attribute is None:
        attribute = mesh.attributes.new("crease_edge", "FLOAT", "EDGE")
    elif not clear:
        attribute.data.foreach_get("value", values)
    values[border] = crease
    attribute.data.foreach_set("value", values)
