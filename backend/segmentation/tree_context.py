# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node of a part tree has around it, and what kind of tree it is in.

How fine an author cuts is much the same all over a shape, and differs between an assembly of many pieces and
one welded shell. So each node is told what the whole tree is like.
"""

from __future__ import annotations

import numpy as np

from ..geometry.mesh import FloatArray
from .part_tree import PartTree

CONTEXT_FEATURES = (
    "share_of_outer_border", "area_of_shells", "children", "siblings", "is_leaf",
    "log_leaves", "mean_log_leaf", "spread_of_log_leaves", "median_share_of_shells", "whole_shells",
    "log_atoms", "in_one_shell", "least_share_of_shells",
)  # fmt: skip
"""Names of the columns of `context_features`; from "log_leaves" on they are the whole tree's."""

_WHOLE_SHELL = 0.99
"""Share of the shells that it touches from which a node is made of whole ones."""
_ONE_SHELL = 0.95
"""Share of the surface from which shells are as good as all of it."""


def context_features(tree: PartTree, share_of_shells: FloatArray) -> FloatArray:
    """Features float64 [T, len(CONTEXT_FEATURES)] of the nodes.

    share_of_shells: [T], each node's area by that of the shells (pieces of the mesh) that it touches
    """
    areas = np.maximum(tree.inside @ tree.areas, 1e-9)
    parents = np.maximum(tree.parents, 0)
    children = np.bincount(parents[tree.parents >= 0], minlength=len(parents))
    leaf = children == 0
    log_leaves = np.log(areas[leaf])
    around = np.minimum(areas / np.maximum(share_of_shells, 1e-6), 1)
    below_root = share_of_shells[1:] if len(parents) > 1 else share_of_shells
    whole_tree = [
        np.log(len(log_leaves) + 1), log_leaves.mean(), log_leaves.std(), np.median(share_of_shells),
        (share_of_shells > _WHOLE_SHELL).mean(), np.log(len(tree.areas)), (around > _ONE_SHELL).mean(),
        below_root.min(),
    ]  # fmt: skip
    columns = [_share_of_outer_border(tree), around, children, children[parents], leaf]
    columns += [np.full(len(parents), value) for value in whole_tree]
    return np.stack(columns, axis=1).astype(np.float64)


def _share_of_outer_border(tree: PartTree) -> FloatArray:
    """How much of each node's border is its parent's border, too, float64 [T]."""
    first, second = tree.touching.T
    border = tree.inside[:, first] != tree.inside[:, second]
    outer = border & border[np.maximum(tree.parents, 0)]
    lengths = border @ tree.contact
    shares: FloatArray = (outer @ tree.contact) / np.maximum(lengths, 1e-12)
    return shares
