# SPDX-License-Identifier: GPL-3.0-or-later
"""Crumbs: the little that is left of a part beside one that is cut out of it. Borders of two answers about
the same place never agree exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import bpy
import numpy as np

from ..mesh_exchange.arrays import (
    BoolArray,
    FloatArray,
    IntArray,
    corner_edges,
    corner_polygons,
    edge_vertices,
    vertex_positions,
)
from ..mesh_exchange.elements import element_sizes, is_cloud
from .attributes import read_part_ids
from .memory import is_customized
from .palette import UNASSIGNED
from .polygon_graph import PolygonGraph, polygon_graph, regions_of

SPECK_FACES, SPECK_SHARE = 8, 0.003
"""Of at most so many faces, and at most so much of the part's area, is what nobody would call a part."""
STRIP_SHARE, STRIP_ROUNDNESS = 0.06, 0.02
"""Up to this share of the part's area a strip is one: what has an area of less than so many squares of its
border's length (a disc has 0.08, a square 0.06; borders along faces are jagged, which halves that)."""
REPLACED_SHARE = 0.02
"""A part of which no more than this is left was meant as a whole."""
CRUMB_OF_TAKEN = 0.1
"""A crumb is smaller than this share of what was taken."""


@dataclass(frozen=True)
class Surroundings:
    """What of a mesh decides on crumbs, read at once, so that they can be looked for beside Blender.

    part_ids: int [P]; areas: float64 [P]
    positions, ends, corner_edge, corner_polygon: see `polygon_graph`
    named: the parts that the user has named or colored
    """

    part_ids: IntArray
    areas: FloatArray
    positions: FloatArray
    ends: IntArray
    corner_edge: IntArray
    corner_polygon: IntArray
    named: frozenset[int]

    def without_crumbs(
        self, taken: BoolArray, *, clicked: Sequence[int], kept: Sequence[int], inherits: bool
    ) -> BoolArray:
        """See `without_crumbs`. Takes a while, and touches nothing of Blender's."""
        ids, areas = self.part_ids, self.areas
        graph = polygon_graph(self.positions, self.ends, self.corner_edge, self.corner_polygon)
        if inherits:
            own = _Pieces(graph, taken, np.zeros_like(ids), areas)
            specks = own.are_specks(areas[taken].sum()) & own.touch(~taken)
            specks[own.regions[list(clicked)]] = False
            taken = taken & ~specks[own.regions]
        left = _Pieces(
            graph, ~taken & (np.bincount(ids[taken], minlength=ids.max() + 1) > 0)[ids], ids, areas
        )
        of_parts = np.bincount(ids, weights=areas).astype(np.float64)
        remains = np.bincount(ids[left.inside], weights=areas[left.inside], minlength=len(of_parts))
        replaced = (remains < REPLACED_SHARE * of_parts) & (np.arange(len(of_parts)) != UNASSIGNED)
        small = (left.are_specks(of_parts[ids]) | left.are_strips(of_parts[ids])) & left.touch(taken)
        small |= replaced[ids]
        small &= left.sizes < CRUMB_OF_TAKEN * areas[taken].sum()
        small[left.regions[list(kept)]] = False
        crumbs = left.inside & small[left.regions]
        lost = np.bincount(ids[taken], weights=areas[taken]).astype(np.float64)
        return taken | (crumbs & ~np.isin(ids, self._spared(~taken & ~crumbs, lost, inherits=inherits)))

    def _spared(self, left: BoolArray, lost: FloatArray, *, inherits: bool) -> list[int]:
        """The parts whose crumbs stay because nothing else is left of them.

        left: bool [P], what is left without crumbs; lost: float [ids], the area that each part loses
        otherwise
        """
        gone = np.setdiff1d(np.flatnonzero(lost), self.part_ids[left]).tolist()
        if not inherits:
            return gone
        heir = max(gone, key=lambda part_id: lost[part_id], default=None)
        return [part_id for part_id in gone if part_id in self.named and part_id != heir]


def read_surroundings(mesh: bpy.types.Mesh) -> Surroundings:
    """Not in Edit mode, and not of a cloud."""
    return Surroundings(
        read_part_ids(mesh),
        np.nan_to_num(element_sizes(mesh)).astype(np.float64),
        vertex_positions(mesh),
        edge_vertices(mesh),
        corner_edges(mesh),
        corner_polygons(mesh),
        named_parts(mesh),
    )


def named_parts(mesh: bpy.types.Mesh) -> frozenset[int]:
    """The parts that the user has named or colored."""
    return frozenset(part.part_id for part in mesh.partsam.parts if is_customized(part))


def without_crumbs(
    mesh: bpy.types.Mesh, taken: BoolArray, *, clicked: Sequence[int], kept: Sequence[int], inherits: bool
) -> BoolArray:
    """What to take, polygons [P], so that no crumbs are left: `taken` [P] with those that would be left of
    parts, and without its own specks.

    clicked, kept: polygons that stay in, and out, with the piece that they are in
    inherits: whether what is taken becomes a part of its own, which takes over the name of one whose last
        faces go. No other part that the user has named or colored loses its last faces as crumbs; without
        this no part at all does

    Not in Edit mode.
    """
    if is_cloud(mesh) or not taken.any():
        return taken
    return read_surroundings(mesh).without_crumbs(taken, clicked=clicked, kept=kept, inherits=inherits)


class _Pieces:
    """The connected pieces of each part within a mask.

    inside: the mask, bool [P]; regions: int [P], the smallest polygon of the piece that each is in
    sizes: float [P], area of each piece, at its smallest polygon; counts: int [P], of its polygons
    """

    def __init__(self, graph: PolygonGraph, inside: BoolArray, ids: IntArray, areas: FloatArray) -> None:
        """inside: bool [P]; ids: int [P], pieces do not go across; areas: float [P]"""
        first, second = graph.pairs.T
        self._related = graph.pairs[ids[first] == ids[second]]
        self.inside = inside
        self.regions = regions_of(self._related[inside[self._related].all(axis=1)], len(ids))
        of_inside = self.regions[inside]
        self.sizes = np.bincount(of_inside, weights=areas[inside], minlength=len(ids))
        self.counts = np.bincount(of_inside, minlength=len(ids))
        rim = self.regions[first] != self.regions[second]
        ends, lengths = self.regions[graph.pairs[rim]], graph.lengths[rim]
        self._borders = sum(np.bincount(end, weights=lengths, minlength=len(ids)) for end in ends.T)

    def are_specks(self, of_part: FloatArray | float) -> BoolArray:
        """Which pieces are specks, bool [P], at their smallest polygons; of_part: the area of the part."""
        return (self.counts <= SPECK_FACES) & (self.sizes < SPECK_SHARE * of_part)

    def are_strips(self, of_part: FloatArray) -> BoolArray:
        """The same for strips."""
        return (self.sizes < STRIP_SHARE * of_part) & (self.sizes < STRIP_ROUNDNESS * self._borders**2)

    def touch(self, others: BoolArray) -> BoolArray:
        """The same for those that touch `others` [P] of their part."""
        touching = np.zeros(len(others), dtype=bool)
        for side, other in (self._related.T, self._related.T[::-1]):
            touching[self.regions[side[self.inside[side] & others[other]]]] = True
        return touching
