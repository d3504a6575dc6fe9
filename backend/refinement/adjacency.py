# SPDX-License-Identifier: GPL-3.0-or-later
"""Neighbour lists of a graph as flat arrays, and walks over them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array

from ..geometry.mesh import FloatArray, IntArray


@dataclass(frozen=True)
class Adjacency:
    """Every edge as two slots, one at each end, sorted by the node they start from.

    offsets: int64 [N + 1]; node n owns the slots offsets[n] .. offsets[n + 1]
    neighbours: int64 [2 E], the node at a slot's far end
    weights: float64 [2 E]
    """

    offsets: IntArray
    neighbours: IntArray
    weights: FloatArray

    @classmethod
    def of_faces(cls, count: int, edges: IntArray) -> Adjacency:
        """Without weights. edges: int32 [E, 2] between `count` nodes"""
        first, second = edges.T
        slots = (np.concatenate([first, second]), np.concatenate([second, first]))
        matrix = coo_array((np.broadcast_to(np.int8(1), 2 * len(edges)), slots), shape=(count, count))
        matrix.has_canonical_format = True  # an edge that occurs twice has two slots at each end
        rows = matrix.tocsr()  # by counting: sorting takes several times as long
        return cls(rows.indptr, rows.indices, np.zeros(0))

    @classmethod
    def of(cls, count: int, edges: IntArray, weights: FloatArray) -> Adjacency:
        """edges: int [E, 2] between `count` nodes; weights: float64 [E]."""
        sources = np.concatenate([edges[:, 0], edges[:, 1]])
        order = np.argsort(sources, kind="stable")
        offsets = np.zeros(count + 1, dtype=np.int64)
        np.cumsum(np.bincount(sources, minlength=count), out=offsets[1:])
        targets = np.concatenate([edges[:, 1], edges[:, 0]])
        return cls(offsets, targets[order].astype(np.int64), np.concatenate([weights, weights])[order])

    def slots(self, nodes: IntArray) -> tuple[IntArray, IntArray]:
        """All slots of `nodes` [n], and for each the position in `nodes` it belongs to."""
        starts = self.offsets[nodes]
        degrees = self.offsets[nodes + 1] - starts
        owner = np.repeat(np.arange(len(nodes)), degrees)
        before = np.cumsum(degrees) - degrees
        return np.arange(len(owner)) + np.repeat(starts - before, degrees), owner

    def within(self, seeds: IntArray, rings: int) -> np.ndarray:
        """bool [N]: nodes at most `rings` edges away from `seeds` [n]."""
        seen = np.zeros(len(self.offsets) - 1, dtype=bool)
        seen[seeds] = True
        frontier = seeds
        for _ in range(rings):
            reached = self.neighbours[self.slots(frontier)[0]]
            reached = reached[~seen[reached]]
            seen[reached] = True
            frontier = _without_repeats(reached, len(seen))
            if len(frontier) == 0:
                break
        return seen


def _without_repeats(nodes: IntArray, count: int) -> IntArray:
    """Each of `nodes` once; linear, where sorting would cost more."""
    last_position = np.zeros(count, dtype=np.int64)
    positions = np.arange(len(nodes))
    last_position[nodes] = positions
    return nodes[last_position[nodes] == positions]
