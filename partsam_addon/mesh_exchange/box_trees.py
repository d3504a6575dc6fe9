# SPDX-License-Identifier: GPL-3.0-or-later
"""Trees of boxes around the triangles of copies of a mesh, to find where the copies come close."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...backend.geometry import Mesh
from ...backend.geometry.canonical import morton
from .arrays import FloatArray, IntArray
from .triangle_gaps import any_closer, plane_comes_near

_CHILDREN = 8
_CELLS = 1024
"""Per axis: triangles are put in the order of a curve through so many cells of the mesh's box."""

_AT_ONCE = 1 << 15
"""Pairs that are looked at together: tens of megabytes, however many there are."""

_Pairs = tuple[IntArray, IntArray, FloatArray]
"""Two nodes or triangles each, and what is close for them: int64 [K], int64 [K], float64 [K]."""


@dataclass(frozen=True)
class BoxTrees:
    """The same tree for each of M copies of a mesh with V vertices and T triangles.

    vertices: float64 [M, V, 3]
    triangles: int32 [T, 3], neighbors in space beside each other
    low, high: float64 [M * N, 3], the boxes of the N nodes of each copy. The first ones hold runs of
        `_CHILDREN` triangles, and the further ones runs of nodes; the last is the root.
    first, count: int64 [N], the run of nodes, of triangles for the first ones, that a node holds
    """

    vertices: FloatArray
    triangles: IntArray
    low: FloatArray
    high: FloatArray
    first: IntArray
    count: IntArray

    def any_closer(self, left: IntArray, right: IntArray, limits: FloatArray) -> bool:
        """Whether the copies left[k] and right[k] come closer than limits[k] for any k, all [K].

        True also where they certainly come closer than twice that: it saves looking at small triangles.
        """
        root, size = len(self.first) - 1, len(self.first)
        runs = -(-len(self.triangles) // _CHILDREN)  # nodes that hold triangles
        waiting: list[_Pairs] = [(left * size + root, right * size + root, limits)]
        while waiting:
            one, other, limit = _some_of(waiting)
            low, high = self.low, self.high
            near, certain = _compared(low[one], high[one], low[other], high[other], limit)
            if certain:
                return True
            one, other, limit = one[near], other[near], limit[near]
            ends = (one % size < runs) & (other % size < runs)
            if self._triangles_closer(one[ends], other[ends], limit[ends]):
                return True
            if not ends.all():
                waiting.append(self._opened(one[~ends], other[~ends], limit[~ends]))
        return False

    def _opened(self, one: IntArray, other: IntArray, limit: FloatArray) -> _Pairs:
        """For each pair those with what the larger node holds; one of the two holds nodes."""
        runs = -(-len(self.triangles) // _CHILDREN)
        sizes = [_squares(self.high[node] - self.low[node]) for node in (one, other)]
        holds = [node % len(self.first) >= runs for node in (one, other)]
        swap = ~holds[0] | ((sizes[1] > sizes[0]) & holds[1])
        rows, inside = self._inside(np.where(swap, other, one))
        copies = np.where(swap, other, one)[rows] // len(self.first)
        return copies * len(self.first) + inside, np.where(swap, one, other)[rows], limit[rows]

    def _inside(self, nodes: IntArray) -> tuple[IntArray, IntArray]:
        """What `nodes` [K] hold: for each the row in `nodes`, and its place in the tree, int64 [C] twice."""
        local = nodes % len(self.first)
        counts = self.count[local]
        steps = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
        rows = np.repeat(np.arange(len(nodes)), counts)
        return rows, self.first[local][rows] + steps

    def _triangles_closer(self, one: IntArray, other: IntArray, limit: FloatArray) -> bool:
        """Whether triangles of a pair of nodes that hold some come close."""
        sizes = [_squares(self.high[node] - self.low[node]) for node in (one, other)]
        swap = sizes[1] > sizes[0]
        one, other = np.where(swap, other, one), np.where(swap, one, other)  # the larger first
        step = _AT_ONCE // _CHILDREN
        return any(
            self._some_triangles_closer(one[at : at + step], other[at : at + step], limit[at : at + step])
            for at in range(0, len(one), step)
        )

    def _some_triangles_closer(self, one: IntArray, other: IntArray, limit: FloatArray) -> bool:
        rows, inside = self._inside(one)
        large, other, limit = self._corners(one[rows], inside), other[rows], limit[rows]
        low, high = self.low[other], self.high[other]
        near, _ = _compared(*_box(large), low, high, limit)
        near = near[plane_comes_near(large[near], low[near], high[near], limit[near])]
        rows, inside = self._inside(other[near])
        rows, small = near[rows], self._corners(other[near[rows]], inside)
        large, limit = large[rows], limit[rows]
        near, certain = _compared(*_box(large), *_box(small), limit)
        return certain or any_closer(large[near], small[near], limit[near])

    def _corners(self, nodes: IntArray, triangles: IntArray) -> FloatArray:
        """Corners of the triangles in the copies that the nodes are of, float64 [K, 3, 3]."""
        return self.vertices[(nodes // len(self.first))[:, None], self.triangles[triangles]]


def plant(copies: Sequence[Mesh]) -> BoxTrees:
    """Trees over `copies`, which have the same triangles."""
    triangles = copies[0].triangles[_order(copies[0].corners())]
    first: list[IntArray] = []
    count: list[IntArray] = []
    held, below = len(triangles), 0  # of what is grouped; nodes before that
    while held > 1 or not first:
        starts = np.arange(0, held, _CHILDREN)
        first.append(starts + below)
        count.append(np.minimum(_CHILDREN, held - starts))
        below += held if len(first) > 1 else 0
        held = len(starts)
    bounds = [_bounds(mesh.vertices, triangles) for mesh in copies]
    return BoxTrees(
        vertices=np.stack([mesh.vertices for mesh in copies]),
        triangles=triangles,
        low=np.concatenate([low for low, _ in bounds]),
        high=np.concatenate([high for _, high in bounds]),
        first=np.concatenate(first),
        count=np.concatenate(count),
    )


def _bounds(vertices: FloatArray, triangles: IntArray) -> tuple[FloatArray, FloatArray]:
    """The boxes of the nodes of a copy, float64 [N, 3] twice."""
    low = high = np.ascontiguousarray(vertices.T)[:, triangles.ravel()]
    lows: list[FloatArray] = []
    highs: list[FloatArray] = []
    run = 3 * _CHILDREN
    while not lows or low.shape[1] > 1:
        starts = np.arange(0, low.shape[1], run)
        low, high = np.minimum.reduceat(low, starts, axis=1), np.maximum.reduceat(high, starts, axis=1)
        lows.append(low)
        highs.append(high)
        run = _CHILDREN
    return np.concatenate(lows, axis=1).T, np.concatenate(highs, axis=1).T


def _box(corners: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The boxes of triangles [K, 3, 3], float64 [K, 3] twice; much faster than a reduction over an axis."""
    first, second, third = corners[:, 0], corners[:, 1], corners[:, 2]
    low = np.minimum(np.minimum(first, second), third)
    return low, np.maximum(np.maximum(first, second), third)


def _order(corners: FloatArray) -> IntArray:
    """Triangles [T, 3, 3] along a Z-curve: neighbors in the list are neighbors in space, nearly always."""
    middles = corners.mean(axis=1)
    low = middles.min(axis=0)
    size = float(np.ptp(middles, axis=0).max()) or 1.0
    cells = ((middles - low) * ((_CELLS - 1) / size)).astype(np.int64)
    return np.argsort(morton(cells), kind="stable")


def _some_of(waiting: list[_Pairs]) -> _Pairs:
    """Take some pairs off the end of `waiting`."""
    one, other, limit = waiting.pop()
    if len(one) > _AT_ONCE:
        waiting.append((one[_AT_ONCE:], other[_AT_ONCE:], limit[_AT_ONCE:]))
    return one[:_AT_ONCE], other[:_AT_ONCE], limit[:_AT_ONCE]


def _compared(
    low: FloatArray, high: FloatArray, other_low: FloatArray, other_high: FloatArray, limits: FloatArray
) -> tuple[IntArray, bool]:
    """Which pairs of boxes [K, 3] are closer than their limit [K], int64; and whether there is one in which
    whatever is in one box comes closer than twice that to whatever is in the other."""
    gaps = np.maximum(np.maximum(low - other_high, other_low - high), 0.0)
    near = np.flatnonzero(_squares(gaps) < limits**2)
    spans = np.maximum(high[near] - other_low[near], other_high[near] - low[near])
    return near, bool((_squares(spans) < (2 * limits[near]) ** 2).any())


def _squares(vectors: FloatArray) -> FloatArray:
    """Squared lengths of vectors [K, 3]."""
    return np.einsum("ki,ki->k", vectors, vectors)
