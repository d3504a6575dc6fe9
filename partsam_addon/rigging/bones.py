# SPDX-License-Identifier: GPL-3.0-or-later
"""A bone for each part of a tree, from joint to joint."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..mesh_exchange.arrays import FloatArray
from .part_shapes import PartShape
from .part_tree import PartTree

ROUND = 0.9
"""Parts whose two longest axes are this close have no main axis: their bone points away from the joint."""

REACH = 0.35
"""A bone ends amid the joints of its children if they lie this far from its head, relative to the part."""

UP = np.array([0.0, 0.0, 1.0])


@dataclass(frozen=True)
class Bone:
    """Head and tail, float64 [3], and the part whose bone is the parent."""

    head: FloatArray
    tail: FloatArray
    parent: int | None


def lay_bones(shapes: dict[int, PartShape], tree: PartTree, *, up: FloatArray = UP) -> dict[int, Bone]:
    """A bone for each part, parents first.

    It starts at the joint with the parent (the middle of their border) and ends at the joint with the
    only child, amid those of several children, or at the far end of the part. The root's goes from its
    lower end to the upper one, along `up` [3]. A loose shell, which touches
    nothing, has its bone from end to end.
    """
    size = np.max([s.high for s in shapes.values()], axis=0) - np.min(
        [s.low for s in shapes.values()], axis=0
    )
    shortest = 1e-3 * float(np.linalg.norm(size))
    children: dict[int, list[int]] = {part: [] for part in tree.order}
    for part, parent in tree.parents.items():
        if parent is not None:
            children[parent].append(part)
    bones: dict[int, Bone] = {}
    for part in tree.order:
        joint = tree.joints.get(part)
        beyond = [tree.joints[child] for child in children[part] if child not in tree.loose]
        if part in tree.loose:
            head, tail = _axis_ends(shapes[part], joint, up, shortest)
        else:
            head, tail = _ends(shapes[part], joint, beyond, up, shortest)
        bones[part] = Bone(head, tail, tree.parents[part])
    return bones


def _ends(
    shape: PartShape, joint: FloatArray | None, beyond: list[FloatArray], up: FloatArray, shortest: float
) -> tuple[FloatArray, FloatArray]:
    """Head and tail; joint: with the parent, beyond: with the children."""
    near, far = _axis_ends(shape, joint, up, shortest)
    if joint is None:
        if len(beyond) != 1 or float(np.linalg.norm(beyond[0] - near)) < shortest:
            return near, far
        return max((near, far), key=lambda end: float(np.linalg.norm(end - beyond[0]))), beyond[0]
    if beyond:
        middle = np.mean(beyond, axis=0)
        needed = shortest if len(beyond) == 1 else REACH * float(np.linalg.norm(far - near))
        if float(np.linalg.norm(middle - joint)) > needed:
            return joint, middle
    return (joint, far) if float(np.linalg.norm(far - joint)) > shortest else (near, far)


def _axis_ends(
    shape: PartShape, joint: FloatArray | None, up: FloatArray, shortest: float
) -> tuple[FloatArray, FloatArray]:
    """The ends of the part along its axis through its centre: next to the joint, and far from it."""
    axis = _main_axis(shape, joint, up)
    along = (shape.points - shape.center) @ axis
    low, high = float(along.min()), float(along.max())
    if high - low < shortest:
        low, high = -shortest / 2, shortest / 2
    ends = shape.center + low * axis, shape.center + high * axis
    if joint is None:
        return ends if ends[0] @ up <= ends[1] @ up else ends[::-1]
    near, far = sorted(ends, key=lambda end: float(np.linalg.norm(end - joint)))
    return near, far


def _main_axis(shape: PartShape, joint: FloatArray | None, up: FloatArray) -> FloatArray:
    away = up if joint is None else shape.center - joint
    length = float(np.linalg.norm(away))
    is_round = shape.spread[1] > ROUND * shape.spread[0]
    if is_round and length > 1e-6 * (1 + float(np.abs(shape.center).max())):
        return away / length
    return shape.axes[0]
