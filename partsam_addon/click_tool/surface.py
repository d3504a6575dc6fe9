# SPDX-License-Identifier: GPL-3.0-or-later
"""An object's surface as it is seen, and where each place of it lies on the mesh that was encoded.

What a viewport shows is the evaluated mesh: mirrored, subdivided, posed. Polygon numbers and vertex
positions of the base mesh travel through the modifiers as temporary attributes, so a point of any
triangle that is seen can be traced back by its barycentric coordinates.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import bpy
import numpy as np

from ...backend.errors import MeshError
from ..mesh_exchange.arrays import (
    BoolArray,
    FloatArray,
    IntArray,
    corner_edges,
    corner_polygons,
    corner_vertices,
    edge_vertices,
    polygon_flags,
    triangle_corners,
    vertex_positions,
)
from ..mesh_exchange.evaluated import evaluated_mesh

_PLACES = "partsam_places"


@dataclass(frozen=True)
class Surface:
    """Arrays of what is seen, in object space.

    positions: float32 [V, 3]
    triangles: int32 [T, 3], and polygons: int32 [T], the base polygon of each, -1 where a modifier made
        it anew
    places: float32 [V, 3], where each vertex lies on the encoded mesh, in object space
    edges: int32 [E, 2], end vertices, and sides: int32 [E, 2], the base polygons on both sides (twice the
        same at an open edge)
    topology: counts that change when vertices or polygons do
    """

    positions: FloatArray
    triangles: IntArray
    polygons: IntArray
    places: FloatArray
    edges: IntArray
    sides: IntArray
    topology: tuple[int, ...]

    def place(self, triangle: int, weights: FloatArray) -> FloatArray:
        """The place on the encoded mesh of a point given by its triangle and weights [3]."""
        corners: FloatArray = self.places[self.triangles[triangle]].astype(np.float64)
        return weights @ corners

    def moved(self, positions: FloatArray) -> Surface:
        """The same surface after a deformation."""
        return replace(self, positions=positions)


def read_surface(context: bpy.types.Context, obj: bpy.types.Object, *, as_seen_places: bool) -> Surface:
    """Read `obj`, in Object mode.

    as_seen_places: the mesh after its modifiers was encoded, so that places are positions; else places
        are those of the base mesh
    """
    base = obj.data
    if not is_deformed(obj):
        return _of_mesh(base, np.arange(len(base.polygons), dtype=np.int32), None)
    shown = evaluated(context, obj).data
    if _counts(shown) == _counts(base):  # deformed, but vertex for vertex the same mesh
        places = None if as_seen_places else vertex_positions(base)
        return _of_mesh(shown, np.arange(len(base.polygons), dtype=np.int32), places)
    try:
        with _carried_places(base), evaluated_mesh(context, obj) as (mesh, polygons):
            places = None if as_seen_places else _read_places(mesh)
            return _of_mesh(mesh, polygons, places)
    except MeshError:  # a modifier rebuilds the mesh; only the base mesh can be clicked
        return _of_mesh(base, np.arange(len(base.polygons), dtype=np.int32), None)


def hidden_polygons(obj: bpy.types.Object, *, in_edit_mode: bool) -> BoolArray:
    """Base polygons that are not seen, bool [P]. `obj` must be in Object mode.

    in_edit_mode: the user is in Edit mode, where faces can be hidden
    """
    if in_edit_mode:
        return polygon_flags(obj.data, "hide")
    return np.zeros(len(obj.data.polygons), dtype=bool)


def is_deformed(obj: bpy.types.Object) -> bool:
    """Whether what is seen may differ from the base mesh."""
    return bool(obj.data.shape_keys) or any(modifier.show_viewport for modifier in obj.modifiers)


def evaluated(context: bpy.types.Context, obj: bpy.types.Object) -> bpy.types.Object:
    """`obj` as the viewport shows it."""
    return obj.evaluated_get(context.evaluated_depsgraph_get())


def topology_of(mesh: bpy.types.Mesh) -> tuple[int, ...]:
    """Counts that change when vertices or polygons do."""
    return _counts(mesh)


def _of_mesh(mesh: bpy.types.Mesh, base_polygons: IntArray, places: FloatArray | None) -> Surface:
    corners, polygons = triangle_corners(mesh)
    positions = vertex_positions(mesh)
    sides = base_polygons[_edge_sides(mesh)]
    return Surface(
        positions=positions,
        triangles=corner_vertices(mesh)[corners],
        polygons=base_polygons[polygons],
        places=positions if places is None else places,
        edges=edge_vertices(mesh),
        sides=sides,
        topology=_counts(mesh),
    )


def _edge_sides(mesh: bpy.types.Mesh) -> IntArray:
    """The first and the last polygon along each edge, int32 [E, 2]; loose edges have polygon 0 twice."""
    edges, polygons = corner_edges(mesh), corner_polygons(mesh)
    sides = np.zeros((len(mesh.edges), 2), dtype=np.int32)
    sides[edges, 0] = polygons
    sides[edges[::-1], 1] = polygons[::-1]
    return sides


def _counts(mesh: bpy.types.Mesh) -> tuple[int, ...]:
    return len(mesh.vertices), len(mesh.edges), len(mesh.loops), len(mesh.polygons)


@contextmanager
def _carried_places(mesh: bpy.types.Mesh) -> Iterator[None]:
    """Give the vertices their positions as an attribute, which modifiers copy and interpolate."""
    active = mesh.attributes.active_index
    attribute = mesh.attributes.new(_PLACES, "FLOAT_VECTOR", "POINT")
    name = attribute.name
    attribute.data.foreach_set("vector", vertex_positions(mesh).ravel())
    try:
        yield
    finally:
        mesh.attributes.remove(mesh.attributes[name])
        mesh.attributes.active_index = active


def _read_places(mesh: bpy.types.Mesh) -> FloatArray:
    attribute = mesh.attributes.get(_PLACES)
    if attribute is None or attribute.domain != "POINT":
        raise MeshError("a modifier drops attributes")
    places = np.empty((len(mesh.vertices), 3), dtype=np.float32)
    attribute.data.foreach_get("vector", places.ravel())
    return places
