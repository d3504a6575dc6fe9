# SPDX-License-Identifier: GPL-3.0-or-later
"""From rough labels to clean ones: the face graph, the graph cut, and the removal of islands."""

from .face_graph import FaceGraph, build_face_graph
from .graph_cut import refine_labels, refine_labels_published
from .islands import connect_labels, dissolve_islands, dissolve_small_regions, number_regions

__all__ = [
    "FaceGraph",
    "build_face_graph",
    "connect_labels",
    "dissolve_islands",
    "dissolve_small_regions",
    "number_regions",
    "refine_labels",
    "refine_labels_published",
]
