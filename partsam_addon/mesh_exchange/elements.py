# SPDX-License-Identifier: GPL-3.0-or-later
"""What the parts of a mesh are made of: its polygons or, where it has none, its vertices (a point cloud).

Everything that stores, counts or changes parts goes through here, so that it works on both. N is the
number of elements. Attributes of points have a name of their own: of two with the same name, joining makes
one. So a mesh with faces may also hold the parts of points that came from a cloud, or that lay there before
it had faces; they are not shown, and come back where the faces go.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter

import bmesh
import bpy
import numpy as np

from .arrays import (
    BoolArray,
    FloatArray,
    IntArray,
    corner_vertices,
    polygon_areas,
    polygon_centers,
    polygon_flags,
    polygon_sizes,
    touched_elements,
    vertex_positions,
    write_flags,
)


def is_cloud(mesh: bpy.types.Mesh) -> bool:
    """Whether parts are made of vertices, as there are no polygons. In every mode as of before it."""
    return len(mesh.polygons) == 0


def element_domain(mesh: bpy.types.Mesh) -> str:
    """Where the attributes of parts live: FACE or POINT."""
    return "POINT" if is_cloud(mesh) else "FACE"


def points_name(name: str) -> str:
    """What the attribute `name` of the elements is called where these are points."""
    return f"{name}_points"


def element_count(mesh: bpy.types.Mesh) -> int:
    return len(mesh.vertices) if is_cloud(mesh) else len(mesh.polygons)


def edit_elements(edit_mesh: bmesh.types.BMesh) -> bmesh.types.BMFaceSeq | bmesh.types.BMVertSeq:
    """The elements of a mesh in Edit mode."""
    return edit_mesh.faces if len(edit_mesh.faces) else edit_mesh.verts


def edit_layer(
    edit_mesh: bmesh.types.BMesh, name: str, *, make: bool = False
) -> bmesh.types.BMLayerItem | None:
    """The integer layer `name` of the elements in Edit mode; None if there is none and none is made."""
    layers = edit_elements(edit_mesh).layers.int
    wanted = name if len(edit_mesh.faces) else points_name(name)
    return layers.get(wanted) or (layers.new(wanted) if make else None)


def read_edit_integers(edit_mesh: bmesh.types.BMesh, name: str) -> IntArray | None:
    """The integer layer `name` of a mesh in Edit mode, int32 [N]; None if it has none."""
    elements, layer = edit_elements(edit_mesh), edit_layer(edit_mesh, name)
    return None if layer is None else np.fromiter(map(itemgetter(layer), elements), np.int32, len(elements))


def read_edit_points(edit_mesh: bmesh.types.BMesh, name: str) -> IntArray | None:
    """The same of the points, int32 [V], also where the mesh has faces."""
    layer = edit_mesh.verts.layers.int.get(points_name(name))
    verts = edit_mesh.verts
    return None if layer is None else np.fromiter(map(itemgetter(layer), verts), np.int32, len(verts))


def element_sizes(mesh: bpy.types.Mesh) -> FloatArray:
    """The area of each polygon in object space; 1 for each point. float32 [N]."""
    return np.ones(len(mesh.vertices), dtype=np.float32) if is_cloud(mesh) else polygon_areas(mesh)


def element_centers(mesh: bpy.types.Mesh) -> FloatArray:
    """Where each element is in object space, float64 [N, 3]."""
    if is_cloud(mesh):
        return np.nan_to_num(vertex_positions(mesh).astype(np.float64))
    return polygon_centers(mesh)


def element_flags(mesh: bpy.types.Mesh, name: str) -> BoolArray:
    """A boolean property (`select`, `hide`) of the elements, bool [N]."""
    if not is_cloud(mesh):
        return polygon_flags(mesh, name)
    flags = np.zeros(len(mesh.vertices), dtype=bool)
    attribute = mesh.attributes.get(f".{name}_vert")
    if attribute is not None:
        attribute.data.foreach_get("value", flags)
    return flags


def write_element_flags(mesh: bpy.types.Mesh, name: str, flags: BoolArray) -> None:
    """Write `select` or `hide` [N]: what is smaller than a polygon is selected with any of those around it,
    and hidden with all of them.
    """
    if is_cloud(mesh):
        write_flags(mesh, f".{name}_vert", "POINT", flags)
        return
    write_flags(mesh, f".{name}_poly", "FACE", flags)
    for kind, domain in (("vert", "POINT"), ("edge", "EDGE")):
        touched = touched_elements(mesh, flags, domain)
        if name == "hide":
            touched &= ~touched_elements(mesh, ~flags, domain)
        write_flags(mesh, f".{name}_{kind}", domain, touched)


def has_element_integers(mesh: bpy.types.Mesh, name: str) -> bool:
    """Whether `name` is an integer attribute of the elements. Works in every mode."""
    return _is_integers(mesh.attributes.get(_element_name(mesh, name)), element_domain(mesh))


def hides_points(mesh: bpy.types.Mesh, name: str) -> bool:
    """Whether the mesh has faces, and its points have the attribute `name` as well. Works in every mode."""
    return not is_cloud(mesh) and _is_integers(mesh.attributes.get(points_name(name)), "POINT")


def has_older_integers(mesh: bpy.types.Mesh, name: str) -> bool:
    """Whether the points' attribute `name` is called as that of faces, as in files of earlier versions."""
    return _is_integers(mesh.attributes.get(name), "POINT")


def rename_older_integers(mesh: bpy.types.Mesh, names: Iterable[str]) -> None:
    """Give what `has_older_integers` its name. Not in Edit mode."""
    for name in names:
        if not has_older_integers(mesh, name):
            continue
        if points_name(name) in mesh.attributes:
            mesh.attributes.remove(mesh.attributes[name])
        else:
            mesh.attributes[name].name = points_name(name)
        # Where a cloud was joined with a mesh, Blender gave the attribute of the faces a number.
        numbered = mesh.attributes.get(f"{name}.001")
        if mesh.attributes.get(name) is None and _is_integers(numbered, "FACE"):
            numbered.name = name


def faces_from_points(mesh: bpy.types.Mesh, name: str, others: Iterable[str]) -> bool:
    """Give each face the values of one of its points: of those with the value of `name` that most of them
    have, the first. Whether any face got one. Not in Edit mode.

    others: attributes that are taken from the same point
    """
    values = _read(mesh, points_name(name), len(mesh.vertices))
    if values is None:
        return False
    corners, sizes = corner_vertices(mesh), polygon_sizes(mesh)
    polygons = np.repeat(np.arange(len(sizes)), sizes)
    width = int(values.max(initial=0)) + 1
    keys, first, counts = np.unique(
        polygons * width + np.maximum(values[corners], 0), return_index=True, return_counts=True
    )
    order = np.lexsort((-counts, keys // width))
    leading = corners[first[order[np.unique(keys[order] // width, return_index=True)[1]]]]
    if not values[leading].any():
        return False
    for each in (name, *others):
        of_points = _read(mesh, points_name(each), len(mesh.vertices))
        if of_points is not None:
            write_element_integers(mesh, each, of_points[leading])
    return True


def loose_points_with(mesh: bpy.types.Mesh, name: str) -> int:
    """How many points without a face have a value of `name` other than 0. Not in Edit mode."""
    values = _read(mesh, points_name(name), len(mesh.vertices))
    if values is None:
        return 0
    loose = values != 0
    loose[corner_vertices(mesh)] = False
    return int(np.count_nonzero(loose))


def read_points_integers(mesh: bpy.types.Mesh, name: str) -> IntArray | None:
    """The points' attribute `name`, int32 [V], also where the mesh has faces. Not in Edit mode."""
    return _read(mesh, points_name(name), len(mesh.vertices))


def _element_name(mesh: bpy.types.Mesh, name: str) -> str:
    return points_name(name) if is_cloud(mesh) else name


def _is_integers(attribute: bpy.types.Attribute | None, domain: str) -> bool:
    return attribute is not None and (attribute.data_type, attribute.domain) == ("INT", domain)


def _read(mesh: bpy.types.Mesh, stored_name: str, count: int) -> IntArray | None:
    attribute = mesh.attributes.get(stored_name)
    if attribute is None or attribute.data_type != "INT" or len(attribute.data) != count:
        return None
    values = np.empty(count, dtype=np.int32)
    attribute.data.foreach_get("value", values)
    return values


def read_element_integers(mesh: bpy.types.Mesh, name: str) -> IntArray | None:
    """The integer attribute `name` of the elements, int32 [N]; None if the mesh has none of that kind."""
    if not has_element_integers(mesh, name):
        return None
    return _read(mesh, _element_name(mesh, name), element_count(mesh))


def write_element_integers(mesh: bpy.types.Mesh, name: str, values: IntArray) -> None:
    """Write int32 [N] into the attribute `name`, replacing one of another type or domain."""
    stored = _element_name(mesh, name)
    attribute = mesh.attributes.get(stored)
    if attribute is not None and not has_element_integers(mesh, name):
        mesh.attributes.remove(attribute)
        attribute = None
    if attribute is None:
        attribute = mesh.attributes.new(stored, "INT", element_domain(mesh))
    attribute.data.foreach_set("value", np.ascontiguousarray(values, dtype=np.int32))
    mesh.update_tag()


def has_integers(mesh: bpy.types.Mesh, *names: str) -> bool:
    """Whether the mesh has one of these attributes, on faces or points. Works in every mode."""
    return any(one in mesh.attributes for name in names for one in (name, points_name(name)))


def remove_integers(mesh: bpy.types.Mesh, *names: str) -> None:
    """Remove those of these attributes that the elements have."""
    _remove(mesh, [_element_name(mesh, name) for name in names])


def remove_points_integers(mesh: bpy.types.Mesh, *names: str) -> None:
    """Remove those of these attributes that the points have."""
    _remove(mesh, [points_name(name) for name in names])


def forget_integers(mesh: bpy.types.Mesh, *names: str) -> None:
    """Remove these attributes, from faces and from points."""
    _remove(mesh, [stored for name in names for stored in (name, points_name(name))])


def _remove(mesh: bpy.types.Mesh, stored_names: Iterable[str]) -> None:
    for name in stored_names:
        attribute = mesh.attributes.get(name)
        if attribute is not None:
            mesh.attributes.remove(attribute)
