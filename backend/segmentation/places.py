# SPDX-License-Identifier: GPL-3.0-or-later
"""Separate places of parts: which are parts of their own, and which part the small ones join.

What no mask wants lies anywhere, and a mask that is meant for one thing may claim crumbs of others far away.
A small place that nothing connects with the rest of its part goes to what it touches, or else to what is
nearest. Connected are atoms with a border of some length; pieces of a mesh that only lie near each other
are not, but they touch.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..geometry.mesh import FloatArray, IntArray
from ..nearest import nearest_several
from ..refinement.components import connected_nodes
from .part_tree import MASK, PartTree, distinct_pairs
from .sites import Sites


@dataclass(frozen=True)
class PlaceSettings:
    """Which separate places of a part stay what they are. Areas are shares of the surface.

    least_piece: from which a separate piece of what no mask wants is a part; a smaller one joins a neighbour,
        if it can one that has heir_ratio times its area
    crumb: of the area of a mask's largest piece, below which the mask does not mean another one that is
        connected with nothing. A mask of which none is at least the share `main` means them all
    least_alone: from which a small one that touches nothing is a part
    least_detail: from which what joined a neighbour can be split off again
    least_border: of the square root of an atom's area, what a border must have to connect it with another
    """

    least_piece: float = 0.015
    heir_ratio: float = 2.0
    crumb: float = 0.1
    main: float = 0.5
    least_alone: float = 0.005
    least_detail: float = 0.002
    least_border: float = 0.03


@dataclass(frozen=True)
class Settled:
    """A partition with each separate place where it belongs.

    tree: with N further nodes for separate places; own: bool [N], which of them are parts now
    owners: int64 [A], the node that shows at each atom
    """

    tree: PartTree
    own: NDArray[np.bool_]
    owners: IntArray


def settle_places(
    tree: PartTree, owners: IntArray, sites: Sites, points: FloatArray, settings: PlaceSettings
) -> Settled:
    """Settle the separate places of a partition.

    owners: int64 [A]; points: float [N, 3], those that were encoded, in the units of the sites
    """
    places = _places(tree, owners, settings)
    heirs, lost = _given_away(places, tree, settings)
    if lost.any():
        of_atom = heirs[places.of_atom]
        heirs = np.where(lost[heirs], _nearest(of_atom, lost, tree, sites, points)[heirs], heirs)
    final, first = heirs[places.of_atom], len(places.parts)
    own = heirs == np.arange(len(heirs))
    kept = own | (places.areas >= settings.least_detail)
    kept[:first] = False
    # Parts come before what lies in them.
    numbers = np.flatnonzero(kept)
    numbers = numbers[np.lexsort((-places.areas[numbers], ~own[numbers]))]
    inside = np.where(own[numbers, None], final, places.of_atom) == numbers[:, None]
    parents = [_container(tree, owners, each) for each in inside]
    node = np.concatenate([places.parts, np.zeros(len(heirs) - first, dtype=np.int64)])
    node[numbers] = len(tree.parents) + np.arange(len(numbers))
    tree = tree.with_nodes_below(np.array(parents, dtype=np.int64), inside)
    return Settled(tree, own[numbers], node[final])


@dataclass(frozen=True)
class _Places:
    """P places of a partition: first what stays of each part, then what is apart from it.

    of_atom: int64 [A]; areas: float64 [P]; small: bool [P], those that are to join another
    parts: int64, of the first ones, the node of each
    """

    of_atom: IntArray
    areas: FloatArray
    small: NDArray[np.bool_]
    parts: IntArray


def _places(tree: PartTree, owners: IntArray, settings: PlaceSettings) -> _Places:
    size = np.sqrt(tree.areas[tree.touching].min(axis=1))
    connected = tree.touching[tree.contact > settings.least_border * size]
    piece = connected_nodes(len(owners), connected[np.equal(*owners[connected].T)])
    pieces, nodes = int(piece.max()) + 1, len(tree.parents)
    node = np.zeros(pieces, dtype=np.int64)
    node[piece] = owners
    shares = np.bincount(piece, tree.areas).astype(np.float64)
    apart, small = _apart(tree, node, shares, settings)
    # Numbers: nodes for what stays of them, then pieces, then things of several pieces.
    place = np.where(apart, nodes + np.arange(pieces), node)[piece]
    thing = _things(small[piece], connected)
    place = np.where(thing >= 0, nodes + pieces + thing, place)
    # A mask that reaches across a border with another part may well be right.
    place = np.where((thing < 0) & (tree.kinds[owners] == MASK), owners, place)
    names, of_atom = np.unique(place, return_inverse=True)
    areas = np.bincount(of_atom, tree.areas).astype(np.float64)
    first, things = np.searchsorted(names, (nodes, nodes + pieces))
    joins = areas < settings.least_piece
    joins[:first] = False
    joins[first:things] = small[names[first:things] - nodes]
    if joins.all():  # there is nothing to join
        joins[areas.argmax()] = False
    return _Places(of_atom, areas, joins, names[:first])


def _things(free: NDArray[np.bool_], connected: IntArray) -> IntArray:
    """Small places that are connected with each other and with nothing else are one thing, whatever masks
    made of it. Its number for each atom, int64 [A], -1 for what is in none.

    free: bool [A], atoms of small places; connected: int [E, 2], pairs of atoms
    """
    thing = connected_nodes(len(free), connected[free[connected].all(axis=1)]).astype(np.int64)
    tied = np.zeros(len(free), dtype=bool)
    tied[thing[connected[np.not_equal(*free[connected].T)]]] = True
    return np.where(free & ~tied[thing], thing, -1)


def _apart(
    tree: PartTree, nodes: IntArray, areas: FloatArray, settings: PlaceSettings
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which connected pieces are not simply their part's, and which of these are small: bool [P] each.

    nodes: int64 [P], the part that each is of; areas: float64 [P]
    """
    order = np.lexsort((-areas, nodes))
    largest = order[np.unique(nodes[order], return_index=True)[1]]
    other = np.ones(len(nodes), dtype=bool)
    other[largest] = False
    most = np.zeros(len(tree.parents))
    most[nodes[largest]] = areas[largest]
    many = most < settings.main * np.bincount(nodes, areas, minlength=len(most))
    of_mask = tree.kinds[nodes] == MASK
    meant = many[nodes] | (areas >= settings.crumb * most[nodes])
    meant = np.where(of_mask, meant, ~other & (nodes > 0))  # nobody chose the root
    small = ~meant & (areas < settings.least_piece)
    return small | (other & ~of_mask), small


def _given_away(
    places: _Places, tree: PartTree, settings: PlaceSettings
) -> tuple[IntArray, NDArray[np.bool_]]:
    """The place that each belongs to in the end, int64 [P], and which of these touch nothing, bool [P].

    The smallest go first; what they join grows. Notable ones that touch nothing are parts and not lost.
    """
    areas, borders = places.areas.tolist(), _borders(places, tree)
    heirs, lost = np.arange(len(areas)), np.zeros(len(areas), dtype=bool)
    queue = [(areas[place], place) for place in np.flatnonzero(places.small).tolist()]
    heapq.heapify(queue)
    while queue:
        area, place = heapq.heappop(queue)
        if area != areas[place]:  # it has grown since
            continue
        around = borders[place]
        if not around:
            lost[place] = area < settings.least_alone
            continue
        large = [other for other in around if areas[other] >= settings.heir_ratio * area]
        heir = max(large or around, key=lambda other: (around[other], -other))
        heirs[place], areas[place] = heir, 0.0
        areas[heir] += area
        _hand_over(borders, place, heir)
        if places.small[heir]:
            heapq.heappush(queue, (areas[heir], heir))
    while (heirs != heirs[heirs]).any():
        heirs = heirs[heirs]
    return heirs, lost


def _borders(places: _Places, tree: PartTree) -> list[dict[int, float]]:
    """For each place those that it touches, and the length of the border."""
    ends = places.of_atom[tree.touching]
    between = np.not_equal(*ends.T)
    pairs, which = distinct_pairs(ends[between], len(places.areas))
    lengths = np.bincount(which, tree.contact[between], minlength=len(pairs))
    borders: list[dict[int, float]] = [{} for _ in places.areas]
    for (first, second), length in zip(pairs.tolist(), lengths.tolist(), strict=True):
        borders[first][second] = borders[second][first] = length
    return borders


def _hand_over(borders: list[dict[int, float]], place: int, heir: int) -> None:
    """What touched `place` touches `heir`."""
    for other, length in borders[place].items():
        del borders[other][place]
        if other != heir:
            borders[heir][other] = borders[other][heir] = borders[heir].get(other, 0.0) + length
    borders[place] = {}


def _nearest(
    of_atom: IntArray, lost: NDArray[np.bool_], tree: PartTree, sites: Sites, points: FloatArray
) -> IntArray:
    """For each of the `lost` places [P] the nearest of the others, int64 [P]. of_atom: int64 [A]"""
    of_site = of_atom[tree.atoms]
    located, of_located = points, of_site[sites.of_point]  # as dense where faces are large
    if lost[of_located].all():
        located, of_located = sites.locations, of_site
    there = np.flatnonzero(~lost[of_located])
    asked = np.flatnonzero(lost[of_site])
    distance, index = nearest_several(located[there], sites.locations[asked], 1)
    found = np.arange(len(lost))
    order = np.argsort(-distance[:, 0], kind="stable")  # the nearest last, which stays
    found[of_site[asked[order]]] = of_located[there[index[order, 0]]]
    return found


def _container(tree: PartTree, owners: IntArray, inside: NDArray[np.bool_]) -> int:
    """The innermost node, from what shows there on, that holds all of `inside` bool [A]."""
    node = int(owners[inside.argmax()])
    while not tree.inside[node, inside].all():
        node = int(tree.parents[node])
    return node
