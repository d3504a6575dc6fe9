# SPDX-License-Identifier: GPL-3.0-or-later
"""Faces that no mask wants: connected pieces of them are parts in their own right."""

from __future__ import annotations

import numpy as np

from ..geometry.mesh import IntArray
from ..refinement.face_graph import FaceGraph, connected_faces


def split_remainder(graph: FaceGraph, labels: IntArray, rest: int, *, least_share: float) -> IntArray:
    """Give each large connected piece of the remainder a label of its own.

    Without this the hat, an arm and a boot that no mask covers would be one part.

    labels: int [F]; rest: the label of the remainder, above all others
    least_share: pieces with a smaller share of the area keep the label `rest`
    returns: int64 [F], pieces numbered rest + 1, rest + 2, ... by their first face
    """
    inside = labels == rest
    edges = graph.edges[inside[graph.edges].all(axis=1)]
    pieces = connected_faces(graph.face_count, edges)
    areas = np.bincount(pieces[inside], weights=graph.face_areas[inside], minlength=pieces.max() + 1)
    large = areas >= least_share * graph.face_areas.sum()
    numbers = np.where(large, rest + np.cumsum(large), rest)
    return np.where(inside, numbers[pieces], labels)
