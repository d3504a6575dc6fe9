# SPDX-License-Identifier: GPL-3.0-or-later
"""Which part lies in which: the tree of one partition, for files and for people."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .part_tree import PartTree
from .partition import Partition


@dataclass(frozen=True)
class ContainmentNode:
    """A part, or a group of parts that belong together.

    parent: index of the group that it lies in; None for the outermost, which is the whole shape
    part: the label of a part; None for a group
    area: share of the surface
    """

    parent: int | None
    part: int | None
    area: float


def containment(tree: PartTree | None, partition: Partition) -> list[ContainmentNode]:
    """The parts of a partition and the groups around them, groups before what lies in them.

    Groups are nodes of the part tree that hold at least two parts wholly, and not the same as another
    group. What a part was given beyond its own node does not count, unless it is most of it. Without a tree
    all parts lie in the whole shape.
    """
    sizes = [1 / max(partition.count, 1)] * partition.count
    if tree is None:
        return [ContainmentNode(None, None, 1.0)] + [
            ContainmentNode(0, part, size) for part, size in enumerate(sizes)
        ]
    of_atom = np.zeros(len(tree.areas), dtype=np.int64)
    of_atom[tree.atoms] = partition.labels
    parts = np.arange(partition.count)[:, None] == of_atom  # [P, A]
    own = parts & tree.inside[partition.nodes]
    mostly = own.any(axis=1) & (own @ tree.areas >= parts @ tree.areas / 2)
    own = np.where(mostly[:, None], own, parts)
    held = ~(own @ (~tree.inside).T.astype(np.float32)).astype(bool)  # [P, T]: part wholly in node
    groups: list[int] = [0]
    for node in range(1, len(tree.parents)):  # parents come before their children
        same = [group for group in groups if (held[:, group] == held[:, node]).all()]
        if held[:, node].sum() > 1 and not same:
            groups.append(node)
    found = []
    for number, group in enumerate(groups):
        around = [n for n in range(number) if held[held[:, group], groups[n]].all()]
        area = float(tree.areas[parts[held[:, group]].any(axis=0)].sum())
        found.append(ContainmentNode(around[-1] if around else None, None, area))
    for part in range(partition.count):
        innermost = max(number for number, group in enumerate(groups) if held[part, group])
        found.append(ContainmentNode(innermost, part, float(tree.areas[parts[part]].sum())))
    return found
