# SPDX-License-Identifier: GPL-3.0-or-later
"""Connected pieces of one label that are parts in their own right.

Two arms that one mask covers are two parts, and so are the hat and the boot that no mask wants. What
leaked onto a neighbour is not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..geometry.mesh import IntArray
from ..refinement.face_graph import FaceGraph, connected_faces
from ..refinement.islands import number_regions

PIECES = 1 << 20
"""Piece `p` of label `l` is written l * PIECES + p; there are never more faces than that to a label."""


@dataclass(frozen=True)
class PieceSettings:
    """Which connected pieces of a label become parts.

    from_granularity: below it none do: a coarse view shows groups as the masks have them
    least_share: of the shape's area
    least_ratio: of the area of the label's largest piece, for pieces that are not most of a shell
    """

    from_granularity: float = 0.4
    least_share: float = 0.001
    least_ratio: float = 0.1


def split_pieces(graph: FaceGraph, labels: IntArray, settings: PieceSettings) -> IntArray:
    """Number the connected pieces of each label.

    labels: int [F]
    Returns int64 [F], label * PIECES + piece. The largest piece of a label and all that are no parts of
    their own are piece 0, the others follow by area, then by first face.
    """
    edges = graph.edges[~graph.is_link]
    region = number_regions(graph.face_count, edges, labels)
    areas = np.bincount(region, graph.face_areas)
    of_region = np.zeros(len(areas), dtype=np.int64)
    of_region[region] = labels
    order = np.lexsort([np.arange(len(areas)), -areas, of_region])
    first = np.concatenate([[True], np.diff(of_region[order]) != 0])
    largest = np.zeros(len(areas))
    largest[order] = areas[order][first][np.cumsum(first) - 1]
    whole = _whole_shells(region, graph)
    own = areas >= settings.least_share * graph.face_areas.sum()
    own &= whole | (areas >= settings.least_ratio * largest)
    own[order[first]] = False
    # Number the pieces within each label, in the order of their areas.
    running = np.cumsum(own[order])
    before = running[first] - own[order][first]
    piece = np.zeros(len(areas), dtype=np.int64)
    piece[order] = np.where(own[order], running - before[np.cumsum(first) - 1], 0)
    return (of_region * PIECES + piece)[region]


def split_remainder(graph: FaceGraph, labels: IntArray, rest: int, *, least_share: float) -> IntArray:
    """Give each large connected piece of the remainder a label of its own.

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


def _whole_shells(region: IntArray, graph: FaceGraph) -> np.ndarray:
    """bool [R]: regions that are more than half of their shell. (A region never spans two.)"""
    shell_of = np.zeros(int(region.max()) + 1, dtype=np.int64)
    shell_of[region] = graph.shells
    shell_areas = np.bincount(graph.shells, graph.face_areas)
    return np.bincount(region, graph.face_areas) > 0.5 * shell_areas[shell_of]
