# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether objects stand apart in space, as copies of a thing do, or touch, as the halves of one do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

from ...backend.geometry import Mesh, sample_surface
from .arrays import BoolArray, FloatArray

CLOSE = 0.01
"""What comes so close touches: a share of the diagonal of the smaller mesh."""

_SAMPLES = 8192
"""Points of each surface: two that meet along an edge have dozens of pairs so close to each other."""

_MIXERS = np.array([73856093, 19349663, 83492791], dtype=np.int64)


def stand_apart(meshes: Sequence[Mesh]) -> bool:
    """Whether no two of `meshes`, which have area and lie in one space, touch or cross.

    Meshes of about one size are looked at together, with what larger ones have beside them.
    """
    low = np.array([mesh.vertices.min(axis=0) for mesh in meshes])
    high = np.array([mesh.vertices.max(axis=0) for mesh in meshes])
    sizes = np.linalg.norm(high - low, axis=1)
    octaves = np.floor(np.log2(sizes / sizes.min()))
    for octave in np.unique(octaves).tolist():
        close = CLOSE * float(sizes[octaves == octave].min())
        meets = _meeting_boxes(low, high, close, octaves == octave, octaves >= octave)
        whole = np.flatnonzero(meets.any(axis=1) & (octaves == octave)).tolist()
        surfaces = [(index, meshes[index]) for index in whole]
        for larger in np.flatnonzero(octaves > octave).tolist():
            beside = np.flatnonzero(meets[:, larger])
            surfaces += [
                (larger, piece) for piece in _near(meshes[larger], low[beside] - close, high[beside] + close)
            ]
        if surfaces and _come_close(surfaces, close):
            return False
    return True


def _meeting_boxes(
    low: FloatArray, high: FloatArray, close: float, rows: BoolArray, columns: BoolArray
) -> BoolArray:
    """Which boxes [N, 3] of `rows` come closer than `close` to another one of `columns`, bool [N, N]."""
    meets = np.zeros((len(low), len(low)), dtype=bool)
    for index in np.flatnonzero(rows).tolist():
        meets[index] = ((low <= high[index] + close) & (high >= low[index] - close)).all(axis=1) & columns
        meets[index, index] = False
    return meets


def _near(mesh: Mesh, low: FloatArray, high: FloatArray) -> Iterator[Mesh]:
    """The surface of `mesh` in or near each of the boxes [K, 3], in triangles no larger than the box; nothing
    where none is there.
    """
    corners = mesh.corners() if len(low) else np.zeros((0, 3, 3))
    least, most = corners.min(axis=1), corners.max(axis=1)
    for bottom, top in zip(low, high, strict=True):
        there = corners[((least <= top) & (most >= bottom)).all(axis=1)]
        limit, found = float(np.linalg.norm(top - bottom)), [np.zeros((0, 3, 3))]
        while len(there):
            small = np.ptp(there, axis=1).max(axis=1) <= limit
            found.append(there[small])
            there = _quartered(there[~small])
            there = there[((there.min(axis=1) <= top) & (there.max(axis=1) >= bottom)).all(axis=1)]
        points = np.concatenate(found).reshape(-1, 3)
        piece = Mesh(points, np.arange(len(points), dtype=np.int32).reshape(-1, 3))
        if piece.problem is None:
            yield piece


def _quartered(corners: FloatArray) -> FloatArray:
    """Each of the triangles [T, 3, 3] as four, [4 T, 3, 3]."""
    middles = (corners + np.roll(corners, -1, axis=1)) / 2
    at_corners = [np.stack([corners[:, k], middles[:, k], middles[:, k - 1]], axis=1) for k in range(3)]
    return np.concatenate([middles, *at_corners])


def _come_close(surfaces: Sequence[tuple[int, Mesh]], close: float) -> bool:
    """Whether points of surfaces of different owners are about so close to each other.

    Two such points share a cell of at least one of eight shifted grids. Cells are told apart by a hash.
    """
    points = np.concatenate([sample_surface(mesh, _SAMPLES).points for _, mesh in surfaces])
    owners = np.repeat([owner for owner, _ in surfaces], _SAMPLES)
    scaled = points / (2 * close)
    for shift in product((0.0, 0.5), repeat=3):
        keys = (np.floor(scaled + shift).astype(np.int64) * _MIXERS).sum(axis=1)
        order = np.argsort(keys, kind="stable")
        keys, sorted_owners = keys[order], owners[order]
        if ((keys[1:] == keys[:-1]) & (sorted_owners[1:] != sorted_owners[:-1])).any():
            return True
    return False
