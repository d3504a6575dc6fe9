# SPDX-License-Identifier: GPL-3.0-or-later
"""Regions that creases bound: what a shape falls into by its form alone.

Where one thing was stuck onto another the surface has a concave crease, and where both were fused into one
shell it is all that is left of the border. Neighbouring regions are joined, those with the flattest common
border first, until each piece of the mesh is one region; a region that would be joined late, for how late it
was complete, is bounded on all sides. Hoffman and Richards ("Parts of recognition", 1984) say why people see
parts there. `crease_regions` puts the clearest of them into the form in which a network is told of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..geometry.mesh import FloatArray, IntArray
from ..refinement.face_graph import FaceGraph
from ..region_features import MAX_REGIONS
from .region_pairs import RegionTree, pair_features

_SHARPEST = 1.2
"""Dihedral angle, radians, from which a crease is as strong as any."""
_CONVEX = 0.15
"""A convex edge counts so much of a concave one."""
_FLAT = 0.02
"""Strength of a border that is flat."""
_SIZE_POWER = 0.25
"""Power of the smaller region's area: of equal borders that of small regions goes first."""
_SALIENT_POWER = 0.4
"""Power of a region's area by which its clearness counts, where there are more regions than wanted."""
_WHOLE = 2.0
"""Strength of the border around a whole piece of the mesh."""
_ALIKE = 0.02
"""Costs whose logarithms differ less may count as equal: else a row of faces that grow, each a little, would
be joined one at a time."""
_CLEAR = 0.1
"""Gap of strengths at which clearness is 1 - 1 / e."""


@dataclass(frozen=True)
class CreaseSettings:
    """Which regions are worth a look.

    most: how many, below MAX_REGIONS; least_share, largest_share: of the surface that they may take
    same_region: share of its area up to which a region that takes in others remains what it was
    """

    most: int = MAX_REGIONS - 1
    least_share: float = 2e-4
    largest_share: float = 0.95
    same_region: float = 0.95


@dataclass(frozen=True)
class CreaseRegions:
    """How places of a surface hang together. Places in the same set of regions are one atom.

    of_sites: int16 [S], the atom of each site, 0 to K - 1
    pairs: float16 [K, K, REGION_FEATURES], for the atom of a click and that of a place; see `pair_features`
    """

    of_sites: NDArray[np.int16]
    pairs: NDArray[np.float16]


def crease_regions(
    graph: FaceGraph,
    weights: FloatArray,
    settings: CreaseSettings | None = None,
    *,
    order: IntArray | None = None,
) -> CreaseRegions:
    """The clearest regions over the sites of `graph`, at most MAX_REGIONS - 1, so at most MAX_REGIONS atoms.

    weights: float64 [S], area shares
    order: int [S], the sites in an order that a mesh has by itself; of equal borders, as on flat ground, it
        says which goes first. None: that of the sites
    """
    tree = crease_tree(graph, weights, order)
    regions, clearness = salient_regions(tree, settings or CreaseSettings())
    largest_first = np.lexsort((np.arange(len(regions)), -tree.size[regions]))
    regions, clearness = regions[largest_first], clearness[largest_first]
    inner, around = _nested(tree, regions)
    present, of_sites = np.unique(inner, return_inverse=True)
    nested = RegionTree(around, tree.areas[regions], clearness)
    pairs = pair_features(nested, present, of_sites, _pieces(tree), weights)
    return CreaseRegions(of_sites.astype(np.int16), pairs.astype(np.float16))


@dataclass(frozen=True)
class CreaseTree:
    """N regions over S sites: the sites themselves, then each pair that was joined, in that order.

    order: int64 [S], sites in an order in which each region is a run; start, size: int64 [N], of these runs
    parents: int64 [N], -1 for whole pieces of the mesh; areas: float64 [N], shares of the surface
    births, deaths: float64 [N], strength of the border that had to go to complete the region, and of that
        which goes when it is joined to another; infinite for whole pieces
    """

    order: IntArray
    start: IntArray
    size: IntArray
    parents: IntArray
    areas: FloatArray
    births: FloatArray
    deaths: FloatArray

    def sites(self, region: int) -> IntArray:
        """The sites of a region, in no order."""
        return self.order[self.start[region] : self.start[region] + self.size[region]]


def crease_tree(graph: FaceGraph, weights: FloatArray, order: IntArray | None = None) -> CreaseTree:
    """Join regions of the sites of `graph` one by one; weights, order: as for `crease_regions`.

    In rounds: two regions that are each other's flattest neighbour are joined, all such pairs at once
    (reciprocal nearest neighbours; J. P. Benzecri, 1982).
    """
    sites = len(weights)
    total = max(2 * sites - 1, 0)
    parents = np.full(total, -1, dtype=np.int64)
    areas, births = np.zeros(total), np.zeros(total)
    areas[:sites] = weights
    deaths = np.full(total, np.inf)
    rounds: list[IntArray] = []
    nodes: IntArray = np.arange(sites) if order is None else order.astype(np.int64)
    count = sites
    borders = _borders(graph, nodes)
    ties = np.random.default_rng(0)
    while len(borders.first):
        cost = _costs(borders, areas[nodes])
        joined = _mutual(borders, cost, len(nodes), ties)
        first, second = nodes[borders.first[joined]], nodes[borders.second[joined]]
        new = count + np.arange(len(joined))
        count += len(joined)
        births[new] = np.maximum(cost[joined], np.maximum(births[first], births[second]))
        areas[new] = areas[first] + areas[second]
        parents[first] = parents[second] = new
        deaths[first] = deaths[second] = births[new]
        rounds.append(np.stack([first, second], axis=1))
        nodes, borders = _joined(nodes, borders, joined, new)
    kept = slice(0, count)
    runs = _runs(sites, count, rounds, nodes)
    return CreaseTree(*runs, parents[kept], areas[kept], births[kept], deaths[kept])


def salient_regions(tree: CreaseTree, settings: CreaseSettings) -> tuple[IntArray, FloatArray]:
    """Regions int64 [R] that creases bound clearly, the most salient first; and how clearly, float64 [R].

    The latter is near 1 where the border that ends a region is much stronger than the strongest that had to
    go within it. A region that takes in crumbs goes on as the same one, and is shown as it was when its
    border was clearest.
    """
    deaths = np.minimum(tree.deaths, _WHOLE)
    last, former = _last_of_lives(tree, settings.same_region)
    births, gap = tree.births.copy(), deaths - tree.births
    widest = gap.copy()
    np.minimum.at(births, last[former], tree.births[former])
    np.maximum.at(widest, last[former], gap[former])
    found = np.flatnonzero(widest[last] == gap)[::-1]
    of_life = np.full(len(deaths), -1, dtype=np.int64)
    of_life[last[found]] = found  # of equal ones the first
    clearest = of_life[of_life >= 0]  # of each region over its life
    areas = tree.areas[clearest]
    fits = (areas > settings.least_share) & (areas < settings.largest_share)
    clearest, areas = clearest[fits], areas[fits]
    clearness = 1 - np.exp((births - deaths)[last[clearest]] / _CLEAR)
    clear = clearness > 0
    clearest, clearness, areas = clearest[clear], clearness[clear], areas[clear]
    salience = _rounded(clearness * areas**_SALIENT_POWER)
    order = np.lexsort((tree.size[clearest], tree.start[clearest], -salience))[: settings.most]
    return clearest[order], clearness[order]


def _last_of_lives(tree: CreaseTree, same_region: float) -> tuple[IntArray, IntArray]:
    """As what each region ends, having taken in crumbs, int64 [N]; and those that are not that yet."""
    joined = np.flatnonzero(tree.parents >= 0)
    around = tree.parents[joined]
    around_areas = tree.areas[around]
    share = _rounded(tree.areas[joined] / np.where(around_areas > 0, around_areas, 1.0))
    goes_on = share >= same_region
    former = joined[goes_on]
    last = np.arange(len(tree.parents))
    last[former] = around[goes_on]
    while True:
        further = last[last[former]]
        if (further == last[former]).all():
            return last, former
        last[former] = further


def _nested(tree: CreaseTree, regions: IntArray) -> tuple[IntArray, IntArray]:
    """The smallest of `regions` [R], the larger ones first, that each site is in, int64 [S], and that each
    region is in, int64 [R]; -1 for none."""
    inner = np.full(len(tree.order), -1, dtype=np.int64)
    around = np.full(len(regions), -1, dtype=np.int64)
    for number, region in enumerate(regions):
        start, size = tree.start[region], tree.size[region]
        around[number] = inner[start]
        inner[start : start + size] = number
    of_sites = np.empty_like(inner)
    of_sites[tree.order] = inner
    return of_sites, around


def _pieces(tree: CreaseTree) -> IntArray:
    """The connected piece of each site, int64 [S]."""
    roots = np.flatnonzero(tree.parents < 0)
    roots = roots[np.argsort(tree.start[roots])]
    pieces = np.empty(len(tree.order), dtype=np.int64)
    pieces[tree.order] = np.repeat(np.arange(len(roots)), tree.size[roots])
    return pieces


@dataclass(frozen=True)
class _Borders:
    """Pairs of nodes that touch, each once, in ascending order.

    first, second: int64 [E], by their places among all nodes, the lower one first
    lengths, strengths: float64 [E], length of the border, and sum of strength x length over it
    """

    first: IntArray
    second: IntArray
    lengths: FloatArray
    strengths: FloatArray


def _borders(graph: FaceGraph, nodes: IntArray) -> _Borders:
    """Between the sites of a graph; places are those in `nodes`."""
    place = np.empty_like(nodes)
    place[nodes] = np.arange(len(nodes))
    real = np.flatnonzero(~graph.is_link & (graph.edges[:, 0] != graph.edges[:, 1]))
    first, second = (place[graph.edges[real, end]] for end in range(2))
    length = graph.edge_length[real] / graph.diagonal + 1e-9
    angle = graph.dihedral[real]
    strength = np.minimum(np.where(angle < 0, -angle, _CONVEX * angle), _SHARPEST)
    return _distinct(first, second, len(nodes), length, length * strength)


def _distinct(
    first: IntArray, second: IntArray, count: int, lengths: FloatArray, strengths: FloatArray
) -> _Borders:
    """Borders of pairs of places below `count` in any order, those of equal pairs added up."""
    key, order = _in_order(np.minimum(first, second) * count + np.maximum(first, second), count**2)
    starts = np.ones(len(key), dtype=bool)
    np.not_equal(key[1:], key[:-1], out=starts[1:])
    key = key[starts]
    lengths, strengths = lengths[order], strengths[order]
    if len(key) < len(order):
        which = np.cumsum(starts) - 1
        sums = (np.bincount(which, values) for values in (lengths, strengths))
        lengths, strengths = (each.astype(np.float64, copy=False) for each in sums)
    lower = key // max(count, 1)
    return _Borders(lower, key - lower * count, lengths, strengths)


def _in_order(keys: IntArray, limit: int) -> tuple[IntArray, IntArray]:
    """Keys int64 [E] from 0 to below `limit` in ascending order, equal ones as they were; and their order.

    Where key and number fit into 63 bits, sorting both as one takes a third of what finding an order does.
    """
    bits = len(keys).bit_length()
    if limit.bit_length() + bits > 63:
        order = np.argsort(keys, kind="stable")
        return keys[order], order
    keys = (keys << bits) | np.arange(len(keys))
    keys.sort()
    return keys >> bits, keys & ((1 << bits) - 1)


def _costs(borders: _Borders, areas: FloatArray) -> FloatArray:
    """What joining costs at each border, float64 [E]. areas: float64 [N], of the nodes"""
    smaller = np.maximum(np.minimum(areas[borders.first], areas[borders.second]), 1e-9)
    return _rounded((borders.strengths / borders.lengths + _FLAT) * smaller**_SIZE_POWER)


def _rounded(values: FloatArray) -> FloatArray:
    """Sums come out a little different in another order of terms; equal ones are to be equal."""
    return values.astype(np.float32).astype(np.float64)


def _mutual(borders: _Borders, cost: FloatArray, count: int, ties: np.random.Generator) -> IntArray:
    """Which borders are the cheapest of both of their ends, int64 [J]; of about equal ones any."""
    level = np.floor(np.log(cost) / _ALIKE)
    cheapest = np.full(count, np.inf)
    for end in (borders.first, borders.second):
        np.minimum.at(cheapest, end, level)
    mutual = np.flatnonzero((cheapest[borders.first] == level) & (cheapest[borders.second] == level))
    mutual = ties.permutation(mutual)
    turn = np.arange(len(mutual))
    earliest = np.full(count, len(mutual), dtype=np.int64)
    first, second = borders.first[mutual], borders.second[mutual]
    for end in (first, second):
        np.minimum.at(earliest, end, turn)
    return np.sort(mutual[(earliest[first] == turn) & (earliest[second] == turn)])


def _joined(nodes: IntArray, borders: _Borders, joined: IntArray, new: IntArray) -> tuple[IntArray, _Borders]:
    """Nodes and borders once the pairs `joined` are the nodes `new`."""
    first, second = borders.first[joined], borders.second[joined]
    nodes = nodes.copy()
    nodes[first] = new
    left = np.ones(len(nodes), dtype=bool)
    left[second] = False
    number = np.cumsum(left) - 1
    number[second] = number[first]
    nodes = nodes[left]
    between = np.ones(len(borders.first), dtype=bool)
    between[joined] = False
    return nodes, _distinct(
        number[borders.first[between]],
        number[borders.second[between]],
        len(nodes),
        borders.lengths[between],
        borders.strengths[between],
    )


def _runs(
    sites: int, count: int, rounds: list[IntArray], roots: IntArray
) -> tuple[IntArray, IntArray, IntArray]:
    """`order`, `start` and `size` of a tree from the ends int64 [J, 2] of each round's pairs."""
    size = np.ones(count, dtype=np.int64)
    start = np.zeros(count, dtype=np.int64)
    first_new = sites
    for ends in rounds:
        size[first_new : first_new + len(ends)] = size[ends].sum(axis=1)
        first_new += len(ends)
    start[roots] = np.cumsum(size[roots]) - size[roots]
    for ends in reversed(rounds):
        first_new -= len(ends)
        around = start[first_new : first_new + len(ends)]
        start[ends[:, 0]] = around
        start[ends[:, 1]] = around + size[ends[:, 0]]
    return np.argsort(start[:sites]), start, size
