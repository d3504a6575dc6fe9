# SPDX-License-Identifier: GPL-3.0-or-later
"""A bone for each part of a tree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..mesh_exchange.arrays import FloatArray
from .part_shapes import PartShape
from .part_tree import PartTree

ROUND = 0.9
"""Parts whose two longest axes are this close have no main axis: their bone points away from the joint."""

UP = np.array([0.0, 0.0, 1.0])


@dataclass(frozen=True)
class Bone:
    """Head and tail, float64 [3], and the part whose bone is the parent."""

    head: FloatArray
    tail: FloatArray
    parent: int | None


def lay_bones(shapes: dict[int, PartShape], tree: PartTree) -> dict[int, Bone]:
    """A bone through the centre of each part along its main axis, from end to end.

    Its head is at the end next to the parent; the root's is the lower end.
    """
    size = np.max([s.high for s in shapes.values()], axis=0) - np.min(
        [s.low for s in shapes.values()], axis=0
    )
    shortest = 1e-3 * float(np.linalg.norm(size))
    bones = {}
    for part in tree.order:
        joint = tree.joints.get(part)
        head, tail = _ends(shapes[part], joint, shortest)
        bones[part] = Bone(head, tail, tree.parents[part])
    return bones


def _ends(shape: PartShape, joint: FloatArray | None, shortest: float) -> tuple[FloatArray, FloatArray]:
    axis = _main_axis(shape, joint)
    along = (shape.points - shape.center) @ axis
    low, high = float(along.min()), float(along.max())
    if high - low < shortest:
        low, high = -shortest / 2, shortest / 2
    ends = shape.center + low * axis, shape.center + high * axis
    if joint is None:
        return ends if ends[0] @ UP <= ends[1] @ UP else ends[::-1]
    near, far = sorted(ends, key=lambda end: float(np.linalg.norm(end - joint)))
    return near, far


def _main_axis(shape: PartShape, joint: FloatArray | None) -> FloatArray:
    away = UP if joint is None else shape.center - joint
    length = float(np.linalg.norm(away))
    is_round = shape.spread[1] > ROUND * shape.spread[0]
    if is_round and length > 1e-6 * (1 + float(np.abs(shape.center).max())):
        return away / length
    return shape.axes[0]
