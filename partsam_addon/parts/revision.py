# SPDX-License-Identifier: GPL-3.0-or-later
"""A number that all faces carry and that grows with each change of the table.

In Edit mode Blender stores no more than the edit mesh for undo. The number comes back with the faces, and
says which table they had. Works in every mode.
"""

from __future__ import annotations

import bmesh
import bpy
import numpy as np

from ..mesh_exchange.elements import (
    edit_elements,
    edit_layer,
    element_count,
    read_edit_integers,
    read_edit_points,
    read_element_integers,
    write_element_integers,
)

REVISION_ATTRIBUTE = ".partsam_revision"


def revision_of_faces(mesh: bpy.types.Mesh) -> int:
    """The number of the table's state that goes with the faces; 0 if there was none."""
    if mesh.is_editmode:
        edit_mesh = bmesh.from_edit_mesh(mesh)
        values = read_edit_integers(edit_mesh, REVISION_ATTRIBUTE)
        if values is None:  # the first faces of a cloud
            values = read_edit_points(edit_mesh, REVISION_ATTRIBUTE)
    else:
        values = read_element_integers(mesh, REVISION_ATTRIBUTE)
    return 0 if values is None else int(values.max(initial=0))  # new faces may have an older one


def note_change(mesh: bpy.types.Mesh) -> None:
    """The table has changed: give it and the faces the next number."""
    table = mesh.partsam
    # Faces that were joined in may have a higher number, which is another state's.
    table.revision, table.is_kept = max(table.revision, revision_of_faces(mesh)) + 1, False
    if not mesh.is_editmode:
        values = np.full(element_count(mesh), table.revision, dtype=np.int32)
        write_element_integers(mesh, REVISION_ATTRIBUTE, values)
        return
    edit_mesh = bmesh.from_edit_mesh(mesh)
    layer, number = edit_layer(edit_mesh, REVISION_ATTRIBUTE, make=True), table.revision
    for element in edit_elements(edit_mesh):
        element[layer] = number
