# SPDX-License-Identifier: GPL-3.0-or-later
"""How many parts a cut leaves in the list: those that it makes, and those that it leaves as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import bpy
import numpy as np

from ..mesh_exchange.arrays import BoolArray, FloatArray, IntArray
from ..mesh_exchange.elements import element_sizes
from .attributes import read_atoms, read_part_ids
from .labeling import Places, count_parts, open_to_labels
from .levels import faces_of_level
from .memory import read_memory
from .palette import UNASSIGNED
from .part_tree import PartTree, granularity_for
from .schema import PARTSAM_PG_level


@dataclass(frozen=True)
class Room:
    """What a cut may change. open: bool [P], polygons or points that get their part from it
    kept: the number of parts that all others have
    """

    open: BoolArray
    kept: int = 0

    def at(self, elements: IntArray) -> Room:
        """The same by what lies in polygons or points [K], below 0 for none, which is open: bool [K]."""
        return Room((elements < 0) | self.open[elements], self.kept)


Rooms = Mapping[bool, Room]
"""By whether what was made by hand stays."""


def rooms_of(mesh: bpy.types.Mesh, inside: BoolArray, *, within: bool) -> Rooms:
    """Both rooms for a cut; see `room_of`."""
    return {keep: room_of(mesh, inside, within=within, keep_edits=keep) for keep in (True, False)}


def room_of(mesh: bpy.types.Mesh, inside: BoolArray, *, within: bool, keep_edits: bool = True) -> Room:
    """The room for a cut of the polygons or points in a mask [P]: without what is locked, or made by hand.

    within: only parts in `inside` count, as of a part that is split again, else all in the list
    keep_edits: what was made by hand stays
    Not in Edit mode.
    """
    part_ids = read_part_ids(mesh)
    writable, absorbed = open_to_labels(mesh, inside, by_hand=not keep_edits)
    stays = ~(writable | absorbed) & (inside | (not within)) & (part_ids != UNASSIGNED)
    return Room(writable, len(np.unique(part_ids[stays])))


def granularity_of_levels(mesh: bpy.types.Mesh, levels: Sequence[PARTSAM_PG_level], count: int) -> float:
    """Where to cut `levels`, those that are driven together, for about so many parts in the list; of a level
    of some faces only, so many among those.

    Raises MeshError where a stored tree cannot be read. Not in Edit mode.
    """
    faces = [faces_of_level(mesh, level) for level in levels]
    kept = room_of(mesh, np.any(faces, axis=0), within=bool(levels[0].title)).kept
    counts = [_part_counts(mesh, level, inside) for level, inside in zip(levels, faces, strict=True)]
    return granularity_for(count, [np.array([kept]), *counts])


def _part_counts(mesh: bpy.types.Mesh, level: PARTSAM_PG_level, inside: BoolArray) -> IntArray:
    """How many parts each step of `level`, the polygons in a mask [P], makes, int [S]."""
    tree, part_ids, memory = PartTree.from_text(level.data), read_part_ids(mesh), read_memory(mesh)
    writable, absorbed = open_to_labels(mesh, inside, by_hand=False)
    kept = set(np.unique(part_ids[~(writable | absorbed)]).tolist())
    if memory is None:
        memory = np.zeros_like(part_ids)
    alike = np.stack([read_atoms(mesh) - level.first_atom, part_ids, memory, writable])[:, inside]
    (atoms, old, remembered, is_open), sizes = _summed(alike, np.nan_to_num(element_sizes(mesh))[inside])
    places = Places(old, remembered, is_open > 0, sizes)
    return tree.at_steps(lambda labels: count_parts(mesh, labels[atoms], places, kept=kept))


def _summed(columns: IntArray, values: FloatArray) -> tuple[IntArray, FloatArray]:
    """The distinct columns of int [R, N], none of them negative, and the sum float64 of the values [N] of
    each."""
    keys = np.zeros(columns.shape[1], dtype=np.int64)
    for row in columns:
        keys = keys * (int(row.max(initial=0)) + 1) + row
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    sums: FloatArray = np.bincount(inverse, weights=values).astype(np.float64)
    return columns[:, first], sums
