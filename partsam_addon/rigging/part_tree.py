# SPDX-License-Identifier: GPL-3.0-or-later
"""Which part hangs on which: a tree over touching parts from a chosen root."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from ..mesh_exchange.arrays import FloatArray
from .part_shapes import PartShape, closest_points


@dataclass(frozen=True)
class Border:
    """Where two parts meet: the length of the common border and its centre, float64 [3]."""

    length: float
    center: FloatArray


@dataclass(frozen=True)
class PartTree:
    """Parts in breadth-first order from the root, the parent of each, and where they meet.

    parents: part -> parent, None for the root; joints: part -> float64 [3], centre of the border
    loose: parts that touch nothing that was reached before; their joint lies midway to the nearest part
    """

    order: list[int]
    parents: dict[int, int | None]
    joints: dict[int, FloatArray]
    loose: set[int]


def build_tree(shapes: dict[int, PartShape], borders: dict[tuple[int, int], Border], root: int) -> PartTree:
    """Breadth-first tree over touching parts, longer borders first; ties by number.

    Parts that touch nothing that is reached (loose shells) hang on the nearest part that is.
    """
    neighbors: dict[int, list[tuple[float, int]]] = {part: [] for part in shapes}
    for (a, b), border in borders.items():
        neighbors[a].append((-border.length, b))
        neighbors[b].append((-border.length, a))
    tree = PartTree([], {root: None}, {}, set())
    waiting = deque([root])
    while waiting or len(tree.order) < len(shapes):
        if not waiting:
            waiting.append(_attach_nearest(tree, shapes))
        part = waiting.popleft()
        tree.order.append(part)
        for _, other in sorted(neighbors[part]):
            if other not in tree.parents:
                tree.parents[other] = part
                tree.joints[other] = borders[min(part, other), max(part, other)].center
                waiting.append(other)
    return tree


def _attach_nearest(tree: PartTree, shapes: dict[int, PartShape]) -> int:
    """Hang the unreached part that is nearest to a reached one on it; the part."""
    samples = int(np.clip(1600 / np.sqrt(len(shapes)), 24, 240))
    missing = [part for part in sorted(shapes) if part not in tree.parents]
    found = [
        (*closest_points(shapes[part], shapes[other], samples=samples), part, other)
        for part in missing
        for other in tree.order
    ]
    _, joint, part, parent = min(found, key=lambda entry: (entry[0], entry[2], entry[3]))
    tree.parents[part], tree.joints[part] = parent, joint
    tree.loose.add(part)
    return part
