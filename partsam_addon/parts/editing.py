# SPDX-License-Identifier: GPL-3.0-or-later
"""Edits by hand: merging, deleting, assigning. None of them runs in Edit mode; see `object_mode`."""

from __future__ import annotations

import bpy
import numpy as np
from mathutils.kdtree import KDTree

from ...backend.errors import PromptError
from ..constants import PART_ATTRIBUTE
from ..mesh_exchange.arrays import BoolArray, IntArray, polygon_centers, polygon_flags
from .memory import MEMORY_ATTRIBUTE
from .palette import UNASSIGNED
from .polygon_graph import PolygonGraph, build_polygon_graph, part_borders
from .table import (
    forget_retired,
    free_ids,
    get_part,
    locked_ids,
    read_part_ids,
    set_active_part,
    write_part_ids,
)


def merge_parts(mesh: bpy.types.Mesh, part_id: int, into: int) -> None:
    """Give all faces of one part to another. PromptError if either is locked or unknown."""
    _check_unlocked(mesh, part_id)
    _check_unlocked(mesh, into)
    if part_id == into:
        raise PromptError("A part cannot be merged with itself; choose another one")
    part_ids = read_part_ids(mesh)
    part_ids[part_ids == part_id] = into
    write_part_ids(mesh, part_ids)
    set_active_part(mesh, into)


def closest_neighbor(mesh: bpy.types.Mesh, part_id: int) -> int:
    """The unlocked part with the longest border to this one; PromptError if none touches it."""
    get_part(mesh, part_id)
    borders = part_borders(build_polygon_graph(mesh), read_part_ids(mesh))
    barred = {UNASSIGNED, part_id, *locked_ids(mesh)}
    found = [
        (length, -other)
        for pair, length in borders.items()
        if part_id in pair
        for other in pair
        if other not in barred
    ]
    if not found:
        raise PromptError("No unlocked part touches this one; choose the part to merge with")
    return -max(found)[1]


def delete_part(mesh: bpy.types.Mesh, part_id: int) -> None:
    """Take a part away: its faces go to the parts around it, ring by ring, each by the longest border.

    Faces that touch no other unlocked part go to the nearest one; with none left they are in no part.
    """
    _check_unlocked(mesh, part_id)
    part_ids = read_part_ids(mesh)
    doomed = part_ids == part_id
    receivers = ~np.isin(part_ids, [UNASSIGNED, part_id, *locked_ids(mesh)])
    grown = grow_into(build_polygon_graph(mesh), part_ids, doomed, receivers)
    left = np.flatnonzero(grown == part_id)
    grown[left] = _nearest_ids(mesh, left, part_ids, receivers)
    write_part_ids(mesh, grown)


def grow_into(graph: PolygonGraph, part_ids: IntArray, doomed: BoolArray, receivers: BoolArray) -> IntArray:
    """Part ids [P] after the faces in `doomed` [P] were given to those in `receivers` [P], ring by ring.

    A face takes the id with which it shares the most border; ties go to the smaller id. Faces that
    cannot be reached keep their id.
    """
    result = part_ids.copy()
    waiting, owned = doomed.copy(), receivers.copy()
    relevant = waiting[graph.pairs].any(axis=1)
    # Each pair in both directions: from the face that waits to the one that may own it.
    ends = np.concatenate([graph.pairs[relevant], graph.pairs[relevant][:, ::-1]])
    lengths = np.tile(graph.lengths[relevant], 2)
    while len(ends):
        ready = waiting[ends[:, 0]] & owned[ends[:, 1]]
        if not ready.any():
            break
        faces, ids = _heaviest(ends[ready, 0], result[ends[ready, 1]], lengths[ready])
        result[faces] = ids
        waiting[faces] = False
        owned[faces] = True
        keep = waiting[ends[:, 0]]
        ends, lengths = ends[keep], lengths[keep]
    return result


def assign_selected(mesh: bpy.types.Mesh, part_id: int) -> int:
    """Put the selected faces into a part; faces of locked parts stay. Returns how many moved."""
    _check_unlocked(mesh, part_id)
    chosen = _movable_selection(mesh)
    part_ids = read_part_ids(mesh)
    part_ids[chosen] = part_id
    write_part_ids(mesh, part_ids)
    set_active_part(mesh, part_id)
    return int(chosen.sum())


def new_part_from_selected(mesh: bpy.types.Mesh, name: str = "") -> int:
    """Make a part of the selected faces; faces of locked parts stay. Returns its id."""
    chosen = _movable_selection(mesh)
    part_ids = read_part_ids(mesh)
    (part_id,) = free_ids(np.unique(part_ids).tolist(), 1)
    part_ids[chosen] = part_id
    forget_retired(mesh, {part_id})
    write_part_ids(mesh, part_ids)
    if name:
        get_part(mesh, part_id).name = name
    set_active_part(mesh, part_id)
    return part_id


def clear_parts(mesh: bpy.types.Mesh) -> None:
    """Forget all parts, locked ones as well."""
    for name in (PART_ATTRIBUTE, MEMORY_ATTRIBUTE):
        attribute = mesh.attributes.get(name)
        if attribute is not None:
            mesh.attributes.remove(attribute)
    mesh.partsam.parts.clear()
    mesh.partsam.retired.clear()
    mesh.partsam.active_index = 0


def _check_unlocked(mesh: bpy.types.Mesh, part_id: int) -> None:
    part = get_part(mesh, part_id)
    if part.locked:
        raise PromptError(f'"{part.name}" is locked; unlock it first')


def _movable_selection(mesh: bpy.types.Mesh) -> BoolArray:
    selected = polygon_flags(mesh, "select")
    if not selected.any():
        raise PromptError("No faces are selected; select some in Edit mode")
    movable = selected & ~np.isin(read_part_ids(mesh), locked_ids(mesh))
    if not movable.any():
        raise PromptError("All selected faces belong to locked parts; unlock them first")
    return movable


def _heaviest(faces: IntArray, ids: IntArray, weights: np.ndarray) -> tuple[IntArray, IntArray]:
    """Each face once, with the id of the largest weight sum; ties go to the smaller id."""
    order = np.lexsort((ids, faces))
    faces, ids, weights = faces[order], ids[order], weights[order]
    starts = np.flatnonzero(np.r_[True, (faces[1:] != faces[:-1]) | (ids[1:] != ids[:-1])])
    totals = np.add.reduceat(weights, starts)
    faces, ids = faces[starts], ids[starts]
    best = np.lexsort((ids, -totals, faces))
    faces, ids = faces[best], ids[best]
    first = np.r_[True, faces[1:] != faces[:-1]]
    return faces[first], ids[first]


def _nearest_ids(mesh: bpy.types.Mesh, faces: IntArray, part_ids: IntArray, receivers: BoolArray) -> IntArray:
    """For each of `faces` the part of the nearest receiver, by face centre; UNASSIGNED without any."""
    owners = np.flatnonzero(receivers)
    if len(faces) == 0 or len(owners) == 0:
        return np.full(len(faces), UNASSIGNED, dtype=np.int32)
    centers = polygon_centers(mesh)
    tree = KDTree(len(owners))
    for index in owners.tolist():
        tree.insert(centers[index], index)
    tree.balance()
    return part_ids[[tree.find(centers[index])[1] for index in faces.tolist()]]
