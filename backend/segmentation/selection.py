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
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..geometry.mesh import FloatArray, IntArray
from .part_tree import PartTree
from .places import PlaceSettings, settle_places
from .sites import Sites


@dataclass(frozen=True)
class SelectionSettings:
    """What a partition is worth.

    cost: of each part in the middle of the slider
    hidden, visible: share of a node's area up to which it is worth nothing under the parts painted over it,
        and from which it is worth all of its quality
    whole: share from which the root begins to lose its worth: the whole shape is no part of itself
    weak, weak_share: a part that shows less than this share of the surface joins what is around it if its
        quality is below `weak`: it hardly pays for itself
    size_weight: power of a part's area share by which its quality counts when parts are merged: the coarser
        the view, the larger what it should keep
    places: where separate places of a part belong
    """

    cost: float = 0.22
    hidden: float = 0.2
    visible: float = 0.8
    whole: float = 0.5
    weak: float = 0.25
    weak_share: float = 0.02
    size_weight: float = 0.25
    places: PlaceSettings = field(default_factory=PlaceSettings)


@dataclass(frozen=True)
class PartitionChain:
    """Partitions of A atoms, each of which refines the one before.

    tree: with further nodes for the separate pieces of what no mask wants
    owners: list of int64 [A], the node that shows at each atom, from one part to the most
    middle: which of them is in the middle of the slider
    """

    tree: PartTree
    owners: list[IntArray]
    middle: int


def partition_chain(
    tree: PartTree, quality: FloatArray, sites: Sites, points: FloatArray, settings: SelectionSettings
) -> PartitionChain:
    """Partitions from a single part to as many as the tree has.

    quality: [T] in [0, 1]; sites, points: see `settle_places`
    """
    count = len(tree.parents)
    settled = settle_places(
        tree, _best_partition(_Worth(tree, quality, settings)), sites, points, settings.places
    )
    tree, middle = settled.tree, settled.owners
    quality = np.append(quality, np.where(settled.own, quality[tree.parents[count:]], 0.0))
    worth = _Worth(tree, quality, settings, appended=count)
    for piece in range(count, len(tree.parents)):
        worth.lay_in(piece, middle[tree.inside[piece].argmax()], middle)
    middle = _without_weak_parts(worth, middle, count)
    coarser = list(_merged_one_by_one(worth, middle))[::-1]
    finer = list(_split_one_by_one(worth, middle))
    return PartitionChain(tree, [*coarser, middle, *finer], len(coarser))


def _without_weak_parts(worth: _Worth, owners: IntArray, judged: int) -> IntArray:
    """Owners [A] without small parts of little quality, the smallest given away first.

    judged: so many nodes have a quality of their own
    """
    settings = worth.settings
    shown = np.bincount(owners, worth.tree.areas, minlength=len(worth.areas))
    weak = np.unique(owners[(owners > 0) & (owners < judged)])
    weak = weak[(worth.quality[weak] < settings.weak) & (shown[weak] < settings.weak_share)]
    for node in weak[np.argsort(shown[weak], kind="stable")].tolist():
        present = np.unique(owners)
        around = present[worth.within[present, node] & (present != node)]
        heir = int(around[-1]) if len(around) else -1
        if heir < 1:  # what lies in no other part joins its neighbour
            beside = _longest_border(worth.tree, owners, node)
            heir = beside if beside >= 0 else heir
        if heir >= 0:
            owners = np.where(owners == node, heir, owners)
            worth.lay_in(node, heir, owners)
    return owners


class _Worth:
    """Values of partitions of one tree, given by the owner of each atom.

    within: bool [T, T], whether node j lies in node i (itself included)
    """

    def __init__(
        self, tree: PartTree, quality: FloatArray, settings: SelectionSettings, *, appended: int | None = None
    ) -> None:
        """appended: the first of the nodes that have no children and yet hold nodes before them"""
        self.tree, self.quality, self.settings = tree, quality, settings
        self.areas = np.maximum(tree.inside @ tree.areas, 1e-12)
        self.within = np.eye(len(self.areas), dtype=bool)
        for node in range(1, len(self.areas)):  # parents come first
            self.within[:, node] |= self.within[:, tree.parents[node]]
        for node in range(len(self.areas) if appended is None else appended, len(self.areas)):
            self.within[node] |= ~(tree.inside & ~tree.inside[node]).any(axis=1)

    def lay_in(self, node: int, heir: int, owners: IntArray) -> None:
        """Let what is hidden of `node` and of all that lies in it lie in `heir`, too. owners: int64 [A]"""
        inner = self.within[node].copy()
        inner[owners] = False
        self.within |= self.within[:, heir, None] & inner

    def of(self, owners: IntArray, *, by_size: bool = False) -> FloatArray:
        """Sum of the visible nodes' quality, without the cost of parts: of partitions [N, A], float64 [N]."""
        tree, settings = self.tree, self.settings
        weights = np.broadcast_to(tree.areas, owners.shape)
        shown = _counts(owners, len(self.areas), weights)
        kept = np.minimum(shown, self.areas) / np.maximum(shown, self.areas)
        share = np.clip((kept - settings.hidden) / (settings.visible - settings.hidden), 0, 1)
        share[:, 0] *= np.clip((1 - kept[:, 0]) / (1 - settings.whole), 0, 1)
        weight = shown**settings.size_weight if by_size else 1.0
        values: FloatArray = (self.quality * share * weight).sum(axis=1)
        return values

    def net(self, owners: IntArray) -> FloatArray:
        """The worth of partitions [N, A] with their parts paid for, float64 [N]."""
        return self.of(owners) - self.settings.cost * self.parts(owners)

    def parts(self, owners: IntArray) -> IntArray:
        """How many parts show in partitions [N, A], int64 [N]."""
        return np.count_nonzero(_counts(owners, len(self.areas)), axis=1)


def _counts(
    owners: IntArray, nodes: int, weights: FloatArray | None = None
) -> NDArray[np.int64] | FloatArray:
    """How many atoms of partitions [N, A], or what weight [N, A] of them, show each node: [N, nodes]."""
    places = owners + nodes * np.arange(len(owners))[:, None]
    flat = None if weights is None else weights.ravel()
    counts: NDArray[np.int64] | FloatArray = np.bincount(
        places.ravel(), flat, minlength=len(owners) * nodes
    ).reshape(-1, nodes)
    return counts


def _best_partition(worth: _Worth) -> IntArray:
    """Add or take away the node that helps most, until none does: int64 [A]."""
    tree = worth.tree
    of_node = np.where(tree.inside, np.arange(len(tree.inside))[:, None], 0)
    chosen = np.zeros(len(worth.areas), dtype=bool)
    chosen[0] = True
    owners = tree.painted(np.flatnonzero(chosen))
    best = worth.net(owners[None])[0]
    while len(chosen) > 1:
        # A deeper node has a higher number: what shows is the highest one, and below it the next.
        layers = of_node[chosen]
        next_layer = np.where(layers == owners, 0, layers).max(axis=0)
        with_node = np.maximum(owners, of_node)
        without = np.where(owners == np.arange(len(chosen))[:, None], next_layer, owners)
        changes = np.where(chosen[:, None], without, with_node)[1:]
        values = worth.net(changes)
        node = int(np.argmax(values))
        if values[node] <= best + 1e-9:
            break
        chosen[node + 1] ^= True
        owners, best = changes[node], values[node]
    return owners


def _merged_one_by_one(worth: _Worth, owners: IntArray) -> Iterator[IntArray]:
    """Ever coarser partitions down to a single part, by the merge that loses least for each part."""
    while True:
        present = worth.parts(owners[None])
        if present == 1:
            return
        merges = _merges(worth, owners)
        lost = worth.of(owners[None], by_size=True) - worth.of(merges, by_size=True)
        owners = merges[int(np.argmin(lost / (present - worth.parts(merges))))]
        yield owners


def _merges(worth: _Worth, owners: IntArray) -> IntArray:
    """Each part given to the one around it, or else to the one with the longest common border; and all
    parts inside of a node made that node's: int64 [N, A]."""
    present = np.unique(owners)
    around = worth.within[np.ix_(present, present)] & ~np.eye(len(present), dtype=bool)
    innermost = np.where(around, present[:, None], -1).max(axis=0)  # parents come before their children
    heirs = [
        heir if heir >= 0 else _longest_border(worth.tree, owners, node)
        for node, heir in zip(present.tolist(), innermost.tolist(), strict=True)
    ]
    given = np.array([(node, heir) for node, heir in zip(present, heirs, strict=True) if heir >= 0])
    node, heir = given.reshape(-1, 2).astype(np.int64).T[:, :, None]
    group = np.flatnonzero(np.count_nonzero(worth.within[:, present], axis=1) > 1)
    joined = np.where(worth.within[group][:, owners], group[:, None], owners)
    return np.concatenate([np.where(owners == node, heir, owners), joined])


def _longest_border(tree: PartTree, owners: IntArray, node: int, *, least: float = 0.0) -> int:
    """The part that shares the longest border with that of `node`; -1 if it touches none.

    least: share of the surface; parts of less only count where there are no others
    """
    ends = owners[tree.touching]
    beside = (ends == node).sum(axis=1) == 1
    if not tree.contact[beside].any():  # or it meets them in points only
        return -1
    other = np.where(ends[:, 0] == node, ends[:, 1], ends[:, 0])[beside]
    border = np.bincount(other, tree.contact[beside])
    of_large = np.where(np.bincount(owners, tree.areas)[: len(border)] >= least, border, 0.0)
    return int((of_large if of_large.any() else border).argmax())


def _split_one_by_one(worth: _Worth, owners: IntArray) -> Iterator[IntArray]:
    """Ever finer partitions, by the node that gives most, until every node shows that can."""
    while True:
        hidden = np.setdiff1d(np.arange(1, len(worth.areas)), owners)
        splits = _split_off(worth, owners, hidden)
        splits = splits[worth.parts(splits) > worth.parts(owners[None])]
        if not len(splits):
            return
        owners = splits[int(np.argmax(worth.of(splits)))]
        yield owners


def _split_off(worth: _Worth, owners: IntArray, nodes: IntArray) -> IntArray:
    """Each of `nodes` [N] painted over the innermost part around it, under what is inside: int64 [N, A]."""
    over = worth.tree.inside[nodes] & worth.within[:, nodes].take(owners, axis=0).T
    innermost = np.where(over, owners, -1).max(axis=1, initial=-1)
    return np.where(over & (owners == innermost[:, None]), nodes[:, None], owners)
