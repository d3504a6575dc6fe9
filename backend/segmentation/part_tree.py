# SPDX-License-Identifier: GPL-3.0-or-later
"""The tree of parts: which part lies in which.

Nodes are nested masks, the connected pieces of one mask, and the pieces of a node that none of its
children cover ("rest"). Two arms that one mask covers are two nodes below one; so are the hat and the
boot that no mask wants. The root is the whole shape.

All nodes are unions of atoms: connected regions in which every node is wholly present or absent. What
leaked onto a neighbour, and what is too small to be meant, goes to a neighbour before atoms are formed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ..geometry.mesh import FloatArray, IntArray
from ..refinement.components import connected_nodes
from ..refinement.face_graph import FaceGraph
from ..refinement.islands import dissolve_islands, number_regions
from .nested_masks import NestedMasks, NestingSettings, alike_sites, nest_masks

ROOT, MASK, PIECE, REST = range(4)
"""Kinds of nodes."""
_LINK_SHARE = 1e-3
"""A gap between shells counts this share of its length as border."""


@dataclass(frozen=True)
class TreeSettings:
    """How masks become a tree.

    nesting: how overlapping masks are made to nest
    rest_logit: where no mask's logit reaches this, a site belongs to no mask
    island_size: feature size, as a share of the diagonal, below which a region is an island of a larger
        one: masks leak; noise_size: below which it is nothing even if it is all of its mask
    least_piece: area share of a piece that may be a part; piece_ratio: of the largest piece's area
    """

    nesting: NestingSettings = field(default_factory=NestingSettings)
    rest_logit: float = -1.5
    island_size: float = 0.02
    noise_size: float = 0.012
    least_piece: float = 0.002
    piece_ratio: float = 0.05


@dataclass(frozen=True)
class PartTree:
    """T nodes over A atoms over S sites; parents come before their children, node 0 is the root.

    atoms: int64 [S], the atom of each site; areas: float64 [A], shares of the surface
    inside: bool [T, A], the atoms of each node; parents: int64 [T], -1 for the root
    masks: int64 [T], the candidate behind each node (for pieces and rest the one that they are left of);
        K, the number of candidates, where there is none
    kinds: int64 [T], ROOT, MASK, PIECE or REST
    touching: int64 [E, 2], pairs of atoms that touch, or nearly do; contact: float64 [E], border's length
        by the square root of the surface's area
    """

    atoms: IntArray
    areas: FloatArray
    inside: NDArray[np.bool_]
    parents: IntArray
    masks: IntArray
    kinds: IntArray
    touching: IntArray
    contact: FloatArray

    @property
    def depths(self) -> IntArray:
        """Steps from the root, int64 [T]."""
        depths = np.zeros(len(self.parents), dtype=np.int64)
        for node in range(1, len(depths)):
            depths[node] = depths[self.parents[node]] + 1
        return depths

    def with_nodes_below(self, parents: IntArray, inside: NDArray[np.bool_]) -> PartTree:
        """The tree with nodes bool [N, A] of no mask appended, children of `parents` int [N]."""
        return replace(
            self,
            inside=np.concatenate([self.inside, inside]),
            parents=np.append(self.parents, parents),
            masks=np.append(self.masks, self.masks[parents]),
            kinds=np.append(self.kinds, np.full(len(parents), REST)),
        )

    def painted(self, nodes: IntArray) -> IntArray:
        """The node that shows at each atom if `nodes` are painted, deeper ones on top: int64 [A]."""
        painted = np.zeros(len(self.areas), dtype=np.int64)
        for node in np.sort(nodes):  # parents come before their children
            painted[self.inside[node]] = node
        return painted


def build_part_tree(
    logits: FloatArray, ranks: FloatArray, weights: FloatArray, graph: FaceGraph, settings: TreeSettings
) -> PartTree:
    """The tree of candidates with logits [K, S] and ranks [K] (better ones have higher ones).

    weights: float64 [S], area shares; graph: over the sites
    """
    masks = logits > 0
    alike, examples = alike_sites(masks)
    nested = nest_masks(
        masks.take(examples, axis=1), ranks, np.bincount(alike, weights).astype(np.float64), settings.nesting
    )
    innermost = _innermost(nested, alike, logits, settings.rest_logit)
    innermost = dissolve_islands(
        graph, innermost, min_size=settings.island_size, noise_size=settings.noise_size
    )
    atoms = number_regions(graph.face_count, graph.borders, innermost).astype(np.int64)
    of_atom = np.zeros(int(atoms.max()) + 1, dtype=np.int64)
    of_atom[atoms] = innermost
    between = edges_between(graph, atoms)
    growing = _Growing(
        areas=np.bincount(atoms, weights, minlength=len(of_atom)).astype(np.float64),
        pairs=distinct_pairs(atoms[graph.edges[between[~graph.is_link[between]]]], len(of_atom))[0],
        covered=_ancestors(nested)[:, of_atom],
        inner=_inner_masks(nested),
        chosen=np.append(nested.chosen, len(logits)),
        settings=settings,
    )
    return growing.tree(atoms, *_contacts(graph, atoms, between))


def edges_between(graph: FaceGraph, atoms: IntArray) -> IntArray:
    """Which edges join different atoms, int64 [E']. atoms: int [S]"""
    first, second = (atoms.take(end) for end in graph.edges.T)
    return np.flatnonzero(first != second)


def distinct_pairs(pairs: IntArray, count: int) -> tuple[IntArray, IntArray]:
    """The different ones of `pairs` [E, 2] of numbers below `count`, the lower number first, int64 [D, 2],
    and which of them each is, int64 [E]."""
    first, second = pairs.T.astype(np.int64)
    keys, which = np.unique(
        np.minimum(first, second) * count + np.maximum(first, second), return_inverse=True
    )
    return np.stack([keys // count, keys % count], axis=1), which


def _contacts(graph: FaceGraph, atoms: IntArray, between: IntArray) -> tuple[IntArray, FloatArray]:
    """Pairs of atoms int64 [E, 2] and the length of their border float64 [E], by the square root of the
    surface's area; a link counts little."""
    touching, pair = distinct_pairs(atoms[graph.edges[between]], int(atoms.max()) + 1)
    length = np.where(graph.is_link[between], _LINK_SHARE, 1.0) * graph.edge_length[between]
    length /= np.sqrt(graph.face_areas.sum())
    return touching, np.bincount(pair, length, minlength=len(touching)).astype(np.float64)


def _innermost(nested: NestedMasks, alike: IntArray, logits: FloatArray, rest_logit: float) -> IntArray:
    """The smallest mask that each site is in, int64 [S]; A for none. Sites in none join the likeliest.

    nested: over kinds of sites; alike: int [S], the kind of each; logits: [K, S]
    """
    count = len(nested.chosen)
    of_kind = np.full(nested.masks.shape[1], count, dtype=np.int64)
    for row, mask in enumerate(nested.masks):  # the largest first
        of_kind[mask] = row
    innermost = of_kind.take(alike)
    free = np.flatnonzero(innermost == count)
    highest = np.full(len(free), rest_logit, dtype=logits.dtype)
    for row, candidate in enumerate(nested.chosen):
        values = logits[candidate].take(free)
        higher = values > highest
        innermost[free[higher]] = row
        highest[higher] = values[higher]
    return innermost


def _containers(nested: NestedMasks) -> IntArray:
    """The smallest mask that contains each mask, int64 [A]; A (the root) for none."""
    count = len(nested.chosen)
    found = np.full(count, count, dtype=np.int64)
    firsts = [int(mask.argmax()) for mask in nested.masks]
    for row in range(count):
        around = np.flatnonzero(nested.masks[:row, firsts[row]])
        if len(around):
            found[row] = around[-1]
    return found


def _ancestors(nested: NestedMasks) -> NDArray[np.bool_]:
    """bool [A + 1, A + 1]: whether mask j lies in (or is) mask i; the last is the whole shape."""
    containers = _containers(nested)
    count = len(containers)
    within = np.eye(count + 1, dtype=bool)
    within[count] = True
    for row in range(count):  # containers are larger and so come first
        within[:, row] |= within[:, containers[row]]
    return within


def _inner_masks(nested: NestedMasks) -> list[list[int]]:
    """For each mask, and last for the whole shape, the masks directly inside."""
    inner: list[list[int]] = [[] for _ in range(len(nested.chosen) + 1)]
    for row, container in enumerate(_containers(nested)):
        inner[container].append(row)
    return inner


class _Growing:
    """A tree while it grows from the root.

    covered: bool [M + 1, A], atoms of each nested mask, and last of the whole shape
    inner: the masks directly inside each; chosen: candidate of each; pairs: int [E, 2], atoms that touch
    """

    def __init__(
        self,
        *,
        areas: FloatArray,
        pairs: IntArray,
        covered: NDArray[np.bool_],
        inner: list[list[int]],
        chosen: IntArray,
        settings: TreeSettings,
    ) -> None:
        self.areas, self.pairs, self.covered = areas, pairs, covered
        self.inner, self.chosen, self.settings = inner, chosen, settings
        self.inside: list[NDArray[np.bool_]] = []
        self.parents: list[int] = []
        self.masks: list[int] = []
        self.kinds: list[int] = []

    def tree(self, atoms: IntArray, touching: IntArray, contact: FloatArray) -> PartTree:
        everything = np.ones(len(self.areas), dtype=bool)
        waiting = [(self._add(len(self.chosen) - 1, ROOT, everything, -1), len(self.chosen) - 1)]
        while waiting:
            node, mask = waiting.pop()
            waiting += self._grow(node, mask)
        return PartTree(
            atoms=atoms,
            areas=self.areas,
            inside=np.stack(self.inside),
            parents=np.array(self.parents, dtype=np.int64),
            masks=np.array(self.masks, dtype=np.int64),
            kinds=np.array(self.kinds, dtype=np.int64),
            touching=touching,
            contact=contact,
        )

    def _add(self, mask: int, kind: int, atoms: NDArray[np.bool_], parent: int) -> int:
        self.inside.append(atoms)
        self.parents.append(parent)
        self.masks.append(int(self.chosen[mask]))
        self.kinds.append(kind)
        return len(self.parents) - 1

    def _grow(self, node: int, mask: int) -> list[tuple[int, int]]:
        """Add the children of a node that shows `mask`; those that may have children, with their mask."""
        atoms = self.inside[node]
        inner = [(m, self.covered[m] & atoms) for m in self.inner[mask]]
        inner = [(m, part) for m, part in inner if part.any()]
        pieces = self._pieces(atoms, [part for _, part in inner])
        if len(pieces) > 1:
            return [(self._add(mask, PIECE, piece, node), mask) for piece in pieces]
        if not inner:
            return []
        rest = self._rest(atoms & ~np.logical_or.reduce([part for _, part in inner]))
        if len(inner) + len(rest) == 1:  # the only mask inside is all of it
            if self.kinds[node] == PIECE:
                self.masks[node], self.kinds[node] = int(self.chosen[inner[0][0]]), MASK
            return [(node, inner[0][0])]
        grown = [(self._add(m, MASK, part, node), m) for m, part in inner]
        for piece in rest:
            self._add(mask, REST, piece, node)
        return grown

    def _pieces(self, atoms: NDArray[np.bool_], inner: list[NDArray[np.bool_]]) -> list[NDArray[np.bool_]]:
        """Connected pieces of a node; pieces that one mask inside ties together count as one."""
        of_atom = self._connected(atoms)
        groups = np.arange(int(of_atom.max()) + 1)
        for part in inner:
            tied = np.unique(groups[of_atom[part]])
            groups[np.isin(groups, tied)] = tied[0]
        return self._large(atoms, np.where(atoms, groups[of_atom], -1), self.settings.piece_ratio)

    def _rest(self, atoms: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
        """Connected pieces of what no mask inside a node covers."""
        return self._large(atoms, self._connected(atoms), 0.0) if atoms.any() else []

    def _connected(self, atoms: NDArray[np.bool_]) -> IntArray:
        """The connected piece of each of `atoms`, from 0; -1 elsewhere."""
        within = self.pairs[atoms[self.pairs].all(axis=1)]
        piece = connected_nodes(len(atoms), within)
        numbered = np.full(len(atoms), -1, dtype=np.int64)
        numbered[atoms] = np.unique(piece[atoms], return_inverse=True)[1]
        return numbered

    def _large(self, atoms: NDArray[np.bool_], piece: IntArray, ratio: float) -> list[NDArray[np.bool_]]:
        """Pieces that are large enough; the others go with the largest. int `piece` [A], -1 outside."""
        areas = np.bincount(piece[atoms], self.areas[atoms])
        large = areas >= max(self.settings.least_piece, ratio * areas.max())
        largest = int(areas.argmax())
        large[largest] = True
        joined = np.where(large, np.arange(len(areas)), largest)
        return [atoms & (joined[piece] == number) for number in np.flatnonzero(large)]
