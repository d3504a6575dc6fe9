# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps the table of parts right when an undo step of Edit mode changes only the faces.

In Edit mode Blender stores no more than the edit mesh for undo: the face attributes go back, the table
on the mesh does not. It is looked up among the `snapshots`, which are taken as Edit mode is entered (also
when an operator of ours has left it for a moment), before each undo, and when the list is edited.
"""

from __future__ import annotations

import bmesh
import bpy
import numpy as np
from bpy.app.handlers import persistent

from ..constants import PART_ATTRIBUTE
from ..mesh_exchange.arrays import FloatArray
from ..mesh_exchange.elements import edit_elements, edit_layer, read_edit_integers
from .attributes import EDIT_ATTRIBUTE, TREE_ATTRIBUTE
from .palette import UNASSIGNED
from .snapshots import get_snapshots
from .table import Faces, match_table


@persistent
def _before(*_arguments: object) -> None:
    for mesh in _edited_meshes():
        get_snapshots().keep(mesh)
    get_snapshots().begin_step()


@persistent
def _follow(*_arguments: object) -> None:
    get_snapshots().end_step()
    for mesh in _edited_meshes():
        get_snapshots().restore(mesh)
        sync_edit_mesh(mesh)


@persistent
def _after_update(_scene: bpy.types.Scene, depsgraph: bpy.types.Depsgraph) -> None:
    if not depsgraph.id_type_updated("MESH"):
        return
    for update in depsgraph.updates:
        if isinstance(update.id, bpy.types.Mesh) and update.id.original.is_editmode:
            mesh = update.id.original
            if mesh.is_editable and not get_snapshots().knows(mesh) and _knows_parts(mesh):
                get_snapshots().keep(mesh)


@persistent
def _before_load(*_arguments: object) -> None:
    get_snapshots().forget()


def sync_edit_mesh(mesh: bpy.types.Mesh) -> None:
    """Make the table of a mesh in Edit mode hold the parts that the edit mesh has."""
    match_table(mesh, _read_faces(mesh), _read_areas(mesh))


def _edited_meshes() -> list[bpy.types.Mesh]:
    """The meshes in Edit mode that have parts, or had some. Their table may be blank after undo."""
    edited = [mesh for mesh in bpy.data.meshes if mesh.is_editmode and mesh.is_editable]
    return [mesh for mesh in edited if _knows_parts(mesh)]


def _knows_parts(mesh: bpy.types.Mesh) -> bool:
    table = mesh.partsam
    if len(table.parts) or len(table.retired):
        return True
    edit_mesh = bmesh.from_edit_mesh(mesh)
    return edit_layer(edit_mesh, PART_ATTRIBUTE) is not None


def _read_faces(mesh: bpy.types.Mesh) -> Faces:
    edit_mesh = bmesh.from_edit_mesh(mesh)
    values = np.zeros((3, len(edit_elements(edit_mesh))), dtype=np.int32)
    for row, name in zip(values, (PART_ATTRIBUTE, EDIT_ATTRIBUTE, TREE_ATTRIBUTE), strict=True):
        found = read_edit_integers(edit_mesh, name)
        if found is not None:
            row[:] = found
    return Faces(np.maximum(values[0], UNASSIGNED), values[1], values[2])


def _read_areas(mesh: bpy.types.Mesh) -> FloatArray:
    faces = bmesh.from_edit_mesh(mesh).faces
    if not len(faces):
        return np.ones(len(bmesh.from_edit_mesh(mesh).verts), dtype=np.float32)
    return np.fromiter(map(bmesh.types.BMFace.calc_area, faces), dtype=np.float32, count=len(faces))


def register() -> None:
    bpy.app.handlers.depsgraph_update_post.append(_after_update)
    bpy.app.handlers.load_pre.append(_before_load)
    for handlers in (bpy.app.handlers.undo_pre, bpy.app.handlers.redo_pre):
        handlers.append(_before)
    for handlers in (bpy.app.handlers.undo_post, bpy.app.handlers.redo_post):
        handlers.append(_follow)


def unregister() -> None:
    bpy.app.handlers.depsgraph_update_post.remove(_after_update)
    bpy.app.handlers.load_pre.remove(_before_load)
    for handlers in (bpy.app.handlers.undo_pre, bpy.app.handlers.redo_pre):
        handlers.remove(_before)
    for handlers in (bpy.app.handlers.undo_post, bpy.app.handlers.redo_post):
        handlers.remove(_follow)
