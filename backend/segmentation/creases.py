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
from .part_tree import distinct_pairs
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
    pairs, lengths, strengths = _borders(graph, nodes)
    ties = np.random.default_rng(0)
    while len(pairs):
        cost = _costs(lengths, strengths, *(areas[nodes[end]] for end in pairs.T))
        joined = _mutual(pairs, cost, len(nodes), ties)
        ends = nodes[pairs[joined]]
        new = count + np.arange(len(joined))
        count += len(joined)
        births[new] = np.maximum(cost[joined], births[ends].max(axis=1))
        areas[new] = areas[ends].sum(axis=1)
        parents[ends] = new[:, None]
        deaths[ends] = births[new][:, None]
        rounds.append(ends)
        nodes, pairs, lengths, strengths = _joined(nodes, pairs, lengths, strengths, joined, new)
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
    around = np.maximum(tree.parents, 0)
    joined = tree.parents >= 0
    around_areas = np.where(joined, tree.areas[around], 1.0)
    share = _rounded(tree.areas / np.where(around_areas > 0, around_areas, 1.0))
    goes_on = joined & (share >= settings.same_region)
    last = np.arange(len(deaths))
    last[goes_on] = around[goes_on]
    while (last[last] != last).any():
        last = last[last]
    births, gaps = np.full(len(deaths), np.inf), np.full(len(deaths), -np.inf)
    np.minimum.at(births, last, tree.births)
    np.maximum.at(gaps, last, deaths - tree.births)
    widest = np.flatnonzero(gaps[last] == deaths - tree.births)[::-1]
    of_life = np.full(len(deaths), -1, dtype=np.int64)
    of_life[last[widest]] = widest  # of equal ones the first
    clearest = of_life[of_life >= 0]  # of each region over its life
    clearness = 1 - np.exp((births - deaths)[last[clearest]] / _CLEAR)
    areas = tree.areas[clearest]
    fits = (areas > settings.least_share) & (areas < settings.largest_share) & (clearness > 0)
    clearest, clearness, areas = clearest[fits], clearness[fits], areas[fits]
    salience = _rounded(clearness * areas**_SALIENT_POWER)
    order = np.lexsort((tree.size[clearest], tree.start[clearest], -salience))[: settings.most]
    return clearest[order], clearness[order]


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


def _borders(graph: FaceGraph, nodes: IntArray) -> tuple[IntArray, FloatArray, FloatArray]:
    """Pairs of sites that touch, by their places in `nodes`, int64 [E, 2]; the length of their border and its
    summed strength [E]."""
    place = np.empty_like(nodes)
    place[nodes] = np.arange(len(nodes))
    real = np.flatnonzero(~graph.is_link & (graph.edges[:, 0] != graph.edges[:, 1]))
    pairs, which = distinct_pairs(place[graph.edges[real]], len(nodes))
    length = graph.edge_length[real] / graph.diagonal + 1e-9
    angle = graph.dihedral[real]
    strength = np.minimum(np.where(angle < 0, -angle, _CONVEX * angle), _SHARPEST)
    return (
        pairs,
        np.bincount(which, length, minlength=len(pairs)).astype(np.float64),
        np.bincount(which, length * strength, minlength=len(pairs)).astype(np.float64),
    )


def _costs(lengths: FloatArray, strengths: FloatArray, first: FloatArray, second: FloatArray) -> FloatArray:
    """What joining pairs costs, float64 [E]. first, second: [E], areas of both regions"""
    smaller = np.maximum(np.minimum(first, second), 1e-9)
    return _rounded((strengths / lengths + _FLAT) * smaller**_SIZE_POWER)


def _rounded(values: FloatArray) -> FloatArray:
    """Sums come out a little different in another order of terms; equal ones are to be equal."""
    return values.astype(np.float32).astype(np.float64)


def _mutual(pairs: IntArray, cost: FloatArray, count: int, ties: np.random.Generator) -> IntArray:
    """Which pairs are the cheapest of both of their ends, int64 [J]; of about equal ones any."""
    level = np.floor(np.log(cost) / _ALIKE)
    cheapest = np.full(count, np.inf)
    for end in pairs.T:
        np.minimum.at(cheapest, end, level)
    mutual = np.flatnonzero((cheapest[pairs[:, 0]] == level) & (cheapest[pairs[:, 1]] == level))
    mutual = ties.permutation(mutual)
    turn = np.arange(len(mutual))
    first = np.full(count, len(mutual), dtype=np.int64)
    for end in pairs[mutual].T:
        np.minimum.at(first, end, turn)
    return np.sort(mutual[(first[pairs[mutual]] == turn[:, None]).all(axis=1)])


def _joined(
    nodes: IntArray,
    pairs: IntArray,
    lengths: FloatArray,
    strengths: FloatArray,
    joined: IntArray,
    new: IntArray,
) -> tuple[IntArray, IntArray, FloatArray, FloatArray]:
    """Nodes, pairs, lengths and strengths once the pairs `joined` are the nodes `new`."""
    first, second = pairs[joined].T
    nodes = nodes.copy()
    nodes[first] = new
    stands_for = np.arange(len(nodes))
    stands_for[second] = first
    left = np.flatnonzero(stands_for == np.arange(len(nodes)))
    number = np.empty(len(nodes), dtype=np.int64)
    number[left] = np.arange(len(left))
    ends = number[stands_for[pairs]]
    between = np.flatnonzero(ends[:, 0] != ends[:, 1])
    merged, which = distinct_pairs(ends[between], len(left))
    sums = (np.bincount(which, values[between], minlength=len(merged)) for values in (lengths, strengths))
    lengths, strengths = (each.astype(np.float64) for each in sums)
    return nodes[left], merged, lengths, strengths


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
