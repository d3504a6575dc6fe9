# SPDX-License-Identifier: GPL-3.0-or-later
"""Connected components of numbered nodes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ..geometry.mesh import IntArray


def connected_nodes(count: int, edges: IntArray) -> NDArray[np.int32]:
    """Component of each of `count` nodes under `edges` [E, 2], int32 [count], numbered by first node."""
    if len(edges) == 0:
        return np.arange(count, dtype=np.int32)
    matrix = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(count, count))
    # Pairs that occur twice do no harm; looking for them takes longer than all the rest.
    matrix.has_canonical_format = True
    component: NDArray[np.int32] = connected_components(matrix, directed=False)[1]
    return component
