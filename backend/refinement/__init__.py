# SPDX-License-Identifier: GPL-3.0-or-later
"""From rough labels to clean ones: the face graph, the graph cut, and the removal of islands."""

from .face_graph import FaceGraph, build_face_graph

__all__ = ["FaceGraph", "build_face_graph"]
