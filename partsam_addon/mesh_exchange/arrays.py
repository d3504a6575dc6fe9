# SPDX-License-Identifier: GPL-3.0-or-later
"""Bulk reads of a Blender mesh into numpy arrays, and of polygon attributes back into it.

The attribute reads are 5 to 100 times faster than the public collections. They go through names that
are Blender's internals (a leading dot), so each has the public read as its fallback.
"""

from __future__ import annotations

import bpy
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]
BoolArray = NDArray[np.bool_]


def vertex_positions(mesh: bpy.types.Mesh) -> FloatArray:
    """Vertex positions in object space, float32 [V, 3]."""
    positions = np.empty((len(mesh.vertices), 3), dtype=np.float32)
    attribute = mesh.attributes.get("position")
    if attribute is not None and len(attribute.data) == len(positions):
        attribute.data.foreach_get("vector", positions.ravel())
    else:
        mesh.vertices.foreach_get("co", positions.ravel())
    return positions


def corner_vertices(mesh: bpy.types.Mesh) -> IntArray:
    """Vertex of each face corner, int32 [C]."""
    return _integers(mesh, ".corner_vert", mesh.loops, "vertex_index")


def corner_edges(mesh: bpy.types.Mesh) -> IntArray:
    """Edge from each face corner to the next one, int32 [C]."""
    return _integers(mesh, ".corner_edge", mesh.loops, "edge_index")


def edge_vertices(mesh: bpy.types.Mesh) -> IntArray:
    """End vertices of each edge, int32 [E, 2]."""
    ends = np.empty((len(mesh.edges), 2), dtype=np.int32)
    attribute = mesh.attributes.get(".edge_verts")
    if attribute is not None and len(attribute.data) == len(ends):
        attribute.data.foreach_get("value", ends.ravel())
    else:
        mesh.edges.foreach_get("vertices", ends.ravel())
    return ends


def polygon_sizes(mesh: bpy.types.Mesh) -> IntArray:
    """Number of corners of each polygon, int32 [P]. Corners are stored polygon after polygon."""
    if is_all_triangles(mesh):
        return np.full(len(mesh.polygons), 3, dtype=np.int32)
    sizes = np.empty(len(mesh.polygons), dtype=np.int32)
    mesh.polygons.foreach_get("loop_total", sizes)
    return sizes


def corner_polygons(mesh: bpy.types.Mesh) -> IntArray:
    """Polygon of each face corner, int32 [C]."""
    return np.repeat(np.arange(len(mesh.polygons), dtype=np.int32), polygon_sizes(mesh))


def is_all_triangles(mesh: bpy.types.Mesh) -> bool:
    """Whether every polygon is a triangle (a polygon has three corners at least)."""
    return len(mesh.loops) == 3 * len(mesh.polygons)


def triangle_corners(mesh: bpy.types.Mesh) -> tuple[IntArray, IntArray]:
    """Blender's own triangulation: corners int32 [T, 3] and the polygon of each triangle int32 [T]."""
    if is_all_triangles(mesh):
        count = len(mesh.polygons)
        return np.arange(3 * count, dtype=np.int32).reshape(-1, 3), np.arange(count, dtype=np.int32)
    mesh.calc_loop_triangles()
    count = len(mesh.loop_triangles)
    corners = np.empty((count, 3), dtype=np.int32)
    polygons = np.empty(count, dtype=np.int32)
    mesh.loop_triangles.foreach_get("loops", corners.ravel())
    mesh.loop_triangle_polygons.foreach_get("value", polygons)
    return corners, polygons


def polygon_areas(mesh: bpy.types.Mesh) -> FloatArray:
    """Area of each polygon in object space, float32 [P]."""
    if is_all_triangles(mesh):
        return _triangle_areas(vertex_positions(mesh), corner_vertices(mesh))
    areas = np.empty(len(mesh.polygons), dtype=np.float32)
    mesh.polygons.foreach_get("area", areas)
    return areas


def polygon_centers(mesh: bpy.types.Mesh) -> FloatArray:
    """Mean of each polygon's corners in object space, float64 [P, 3]."""
    sizes = polygon_sizes(mesh)
    if len(sizes) == 0:
        return np.zeros((0, 3))
    positions, vertices = np.nan_to_num(vertex_positions(mesh).astype(np.float64)), corner_vertices(mesh)
    if is_all_triangles(mesh):
        first, second, third = (positions.take(vertices[k::3], axis=0) for k in range(3))
        return (first + second + third) / 3
    corners = positions.take(vertices, axis=0)
    return np.add.reduceat(corners, np.cumsum(sizes) - sizes, axis=0) / sizes[:, None]


def polygon_flags(mesh: bpy.types.Mesh, name: str) -> BoolArray:
    """A boolean polygon property (`select`, `hide`), bool [P]."""
    attribute = mesh.attributes.get(f".{name}_poly")
    flags = np.zeros(len(mesh.polygons), dtype=bool)
    if attribute is not None:
        attribute.data.foreach_get("value", flags)
    return flags


def touched_elements(mesh: bpy.types.Mesh, polygons: BoolArray, domain: str) -> BoolArray:
    """The vertices (POINT) or edges (EDGE) of the polygons in a mask [P], as a mask of theirs."""
    elements = corner_vertices(mesh) if domain == "POINT" else corner_edges(mesh)
    touched = np.zeros(len(mesh.vertices) if domain == "POINT" else len(mesh.edges), dtype=bool)
    touched[elements[polygons[corner_polygons(mesh)]]] = True
    return touched


def write_flags(mesh: bpy.types.Mesh, name: str, domain: str, flags: BoolArray) -> None:
    """Write the boolean attribute `name` on `domain` (POINT, EDGE, FACE), made if it is absent.

    Blender 5.0.1 leaves `.select_edge` with the type of an edge's vertices wherever it computed edges;
    the property `edges.select` then crashes. Such an attribute is replaced.
    """
    attribute = mesh.attributes.get(name)
    if attribute is not None and (attribute.data_type, attribute.domain) != ("BOOLEAN", domain):
        mesh.attributes.remove(attribute)
        attribute = None
    if attribute is None:
        attribute = mesh.attributes.new(name, "BOOLEAN", domain)
    attribute.data.foreach_set("value", np.ascontiguousarray(flags, dtype=bool))


def read_polygon_integers(mesh: bpy.types.Mesh, name: str) -> IntArray | None:
    """The polygon integer attribute `name`, int32 [P]; None if the mesh has none of that kind."""
    attribute = mesh.attributes.get(name)
    if attribute is None or attribute.data_type != "INT" or attribute.domain != "FACE":
        return None
    values = np.empty(len(mesh.polygons), dtype=np.int32)
    attribute.data.foreach_get("value", values)
    return values


def write_polygon_integers(mesh: bpy.types.Mesh, name: str, values: IntArray) -> None:
    """Write int32 [P] into the polygon attribute `name`, replacing one of another type or domain."""
    attribute = mesh.attributes.get(name)
    if attribute is not None and (attribute.data_type != "INT" or attribute.domain != "FACE"):
        mesh.attributes.remove(attribute)
        attribute = None
    if attribute is None:
        attribute = mesh.attributes.new(name, "INT", "FACE")
    attribute.data.foreach_set("value", np.ascontiguousarray(values, dtype=np.int32))
    mesh.update_tag()


def distinct(values: IntArray) -> tuple[IntArray, IntArray]:
    """`np.unique` with the inverse, int [K] and [N], of values from 0; quick if they are not large."""
    if len(values) == 0 or int(values.max()) > 4 * len(values) + 1024:
        present, places = np.unique(values, return_inverse=True)
        return present, places
    present = np.flatnonzero(np.bincount(values)).astype(values.dtype)
    table = np.empty(int(present[-1]) + 1, dtype=np.int32)
    table[present] = np.arange(len(present), dtype=np.int32)
    return present, table[values]


def ranges(starts: IntArray, counts: IntArray) -> IntArray:
    """start, start + 1 .. start + count - 1 of each pair, one after the other: int32."""
    offsets = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return (np.repeat(starts, counts) + offsets).astype(np.int32)


def _triangle_areas(positions: FloatArray, corners: IntArray) -> FloatArray:
    """Areas float32 [T] of triangles with these corners [3 T], a coordinate at a time."""
    with np.errstate(invalid="ignore", over="ignore"):
        origin, first, second = (positions.take(corners[k::3], axis=0) for k in range(3))
        first -= origin
        second -= origin
        total = np.zeros(len(first), dtype=np.float32)
        for axis in range(3):
            left, right = (axis + 1) % 3, (axis + 2) % 3
            total += (first[:, left] * second[:, right] - first[:, right] * second[:, left]) ** 2
        areas: FloatArray = np.sqrt(total) / np.float32(2)
    return areas


def _integers(
    mesh: bpy.types.Mesh, name: str, collection: bpy.types.bpy_prop_collection, member: str
) -> IntArray:
    values = np.empty(len(collection), dtype=np.int32)
    attribute = mesh.attributes.get(name)
    if attribute is not None and len(attribute.data) == len(values):
        attribute.data.foreach_get("value", values)
    else:
        collection.foreach_get(member, values)
    return values
