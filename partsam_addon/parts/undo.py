# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps the table of parts right when an undo step of Edit mode changes only the faces.

In Edit mode Blender stores no more than the edit mesh for undo: the face attribute goes back, the
table on the mesh does not.
"""

from __future__ import annotations

import bmesh
import bpy
import numpy as np
from bpy.app.handlers import persistent

from ..constants import PART_ATTRIBUTE
from .palette import UNASSIGNED
from .table import match_table


@persistent
def _follow(*_arguments: object) -> None:
    for obj in bpy.data.objects:
        if obj.type == "MESH" and obj.mode == "EDIT" and obj.data.is_editable:
            table = obj.data.partsam
            if len(table.parts) or len(table.retired):
                sync_edit_mesh(obj.data)


def sync_edit_mesh(mesh: bpy.types.Mesh) -> None:
    """Make the table of a mesh in Edit mode hold the parts that the edit mesh has."""
    edit_mesh = bmesh.from_edit_mesh(mesh)
    layer = edit_mesh.faces.layers.int.get(PART_ATTRIBUTE)
    ids = np.zeros(len(edit_mesh.faces), dtype=np.int32)
    areas = np.zeros(len(ids))
    if layer is not None:
        for index, face in enumerate(edit_mesh.faces):
            ids[index], areas[index] = face[layer], face.calc_area()
    match_table(mesh, np.maximum(ids, UNASSIGNED), areas)


def register() -> None:
    bpy.app.handlers.undo_post.append(_follow)
    bpy.app.handlers.redo_post.append(_follow)


def unregister() -> None:
    bpy.app.handlers.undo_post.remove(_follow)
    bpy.app.handlers.redo_post.remove(_follow)
