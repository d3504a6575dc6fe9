# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether objects stand apart in space, as copies of a thing do, or touch, as the halves of one do."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

from ...backend.geometry import Mesh, sample_surface
from .arrays import BoolArray, FloatArray

CLOSE = 0.01
"""What comes so close touches: a share of the diagonal of the smallest mesh."""

_SAMPLES = 8192
"""Points of each surface: two that meet along an edge have dozens of pairs so close to each other."""

_MIXERS = np.array([73856093, 19349663, 83492791], dtype=np.int64)


def stand_apart(meshes: Sequence[Mesh]) -> bool:
    """Whether no two of `meshes`, which have area and lie in one space, touch or cross."""
    low = np.array([mesh.vertices.min(axis=0) for mesh in meshes])
    high = np.array([mesh.vertices.max(axis=0) for mesh in meshes])
    close = CLOSE * float(np.linalg.norm(high - low, axis=1).min())
    doubtful = np.flatnonzero(_boxes_meet(low, high, close)).tolist()
    if not doubtful:
        return True
    points = [sample_surface(meshes[index], _SAMPLES).points for index in doubtful]
    owners = np.repeat(doubtful, _SAMPLES)
    return not _come_close(np.concatenate(points), owners, close)


def _boxes_meet(low: FloatArray, high: FloatArray, close: float) -> BoolArray:
    """Which boxes [N, 3] come closer than `close` to another one, bool [N]."""
    meets = np.zeros(len(low), dtype=bool)
    for index in range(len(low)):
        near = ((low <= high[index] + close) & (high >= low[index] - close)).all(axis=1)
        near[index] = False
        meets[index] = near.any()
    return meets


def _come_close(points: FloatArray, owners: np.ndarray, close: float) -> bool:
    """Whether points float64 [K, 3] of different owners, int [K], are about so close to each other.

    Two such points share a cell of at least one of eight shifted grids. Cells are told apart by a hash.
    """
    scaled = points / (2 * close)
    for shift in product((0.0, 0.5), repeat=3):
        keys = (np.floor(scaled + shift).astype(np.int64) * _MIXERS).sum(axis=1)
        order = np.argsort(keys, kind="stable")
        keys, sorted_owners = keys[order], owners[order]
        if ((keys[1:] == keys[:-1]) & (sorted_owners[1:] != sorted_owners[:-1])).any():
            return True
    return False
