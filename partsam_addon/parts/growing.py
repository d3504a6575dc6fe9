# SPDX-License-Identifier: GPL-3.0-or-later
"""Giving faces to the parts around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import bpy
import numpy as np
from mathutils.kdtree import KDTree

from ..mesh_exchange.arrays import BoolArray, FloatArray, IntArray
from ..mesh_exchange.elements import element_centers
from .palette import UNASSIGNED
from .polygon_graph import PolygonGraph, build_polygon_graph

_FEW = 8
"""So few points are looked up one by one."""

_FAR = 1e18
"""Places beyond it have no squared distances in 32 bits."""


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
    result = np.full(len(faces), UNASSIGNED, dtype=np.int32)
    if len(faces) == 0 or len(owners) == 0:
        return result
    # What is not finite lies at the origin: no place is near it.
    centers = np.nan_to_num(element_centers(mesh), posinf=0.0, neginf=0.0)
    centers[np.abs(centers).max(axis=1) > _FAR] = 0.0
    trees = {
        part_id: _tree(centers[owners[part_ids[owners] == part_id]])
        for part_id in np.unique(part_ids[owners]).tolist()
    }
    points = centers[faces]
    # A search for each point is slow where the receivers are far, so whole boxes of points are answered.
    boxes = [(np.arange(len(faces)), list(trees))]
    while boxes:
        rows, near = boxes.pop()
        low, high = points[rows].min(axis=0), points[rows].max(axis=0)
        middle, reach = (low + high) / 2, float(np.linalg.norm(high - low)) / 2
        distances = np.array([trees[part_id].find(middle)[2] for part_id in near])
        # 1e-6: the trees hold 32 bits.
        within = distances <= distances.min() * (1 + 1e-6) + 2 * reach
        near = [part_id for part_id, is_near in zip(near, within.tolist(), strict=True) if is_near]
        if len(near) == 1 or reach == 0:
            result[rows] = near[0] if len(near) == 1 else _nearest(trees, near, middle)
        elif len(rows) <= _FEW:
            result[rows] = [_nearest(trees, near, point) for point in points[rows].tolist()]
        else:
            order = np.argpartition(points[rows, np.argmax(high - low)], len(rows) // 2)
            boxes += [(rows[half], near) for half in np.array_split(order, [len(rows) // 2])]
    return result


def _nearest(trees: Mapping[int, KDTree], part_ids: Sequence[int], point: Sequence[float]) -> int:
    return min(part_ids, key=lambda part_id: trees[part_id].find(point)[2])


def _tree(points: FloatArray) -> KDTree:
    tree = KDTree(len(points))
    for index, point in enumerate(points.tolist()):
        tree.insert(point, index)
    tree.balance()
    return tree
