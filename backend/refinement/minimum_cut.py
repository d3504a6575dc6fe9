# SPDX-License-Identifier: GPL-3.0-or-later
"""Minimum cuts of large, nearly flat networks: flow goes along shortest paths before the library searches.

In a band around a border almost every face wants a little to one side or the other, and all capacities
are hundreds of times that. A search for one augmenting path after the other spends its time on those. But
most of it is sent at once: every node passes on what it has, or lacks, to the next one on the way to the
band's edge, from the farthest to the nearest, as far as capacities allow. Any flow leaves a network with
the same minimum cuts.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array

from ..geometry.mesh import FloatArray, IntArray

_MANY_NODES = 4000
"""Below, the library is as fast alone."""

_Level = tuple[IntArray, IntArray, IntArray, np.ndarray]


def minimum_cut(
    first: IntArray, second: IntArray, capacity: FloatArray, change: FloatArray, edge_of_band: np.ndarray
) -> np.ndarray:
    """Which nodes to switch, bool [N], so that sum of `change` over those plus cut capacities is least.

    first, second: int [E], ends of two-way edges of `capacity` float64 [E], not negative
    change: float64 [N], what switching costs each node
    edge_of_band: bool [N], nodes that much flow leads to
    """
    import maxflow  # here, so that machines without it can do all but cut

    back = capacity
    if len(change) >= _MANY_NODES:
        flow, change = _sent_to_edge(first, second, capacity, change, edge_of_band)
        capacity, back = capacity - flow, capacity + flow
    cut = maxflow.GraphFloat(len(change), len(capacity))
    identifiers = cut.add_grid_nodes((len(change),))
    cut.add_edges(first, second, capacity, back)
    cut.add_grid_tedges(identifiers, np.maximum(change, 0), np.maximum(-change, 0))
    cut.maxflow()
    switched: np.ndarray = cut.get_grid_segments(identifiers)
    return switched


def _sent_to_edge(
    first: IntArray, second: IntArray, capacity: FloatArray, change: FloatArray, edge_of_band: np.ndarray
) -> tuple[FloatArray, FloatArray]:
    """Flow from first to second end, float64 [E], and what is left of `change` at each node, float64 [N]."""
    change, flow = change.copy(), np.zeros(len(capacity))
    for nodes, parents, edges, outward in reversed(_levels(first, second, edge_of_band)):
        sent = np.clip(change[nodes], -capacity[edges], capacity[edges])
        flow[edges] = np.where(outward, -sent, sent)
        change[nodes] -= sent
        np.add.at(change, parents, sent)
    return flow, change


def _levels(first: IntArray, second: IntArray, roots: np.ndarray) -> list[_Level]:
    """Nodes by their distance from the roots bool [N], from 1: nodes, the node before each, the edge between
    them, and whether that edge's first end is the node before."""
    count, numbers = len(roots), np.arange(1, len(first) + 1, dtype=np.int32)
    slots = (np.concatenate([first, second]), np.concatenate([second, first]))
    matrix = coo_array((np.concatenate([numbers, -numbers]), slots), shape=(count, count))
    matrix.has_canonical_format = True  # parallel edges stay apart
    rows = matrix.tocsr()
    seen, reached_by = roots.copy(), np.zeros(count, dtype=np.int64)
    levels: list[_Level] = []
    frontier: IntArray = np.flatnonzero(roots)
    while len(frontier):
        starts = rows.indptr[frontier]
        degrees = rows.indptr[frontier + 1] - starts
        before = np.repeat(frontier, degrees)
        slot = np.arange(len(before)) + np.repeat(starts - (np.cumsum(degrees) - degrees), degrees)
        around = rows.indices[slot]
        new = np.flatnonzero(~seen[around])
        before, slot, around = before[new], slot[new], around[new]
        reached_by[around] = slot
        once = np.flatnonzero(reached_by[around] == slot)  # from several nodes before it, one
        frontier = around[once]
        seen[frontier] = True
        number = rows.data[slot[once]]
        levels.append((frontier, before[once], np.abs(number) - 1, number > 0))
    return levels
