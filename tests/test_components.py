# SPDX-License-Identifier: GPL-3.0-or-later
"""Connected components, against the definition."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from backend.refinement.components import connected_nodes


@given(st.integers(0, 12).flatmap(lambda edges: arrays(np.int64, (edges, 2), elements=st.integers(0, 14))))
def test_nodes_are_together_that_a_path_joins(edges: np.ndarray) -> None:
    joined = np.eye(15, dtype=bool)
    joined[edges[:, 0], edges[:, 1]] = joined[edges[:, 1], edges[:, 0]] = True
    for middle in range(15):
        joined |= joined[:, [middle]] & joined[[middle]]
    expected = np.unique(joined.argmax(axis=1), return_inverse=True)[1]
    np.testing.assert_array_equal(connected_nodes(15, edges), expected)


def test_a_long_path_is_one() -> None:
    order = np.random.default_rng(0).permutation(3000)
    assert connected_nodes(3000, np.stack([order[1:], order[:-1]], axis=1)).max() == 0
    assert connected_nodes(0, np.zeros((0, 2), dtype=np.int64)).shape == (0,)
