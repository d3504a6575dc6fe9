# SPDX-License-Identifier: GPL-3.0-or-later
"""One part per site, and what is behind each part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..geometry.mesh import IntArray
from .part_tree import PartTree


@dataclass(frozen=True)
class Partition:
    """One label per site.

    labels: int32 [S], 0 .. P-1, from the largest part to the smallest
    masks: int [P], the mask behind each part; K and above for what no mask covers
    nodes: int [P], the tree's node of each part; empty without a tree
    """

    labels: IntArray
    masks: IntArray
    nodes: IntArray

    @property
    def count(self) -> int:
        return len(self.masks)


def tree_partition(tree: PartTree, owners: IntArray) -> Partition:
    """The partition whose atoms show the nodes `owners` int [A]."""
    nodes, of_atom = np.unique(owners, return_inverse=True)
    areas = np.bincount(of_atom, tree.areas)
    order = np.argsort(-areas, kind="stable")
    label = np.empty(len(nodes), dtype=np.int32)
    label[order] = np.arange(len(nodes), dtype=np.int32)
    return Partition(label[of_atom][tree.atoms], tree.masks[nodes[order]], nodes[order])
