# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of one mesh on another that has the same shape with other faces."""

from __future__ import annotations

import bpy
import numpy as np
from mathutils import Matrix, Vector
from mathutils.bvhtree import BVHTree

from ..mesh_exchange.arrays import IntArray, polygon_centers, vertex_positions
from .attributes import read_part_ids
from .labeling import KEEP, write_labels
from .palette import UNASSIGNED
from .table import get_part

_LIFT = 0.01
"""Share of the diagonal by which a face asks from in front of itself: the back of a sheet is farther then."""


def transfer_parts(
    source: bpy.types.Object, target: bpy.types.Object, *, placed: Matrix | None = None
) -> int:
    """Give every polygon of `target` the part of the nearest polygon of `source`; how many parts it got.

    placed: from the target's space into the source's; None takes the objects' places in the world.
    Names, colors and locks travel. Polygons that are nearest to a face without a part keep theirs, and
    so do those of the target's locked parts. Neither object may be in Edit mode.
    """
    matrix = source.matrix_world.inverted_safe() @ target.matrix_world if placed is None else placed
    nearest = _nearest_polygons(source.data, target.data, matrix)
    part_ids = read_part_ids(source.data)
    known = [part.part_id for part in source.data.partsam.parts if part.part_id != UNASSIGNED]
    label_of = np.full(max([0, *known, int(part_ids.max(initial=0))]) + 1, KEEP, dtype=np.int32)
    label_of[known] = np.arange(len(known))
    given = write_labels(target.data, label_of[part_ids[nearest]], by_hand=True)
    for label, part_id in given.items():
        if label == KEEP:
            continue
        old, new = get_part(source.data, known[label]), get_part(target.data, part_id)
        new.name, new.color, new.confidence = old.name, old.color, old.confidence
    for label, part_id in given.items():
        if label != KEEP:
            get_part(target.data, part_id).locked = get_part(source.data, known[label]).locked
    return len(given)


def _nearest_polygons(source: bpy.types.Mesh, target: bpy.types.Mesh, matrix: Matrix) -> IntArray:
    """The polygon of `source` nearest to each of `target`, on the same side of thin sheets, int32 [P]."""
    positions = vertex_positions(source)
    tree = BVHTree.FromPolygons(positions.tolist(), [tuple(p.vertices) for p in source.polygons])
    centers = _transformed(polygon_centers(target), matrix)
    normals = np.empty(3 * len(target.polygons), dtype=np.float32)
    target.polygons.foreach_get("normal", normals)
    turn = np.array(matrix.to_3x3().inverted_safe().transposed(), dtype=np.float64)
    outward = normals.reshape(-1, 3) @ turn.T
    length = np.linalg.norm(outward, axis=1, keepdims=True)
    outward = np.divide(outward, length, out=np.zeros_like(outward), where=length > 0)
    lift = _LIFT * float(np.linalg.norm(np.ptp(positions, axis=0)))
    found = [tree.find_nearest(Vector(point))[2] for point in (centers + lift * outward).tolist()]
    return np.array([0 if index is None else index for index in found], dtype=np.int32)


def _transformed(points: np.ndarray, matrix: Matrix) -> np.ndarray:
    values = np.array(matrix, dtype=np.float64)
    return points @ values[:3, :3].T + values[:3, 3]
