# SPDX-License-Identifier: GPL-3.0-or-later
"""Giving faces to the parts around them."""

from __future__ import annotations

import bpy
import numpy as np
from mathutils.kdtree import KDTree

from ..mesh_exchange.arrays import BoolArray, IntArray
from ..mesh_exchange.elements import element_centers
from .palette import UNASSIGNED
from .polygon_graph import PolygonGraph, build_polygon_graph


def give_to_neighbors(
    mesh: bpy.types.Mesh, part_ids: IntArray, doomed: BoolArray, receivers: BoolArray
) -> IntArray:
    """Part ids [P] after the faces in `doomed` [P] went to the parts of those in `receivers` [P].

    Ring by ring, each by the longest border; faces that touch no receiver go to the nearest one. Without
    any receiver they are UNASSIGNED. Not in Edit mode.
    """
    if not doomed.any():
        return part_ids.copy()
    result = grow_into(build_polygon_graph(mesh), np.where(doomed, UNASSIGNED, part_ids), doomed, receivers)
    left = np.flatnonzero(doomed & (result == UNASSIGNED))
    result[left] = _nearest_ids(mesh, left, part_ids, receivers)
    return result


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
    centers = element_centers(mesh)
    tree = KDTree(len(owners))
    for index in owners.tolist():
        tree.insert(centers[index], index)
    tree.balance()
    return part_ids[[tree.find(centers[index])[1] for index in faces.tolist()]]
