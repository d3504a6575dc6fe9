# SPDX-License-Identifier: GPL-3.0-or-later
"""From a part tree to partitions: which nodes become parts, from a single one to as many as there are.

A partition paints some nodes of the tree, deeper ones on top. Its worth is the sum over the parts that
show of the node's expected quality, as far as the node is still visible, less a cost for each part. The
partition of the highest worth is the one in the middle of the slider. From there on, in either
direction, one part at a time: merged where that costs least, or split off where it gives most. So
each partition is a refinement of the one before, and the number of parts has no cliff.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..geometry.mesh import FloatArray, IntArray
from ..refinement.components import connected_nodes
from .part_tree import PartTree


@dataclass(frozen=True)
class SelectionSettings:
    """What a partition is worth.

    cost: of each part in the middle of the slider
    hidden, visible: share of a node's area up to which it is worth nothing under the parts painted over it,
        and from which it is worth all of its quality
    whole: share from which the root begins to lose its worth: the whole shape is no part of itself
    least_piece, piece_ratio: share of the surface, and of the largest piece, from which a separate piece of
        what no part wants is a part
    size_weight: power of a part's area share by which its quality counts when parts are merged: the coarser
        the view, the larger what it should keep
    """

    cost: float = 0.2
    hidden: float = 0.2
    visible: float = 0.8
    whole: float = 0.7
    least_piece: float = 0.005
    piece_ratio: float = 0.05
    size_weight: float = 0.25


@dataclass(frozen=True)
class PartitionChain:
    """Partitions of A atoms, each of which refines the one before.

    tree: with further nodes below the root, for separate pieces of what no part wants
    owners: list of int64 [A], the node that shows at each atom, from one part to the most
    middle: which of them is in the middle of the slider
    """

    tree: PartTree
    owners: list[IntArray]
    middle: int


def partition_chain(tree: PartTree, quality: FloatArray, settings: SelectionSettings) -> PartitionChain:
    """Partitions from a single part to as many as the tree has. quality: [T] in [0, 1]."""
    middle = _best_partition(_Worth(tree, quality, settings))
    tree, quality, middle = _with_pieces_of_remainder(tree, quality, middle, settings)
    worth = _Worth(tree, quality, settings)
    coarser = list(_merged_one_by_one(worth, middle))[::-1]
    finer = list(_split_one_by_one(worth, middle))
    return PartitionChain(tree, [*coarser, middle, *finer], len(coarser))


def _with_pieces_of_remainder(
    tree: PartTree, quality: FloatArray, owners: IntArray, settings: SelectionSettings
) -> tuple[PartTree, FloatArray, IntArray]:
    """Tree, quality and owners [A] with nodes for the separate pieces of what no part wants.

    The largest piece stays with the root, and so do crumbs.
    """
    free = owners == 0
    if not free.any():
        return tree, quality, owners
    within = tree.touching[free[tree.touching].all(axis=1)]
    piece = connected_nodes(len(owners), within)
    areas = np.where(np.bincount(piece, ~free) > 0, 0.0, np.bincount(piece, tree.areas))
    own = areas >= max(settings.least_piece, settings.piece_ratio * areas.max())
    own[areas.argmax()] = False
    pieces = np.flatnonzero(own)[:, None] == piece
    first = len(tree.parents)
    owners = np.where(pieces.any(axis=0), first + pieces.argmax(axis=0), owners) if len(pieces) else owners
    return tree.with_nodes_below_root(pieces), np.append(quality, np.full(len(pieces), quality[0])), owners


class _Worth:
    """Values of partitions of one tree, given by the owner of each atom.

    within: bool [T, T], whether node j lies in node i (itself included)
    """

    def __init__(self, tree: PartTree, quality: FloatArray, settings: SelectionSettings) -> None:
        self.tree, self.quality, self.settings = tree, quality, settings
        self.areas = np.maximum(tree.inside @ tree.areas, 1e-12)
        self.within = np.eye(len(self.areas), dtype=bool)
        for node in range(1, len(self.areas)):  # parents come first
            self.within[:, node] |= self.within[:, tree.parents[node]]

    def of(self, owners: IntArray, *, by_size: bool = False) -> float:
        """Sum of the visible nodes' quality, without the cost of parts."""
        shown = np.bincount(owners, self.tree.areas, minlength=len(self.areas))
        settings = self.settings
        kept = np.minimum(shown, self.areas) / np.maximum(shown, self.areas)
        share = np.clip((kept - settings.hidden) / (settings.visible - settings.hidden), 0, 1)
        share[0] *= np.clip((1 - kept[0]) / (1 - settings.whole), 0, 1)
        weight = shown**settings.size_weight if by_size else 1.0
        return float((self.quality * share * weight).sum())

    def net(self, owners: IntArray) -> float:
        """The worth of a partition with its parts paid for."""
        return self.of(owners) - self.settings.cost * _parts(owners)


def _parts(owners: IntArray) -> int:
    """How many parts show: asked two thousand times, which sorting is too slow for."""
    return int(np.count_nonzero(np.bincount(owners)))


def _best_partition(worth: _Worth) -> IntArray:
    """Add or take away the node that helps most, until none does: int64 [A]."""
    chosen = np.zeros(len(worth.areas), dtype=bool)
    chosen[0] = True
    owners = worth.tree.painted(np.flatnonzero(chosen))
    best = worth.net(owners)
    while True:
        changes = []
        for node in range(1, len(chosen)):
            changed = chosen.copy()
            changed[node] ^= True
            changes.append(worth.tree.painted(np.flatnonzero(changed)))
        values = [worth.net(change) for change in changes]
        if not values or max(values) <= best + 1e-9:
            return owners
        node = int(np.argmax(values))
        chosen[node + 1] ^= True
        owners, best = changes[node], values[node]


def _merged_one_by_one(worth: _Worth, owners: IntArray) -> Iterator[IntArray]:
    """Ever coarser partitions down to a single part, by the merge that loses least for each part."""
    while True:
        present = _parts(owners)
        if present == 1:
            return
        before = worth.of(owners, by_size=True)
        merges = list(_merges(worth, owners))
        losses = [(before - worth.of(merge, by_size=True)) / (present - _parts(merge)) for merge in merges]
        owners = merges[int(np.argmin(losses))]
        yield owners


def _merges(worth: _Worth, owners: IntArray) -> Iterator[IntArray]:
    """Each part given to the one around it, or else to the one with the longest common border; and all
    parts inside of a node made that node's."""
    present = np.unique(owners)
    for node in present:
        around = [other for other in present if other != node and worth.within[other, node]]
        heir = max(
            around, default=_longest_border(worth.tree, owners, node)
        )  # the innermost: parents come first
        if heir >= 0:
            yield np.where(owners == node, heir, owners)
    for node in range(len(worth.areas)):
        inner = worth.within[node][owners]
        if _parts(owners[inner]) > 1:
            yield np.where(inner, node, owners)


def _longest_border(tree: PartTree, owners: IntArray, node: int) -> int:
    """The part that shares the longest border with that of `node`; -1 if it touches none."""
    ends = owners[tree.touching]
    beside = (ends == node).sum(axis=1) == 1
    if not beside.any():
        return -1
    other = np.where(ends[:, 0] == node, ends[:, 1], ends[:, 0])[beside]
    return int(np.bincount(other, tree.contact[beside]).argmax())


def _split_one_by_one(worth: _Worth, owners: IntArray) -> Iterator[IntArray]:
    """Ever finer partitions, by the node that gives most, until every node shows that can."""
    while True:
        present = _parts(owners)
        splits = [
            split
            for node in range(1, len(worth.areas))
            if not (owners == node).any() and _parts(split := _split_off(worth, owners, node)) > present
        ]
        if not splits:
            return
        owners = splits[int(np.argmax([worth.of(split) for split in splits]))]
        yield owners


def _split_off(worth: _Worth, owners: IntArray, node: int) -> IntArray:
    """`node` painted over what is around it, under what is inside of it."""
    around: NDArray[np.bool_] = worth.within[:, node][owners]
    return np.where(worth.tree.inside[node] & around, node, owners)
