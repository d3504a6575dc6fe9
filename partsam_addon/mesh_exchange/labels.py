# SPDX-License-Identifier: GPL-3.0-or-later
"""Labels of the backend's triangles back onto Blender's polygons."""

from __future__ import annotations

import bpy
import numpy as np
from mathutils.kdtree import KDTree

from .arrays import IntArray, polygon_centers
from .shape import MeshSource

UNLABELED = -1


def labels_of_polygons(source: MeshSource, triangle_labels: IntArray) -> IntArray:
    """Each polygon's label by the area of its triangles, int32 [P]; ties go to the smaller label.

    triangle_labels: int [T], the run of `source` (see ShapeData.split). Polygons without a triangle
    (not selected, or removed by a modifier) get UNLABELED.
    """
    if np.array_equal(source.triangle_polygons, np.arange(source.polygon_count)):
        return np.array(triangle_labels, dtype=np.int32)  # every polygon is a triangle
    known = source.triangle_polygons >= 0
    polygons, labels = source.triangle_polygons[known], np.asarray(triangle_labels)[known]
    areas = source.triangle_areas[known].astype(np.float64)
    result = np.full(source.polygon_count, UNLABELED, dtype=np.int32)
    result[polygons] = labels
    disputed = np.zeros(source.polygon_count, dtype=bool)
    disputed[polygons[result[polygons] != labels]] = True
    voting = disputed[polygons]
    if voting.any():
        winners, winning = _majority(polygons[voting], labels[voting], areas[voting])
        result[winners] = winning
    return result


def fill_unlabeled(mesh: bpy.types.Mesh, labels: IntArray) -> IntArray:
    """Give polygons without a label that of the nearest polygon with one (by polygon centre)."""
    missing = np.flatnonzero(labels == UNLABELED)
    present = np.flatnonzero(labels != UNLABELED)
    if len(missing) == 0 or len(present) == 0:
        return labels
    centers = polygon_centers(mesh)
    tree = KDTree(len(present))
    for index in present.tolist():
        tree.insert(centers[index], index)
    tree.balance()
    filled = labels.copy()
    filled[missing] = labels[[tree.find(centers[index])[1] for index in missing.tolist()]]
    return filled


def _majority(polygons: IntArray, labels: IntArray, areas: np.ndarray) -> tuple[IntArray, IntArray]:
    """The polygons [K] among `polygons` and the label of the largest area in each [K]."""
    order = np.lexsort((labels, polygons))
    polygons, labels, areas = polygons[order], labels[order], areas[order]
    starts = np.flatnonzero(np.r_[True, (polygons[1:] != polygons[:-1]) | (labels[1:] != labels[:-1])])
    totals = np.add.reduceat(areas, starts)
    polygons, labels = polygons[starts], labels[starts]
    best = np.lexsort((labels, -totals, polygons))  # by polygon, then the largest area, then the label
    polygons, labels = polygons[best], labels[best]
    first = np.r_[True, polygons[1:] != polygons[:-1]]
    return polygons[first], labels[first]
