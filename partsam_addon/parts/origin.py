# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings the table of parts and the faces together after anything else has changed the mesh.

Deleting, subdividing, remeshing, joining and booleans know nothing of the table. Each face carries the
number of the table that its part belongs to, so faces that came from another mesh are told apart.
"""

from __future__ import annotations

import bpy
import numpy as np

from ..constants import PART_ATTRIBUTE
from ..mesh_exchange.arrays import BoolArray, IntArray, corner_vertices, polygon_sizes
from ..mesh_exchange.elements import (
    faces_from_points,
    has_element_integers,
    has_integers,
    hides_points,
    is_cloud,
    loose_points_with,
    read_element_integers,
    read_points_integers,
    remove_points_integers,
    rename_older_integers,
    write_element_integers,
)
from .attributes import (
    EDIT_ATTRIBUTE,
    NO_ATOM,
    ORIGIN_ATTRIBUTE,
    TREE_ATTRIBUTE,
    read_atoms,
    read_foreign,
    read_origins,
)
from .levels import adopt_levels
from .memory import MEMORY_ATTRIBUTE
from .palette import UNASSIGNED
from .revision import REVISION_ATTRIBUTE
from .schema import PARTSAM_PG_part, PARTSAM_PG_parts
from .settled import is_settled, settle
from .table import adopt_description, forget_retired, free_ids, read_faces, sync_table, write_part_ids

OWN_ATTRIBUTES = (
    PART_ATTRIBUTE,
    MEMORY_ATTRIBUTE,
    EDIT_ATTRIBUTE,
    TREE_ATTRIBUTE,
    ORIGIN_ATTRIBUTE,
    REVISION_ATTRIBUTE,
)
"""All that this add-on keeps on the faces of a mesh, or its points."""


def bring_together(mesh: bpy.types.Mesh) -> None:
    """Make table and faces agree. At the entry of everything that reads or changes parts. Not in Edit mode.

    Parts of faces that were joined from another mesh, or from a copy, keep their names and get new numbers
    where theirs are taken. Their part trees come along, so the slider drives all.
    """
    if not has_integers(mesh, PART_ATTRIBUTE) and not len(mesh.partsam.parts):
        return
    rename_older_integers(mesh, OWN_ATTRIBUTES)
    if hides_points(mesh, PART_ATTRIBUTE):
        _leave_points(mesh)
    faces = read_faces(mesh)
    if is_settled(mesh, faces):
        return
    foreign, copies = read_foreign(mesh), _copies(mesh, faces.part_ids)
    if foreign.any() or copies.any():
        _adopt(mesh, faces.part_ids, foreign, copies)
        faces = read_faces(mesh)
    else:
        sync_table(mesh, faces)
    settle(mesh, faces)


def _leave_points(mesh: bpy.types.Mesh) -> None:
    """The points of `mesh` have parts, and it has faces: those take them over where they have none yet.

    What the points have is kept while there are some without a face.
    """
    if not has_element_integers(mesh, PART_ATTRIBUTE):
        faces_from_points(mesh, PART_ATTRIBUTE, [name for name in OWN_ATTRIBUTES if name != PART_ATTRIBUTE])
    if not loose_points_with(mesh, PART_ATTRIBUTE):
        remove_points_integers(mesh, *OWN_ATTRIBUTES)


def _copies(mesh: bpy.types.Mesh, part_ids: IntArray) -> IntArray:
    """Which copy of its mesh each face is of, int32 [P]; 0 for the first one and where there is only one.

    Objects that share a mesh and are joined, and arrays, bring the same faces several times.
    """
    copies = np.zeros_like(part_ids)
    if len(part_ids) == mesh.partsam.face_count:
        return copies
    atoms, origins = read_atoms(mesh), read_origins(mesh)
    for origin in np.unique(origins[origins != 0]).tolist():
        table = _table(mesh, 0 if origin == mesh.partsam.origin else origin)
        here = np.flatnonzero(origins == origin)
        size = 0 if table is None else table.face_count
        if not size or len(here) < 2 * size or len(here) % size:
            continue
        labels = np.stack([part_ids[here], atoms[here]]).reshape(2, -1, size)
        if (labels == labels[:, :1]).all() and _are_apart(mesh, here.reshape(-1, size)):
            copies[here] = np.arange(len(here)) // size
    return copies


def _are_apart(mesh: bpy.types.Mesh, blocks: IntArray) -> bool:
    """Whether blocks of polygons [K, N] share no vertices; points are their own."""
    if is_cloud(mesh):
        return True
    block_of = np.full(len(mesh.polygons), -1)
    block_of[blocks] = np.arange(len(blocks))[:, None]
    of_corner = np.repeat(block_of, polygon_sizes(mesh))
    vertices = corner_vertices(mesh)[of_corner >= 0]
    pairs = np.unique(np.stack([vertices, of_corner[of_corner >= 0]]), axis=1)
    return bool(len(np.unique(pairs[0])) == pairs.shape[1])


def _adopt(mesh: bpy.types.Mesh, part_ids: IntArray, foreign: IntArray, copies: IntArray) -> None:
    """Take in the parts of copies, and of faces whose table, in `foreign` [P], is another one."""
    added = (foreign != 0) | (copies != 0)
    are_others = _are_others(mesh, part_ids, foreign, added)
    if are_others:
        # Own parts whose faces are gone give way, or those that get their number would get their name.
        sync_table(mesh, read_faces(mesh, np.where(added, UNASSIGNED, part_ids)))
    own = np.unique(part_ids[~added]).tolist()
    taken = {UNASSIGNED, *own, *_ids_of_hidden_points(mesh)}
    result, atoms = part_ids.copy(), read_atoms(mesh)
    own_atoms = np.where(added, NO_ATOM, atoms)
    descriptions: dict[int, PARTSAM_PG_part] = {}
    for origin, copy in np.unique(np.stack([foreign[added], copies[added]]), axis=1).T.tolist():
        table = _table(mesh, origin)
        described = {} if table is None else {part.part_id: part for part in table.parts}
        here = (foreign == origin) & (copies == copy)
        if table is not None:
            own_atoms[here] = adopt_levels(mesh, table, atoms[here])
        for part_id in np.unique(part_ids[here]).tolist():
            if part_id == UNASSIGNED:
                continue
            new_id = part_id if part_id not in taken else free_ids(taken, 1)[0]
            taken.add(new_id)
            result[here & (part_ids == part_id)] = new_id
            if part_id in described:
                descriptions[new_id] = described[part_id]
    if atoms.any():
        write_element_integers(mesh, TREE_ATTRIBUTE, own_atoms)
    memory = read_element_integers(mesh, MEMORY_ATTRIBUTE)
    if memory is not None:  # of added faces it is about another mesh's former parts
        write_element_integers(mesh, MEMORY_ATTRIBUTE, np.where(added, 0, memory))
    if are_others:
        forget_retired(mesh, set(np.unique(result[added]).tolist()) - set(own))
    for new_id, part in descriptions.items():
        if new_id not in own:
            adopt_description(mesh, new_id, part)
    write_part_ids(mesh, result)


def _are_others(mesh: bpy.types.Mesh, part_ids: IntArray, foreign: IntArray, added: BoolArray) -> bool:
    """Whether the `added` faces [P] are none of the mesh's own: undo in Edit mode can bring back faces that
    carry an earlier number of its table.
    """
    if not added.all():
        return True
    numbers = set(np.unique(foreign).tolist())
    if any(not other.users and other.partsam.origin in numbers for other in bpy.data.meshes):
        return True  # what was joined is left without an object
    present, counts = np.unique(part_ids[part_ids != UNASSIGNED], return_counts=True)
    described = {part.part_id: part.face_count for part in mesh.partsam.parts}
    return described != dict(zip(present.tolist(), counts.tolist(), strict=True))


def _ids_of_hidden_points(mesh: bpy.types.Mesh) -> list[int]:
    """Part ids of points whose parts faces hide: their names come back with them."""
    values = read_points_integers(mesh, PART_ATTRIBUTE) if hides_points(mesh, PART_ATTRIBUTE) else None
    return [] if values is None else np.unique(values).tolist()


def _table(mesh: bpy.types.Mesh, origin: int) -> PARTSAM_PG_parts | None:
    """The table with the number `origin`, if a mesh that has it is still in the file; 0: that of `mesh`."""
    if not origin:
        return mesh.partsam
    others = (other.partsam for other in bpy.data.meshes if other != mesh)
    return next((table for table in others if table.origin == origin), None)
