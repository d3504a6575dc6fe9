# SPDX-License-Identifier: GPL-3.0-or-later
"""Connected components of numbered nodes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ..geometry.mesh import IntArray

_FEW = 4096
"""Up to so many nodes and edges, making a sparse matrix takes longer than finding the components."""


def connected_nodes(count: int, edges: IntArray) -> NDArray[np.int32]:
    """Component of each of `count` nodes under `edges` [E, 2], int32 [count], numbered by first node."""
    if max(count, len(edges)) <= _FEW:
        return _of_few(count, edges)
    matrix = coo_array((np.ones(len(edges), dtype=np.int8), (edges[:, 0], edges[:, 1])), shape=(count, count))
    component: NDArray[np.int32] = connected_components(matrix, directed=False)[1]
    return component


def _of_few(count: int, edges: IntArray) -> NDArray[np.int32]:
    """Every node takes the lowest number that its neighbours and theirs have, until nothing changes."""
    lowest = np.arange(count)
    first, second = edges[:, 0], edges[:, 1]
    while True:
        before = lowest.copy()
        ends = lowest[first], lowest[second]
        low = np.minimum(*ends)
        for nodes in (first, second, *ends):
            np.minimum.at(lowest, nodes, low)
        lowest = lowest[lowest]
        if np.array_equal(lowest, before):
            break
    numbers = np.cumsum(lowest == np.arange(count)) - 1
    return numbers[lowest].astype(np.int32)
