# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether objects stand apart in space, as copies of a thing do, or touch, as the halves of one do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...backend.geometry import Mesh
from .arrays import FloatArray, IntArray
from .box_trees import plant

CLOSE = 0.01
"""What comes so close touches: a share of the diagonal of the smaller mesh."""


def stand_apart(meshes: Sequence[Mesh]) -> bool:
    """Whether no two of `meshes`, copies of one thing that lie in one space, touch or cross.

    They have the same triangles, and some area.
    """
    low = np.array([mesh.vertices.min(axis=0) for mesh in meshes])
    high = np.array([mesh.vertices.max(axis=0) for mesh in meshes])
    close = CLOSE * np.linalg.norm(high - low, axis=1)
    left, right = _meeting_boxes(low, high, close)
    if not len(left):
        return True
    used = np.unique(np.concatenate([left, right]))
    trees = plant([meshes[index] for index in used.tolist()])
    limits = np.minimum(close[left], close[right])
    return not trees.any_closer(np.searchsorted(used, left), np.searchsorted(used, right), limits)


def _meeting_boxes(low: FloatArray, high: FloatArray, close: FloatArray) -> tuple[IntArray, IntArray]:
    """The pairs of boxes [M, 3] that come closer than `close` [M] of either, int64 [K] twice."""
    pairs = []
    for index in range(len(low) - 1):
        gap = np.maximum(low[index] - high[index + 1 :], low[index + 1 :] - high[index]).max(axis=1)
        later = np.flatnonzero(gap < np.minimum(close[index], close[index + 1 :])) + index + 1
        pairs.append(np.stack([np.full(len(later), index), later]))
    left, right = np.concatenate(pairs, axis=1)
    return left, right
