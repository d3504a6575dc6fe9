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
from .attributes import EDIT_ATTRIBUTE, TREE_ATTRIBUTE
from .levels import recall_cuts
from .palette import UNASSIGNED
from .table import Faces, match_table


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
    values = np.zeros((3, len(edit_mesh.faces)), dtype=np.int32)
    for row, name in zip(values, (PART_ATTRIBUTE, EDIT_ATTRIBUTE, TREE_ATTRIBUTE), strict=True):
        layer = edit_mesh.faces.layers.int.get(name)
        if layer is not None:
            row[:] = [face[layer] for face in edit_mesh.faces]
    areas = np.array([face.calc_area() for face in edit_mesh.faces], dtype=np.float32)
    part_ids = np.maximum(values[0], UNASSIGNED)
    match_table(mesh, Faces(part_ids, areas, values[1], values[2]))
    recall_cuts(mesh, part_ids, values[2])


def register() -> None:
    bpy.app.handlers.undo_post.append(_follow)
    bpy.app.handlers.redo_post.append(_follow)


def unregister() -> None:
    bpy.app.handlers.undo_post.remove(_follow)
    bpy.app.handlers.redo_post.remove(_follow)
