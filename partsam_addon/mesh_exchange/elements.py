# SPDX-License-Identifier: GPL-3.0-or-later
"""What the parts of a mesh are made of: its polygons or, where it has none, its vertices (a point cloud).

Everything that stores, counts or changes parts goes through here, so that it works on both. N is the
number of elements.
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
    polygon_areas,
    polygon_centers,
    polygon_flags,
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


def element_count(mesh: bpy.types.Mesh) -> int:
    return len(mesh.vertices) if is_cloud(mesh) else len(mesh.polygons)


def edit_elements(edit_mesh: bmesh.types.BMesh) -> bmesh.types.BMFaceSeq | bmesh.types.BMVertSeq:
    """The elements of a mesh in Edit mode."""
    return edit_mesh.faces if len(edit_mesh.faces) else edit_mesh.verts


def read_edit_integers(edit_mesh: bmesh.types.BMesh, name: str) -> IntArray | None:
    """The integer layer `name` of a mesh in Edit mode, int32 [N]; None if it has none."""
    elements = edit_elements(edit_mesh)
    layer = elements.layers.int.get(name)
    return None if layer is None else np.fromiter(map(itemgetter(layer), elements), np.int32, len(elements))


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
    attribute = mesh.attributes.get(name)
    return attribute is not None and _is_of_elements(mesh, attribute)


def hides_element_integers(mesh: bpy.types.Mesh, name: str) -> bool:
    """Whether an attribute of something else stands before that of the elements, as after joining a cloud
    and a mesh that both have it: Blender gives them the same name, or the second one a number.
    """
    if mesh.attributes.get(name) is None or has_element_integers(mesh, name):
        return False
    names = {name, f"{name}.001"}
    return any(one.name in names and _is_of_elements(mesh, one) for one in mesh.attributes)


def uncover_element_integers(mesh: bpy.types.Mesh, names: Iterable[str]) -> None:
    """Remove what `hides_element_integers`. Not in Edit mode."""
    for name in names:
        if not hides_element_integers(mesh, name):
            continue
        mesh.attributes.remove(mesh.attributes[name])
        if mesh.attributes.get(name) is None:
            mesh.attributes[f"{name}.001"].name = name


def _is_of_elements(mesh: bpy.types.Mesh, attribute: bpy.types.Attribute) -> bool:
    return (attribute.data_type, attribute.domain) == ("INT", element_domain(mesh))


def read_element_integers(mesh: bpy.types.Mesh, name: str) -> IntArray | None:
    """The integer attribute `name` of the elements, int32 [N]; None if the mesh has none of that kind."""
    if not has_element_integers(mesh, name):
        return None
    values = np.empty(element_count(mesh), dtype=np.int32)
    mesh.attributes[name].data.foreach_get("value", values)
    return values


def write_element_integers(mesh: bpy.types.Mesh, name: str, values: IntArray) -> None:
    """Write int32 [N] into the attribute `name`, replacing one of another type or domain."""
    attribute = mesh.attributes.get(name)
    if attribute is not None and not has_element_integers(mesh, name):
        mesh.attributes.remove(attribute)
        attribute = None
    if attribute is None:
        attribute = mesh.attributes.new(name, "INT", element_domain(mesh))
    attribute.data.foreach_set("value", np.ascontiguousarray(values, dtype=np.int32))
    mesh.update_tag()
