# SPDX-License-Identifier: GPL-3.0-or-later
"""An accepted part into the mesh."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypedDict

import bpy
import numpy as np

from ...backend.errors import PromptError
from ..mesh_exchange import MeshSource, find_object
from ..mesh_exchange.arrays import BoolArray, FloatArray, IntArray
from ..parts import (
    KEEP,
    UNASSIGNED,
    get_part,
    has_parts,
    open_faces,
    read_part_ids,
    set_active_part,
    write_labels,
    write_part_ids,
)
from ..parts.crumbs import named_parts, read_surroundings, without_crumbs
from ..parts.edits import FIXED, mark_edits
from .masks import Preview, obey_clicks

NEW_PART = 0

BESIDE_POLYGONS = 50_000
"""From so many on crumbs are looked for beside Blender, which takes a tenth of a second and more."""

ONE_PART_SHARE = 0.3
"""Two sides of a symmetric mesh that share this much of the smaller one are one part."""


@dataclass(frozen=True)
class Target:
    """The existing part that clicks change. action: ADD to it, TAKE from it, or REPLACE its faces"""

    part_id: int
    action: str


@dataclass(frozen=True)
class Accepted:
    """A part that the user accepted.

    preview: what was on the screen; also: bool [P], polygons that come to it from elsewhere
    polygons: bool [P], what is written
    part_id: its id, 0 while it is not written
    """

    preview: Preview
    polygons: BoolArray
    target: Target | None
    part_id: int = 0
    also: BoolArray | None = None


def parts_of(preview: Preview, twin: Preview | None, target: Target | None) -> list[Accepted]:
    """What is accepted with a preview and the one on the other side of a symmetric mesh, if there is one.

    Two parts, as two arms are; but one where both sides overlap, as on a trunk, or where both go into a
    part that exists.
    """
    part = Accepted(preview, preview.polygons, target)
    if twin is None:
        return [part]
    shared = (preview.polygons & twin.polygons).sum()
    smaller = max(1, min(preview.polygons.sum(), twin.polygons.sum()))
    if target is None and shared < ONE_PART_SHARE * smaller:
        return [part, Accepted(twin, twin.polygons, None)]
    return [replace(part, polygons=part.polygons | twin.polygons, also=twin.polygons)]


def settled_polygons(refined: BoolArray, part: Accepted) -> BoolArray:
    """Polygons [P] of a part whose mask was refined; what was clicked is in, what was excluded is out."""
    inside = refined if part.also is None else refined | part.also
    return obey_clicks(inside, part.preview.clicks)


def rivals_of(part: Accepted, earlier: Sequence[Accepted]) -> list[Accepted]:
    """Parts of the same run that want some of the same polygons as a new part.

    A click inside an earlier part means to carve something out of it: that part gives way everywhere.
    """
    if part.target is not None:
        return []
    clicked = [click.polygon for click in part.preview.clicks if click.positive and click.polygon >= 0]
    return [
        other
        for other in earlier
        if (other.polygons & part.polygons).any() and not other.polygons[clicked].any()
    ]


def joint_clicks(parts: Sequence[Accepted]) -> tuple[FloatArray, IntArray] | None:
    """The places of the positive clicks on all parts, float64 [K, 3] in object space, and the part of each,
    int [K]; None where clicks do not say what a whole part is."""
    if len(parts) < 2 or any(part.target is not None for part in parts):
        return None
    clicks = [
        (click.place, index)
        for index, part in enumerate(parts)
        for click in part.preview.clicks
        if click.positive
    ]
    return np.array([place for place, _ in clicks]), np.array([index for _, index in clicks])


def contested(part: Accepted, rivals: Sequence[Accepted], joint: IntArray | None = None) -> BoolArray:
    """The polygons of a new part, bool [P], without those that its rivals want more.

    joint: int [P], which of (part, *rivals) has a polygon when all are asked together, -1 for none of
        them; where it says nothing the higher probability wins
    """
    own = part.polygons.copy()
    for index, other in enumerate(rivals, start=1):
        both = own & other.polygons
        mine = part.preview.probability > other.preview.probability
        if joint is not None:
            mine = np.where((joint == 0) | (joint == index), joint == 0, mine)
        own[both] = mine[both]
    return obey_clicks(own, part.preview.clicks)


class AcceptedChange:
    """An accepted part as a change of the scene (see session.writing).

    What little remains of other parts beside it comes along: borders of two answers never agree exactly.

    written: the part with its id and its faces, once `write` has run
    """

    def __init__(self, source: MeshSource, part: Accepted, earlier: Sequence[Accepted] = ()) -> None:
        """earlier: the other parts of this run, which keep what was clicked for them"""
        self.written = part
        self._source, self._part = source, part
        self._polygons = part.polygons
        self._searched: _Searched | None = None
        self._clicked_before = [polygon for other in earlier for polygon in _clicked(other, positive=True)]

    def search_crumbs(self) -> Callable[[], None] | None:
        """Reads what `write` has to look at for longest. Returns what does that, for a thread beside Blender;
        `write` does it itself without, and where parts have changed since. None where it is soon done.
        """
        source = self._source
        if source.polygon_count < BESIDE_POLYGONS:
            return None
        obj = find_object(source.object_uid, name=source.object_name)
        if obj.mode == "EDIT" or len(obj.data.polygons) != source.polygon_count or not has_parts(obj.data):
            return None
        taken, surroundings = self._taken(obj.data), read_surroundings(obj.data)
        if not taken.any():
            return None

        def search() -> None:
            tidied = surroundings.without_crumbs(taken, **self._crumb_rules())
            self._searched = _Searched(taken, surroundings.part_ids, surroundings.named, tidied)

        return search

    def find(self) -> bpy.types.Object:
        source = self._source
        return find_object(source.object_uid, name=source.object_name, unchanged_since=source)

    def check(self, mesh: bpy.types.Mesh) -> None:
        if not self._polygons.any():
            raise PromptError("The part under the clicks is empty; click elsewhere, or ask for a larger part")
        target = self._part.target
        takes = target is not None and target.action == "TAKE"
        if not takes and not open_faces(mesh, self._polygons, by_hand=True).any():
            raise PromptError("All faces under the clicks belong to locked parts; unlock them first")
        if target is None:
            return
        if get_part(mesh, target.part_id).locked:
            raise PromptError("This part is locked; unlock it first")
        own = read_part_ids(mesh) == target.part_id
        if takes and not (own & ~self._polygons).any():
            raise PromptError("This would take all faces of the part; delete it in the list instead")

    def write(self, mesh: bpy.types.Mesh) -> None:
        part = self._part
        polygons = self._tidied(mesh)
        if part.target is None:
            labels = np.where(polygons, NEW_PART, KEEP).astype(np.int32)
            given = write_labels(mesh, labels, confidences=[part.preview.score], by_hand=True)
            part_id = given[NEW_PART]
        else:
            part_id = part.target.part_id
            _change_part(mesh, polygons, part.target)
        set_active_part(mesh, part_id)
        inside: BoolArray = read_part_ids(mesh) == part_id
        self.written = replace(part, polygons=inside, part_id=part_id)

    def _tidied(self, mesh: bpy.types.Mesh) -> BoolArray:
        """What is written, bool [P]: without crumbs of parts that lose faces."""
        taken, searched = self._taken(mesh), self._searched
        if searched is not None and searched.holds(mesh, taken):
            tidied = searched.tidied
        else:
            tidied = without_crumbs(mesh, taken, **self._crumb_rules())
        return (self._polygons & ~taken) | tidied

    def _taken(self, mesh: bpy.types.Mesh) -> BoolArray:
        """The polygons [P] that change their part."""
        target = self._part.target
        taken = open_faces(mesh, self._polygons, by_hand=True)
        if target is not None:
            taken &= (read_part_ids(mesh) == target.part_id) == (target.action == "TAKE")
        return taken

    def _crumb_rules(self) -> _CrumbRules:
        kept = [*_clicked(self._part, positive=False), *self._clicked_before]
        clicked = _clicked(self._part, positive=True)
        return {"clicked": clicked, "kept": kept, "inherits": self._part.target is None}


class _CrumbRules(TypedDict):
    """See `without_crumbs`."""

    clicked: list[int]
    kept: list[int]
    inherits: bool


@dataclass(frozen=True)
class _Searched:
    """tidied: bool [P], `taken` [P] without crumbs, of a mesh with these part ids [P] and named parts"""

    taken: BoolArray
    part_ids: IntArray
    named: frozenset[int]
    tidied: BoolArray

    def holds(self, mesh: bpy.types.Mesh, taken: BoolArray) -> bool:
        """Whether that is what `mesh`, whose geometry was looked at, still has."""
        return (
            np.array_equal(taken, self.taken)
            and np.array_equal(read_part_ids(mesh), self.part_ids)
            and named_parts(mesh) == self.named
        )


def _clicked(part: Accepted, *, positive: bool) -> list[int]:
    """The polygons that were clicked for a part, or excluded."""
    return [
        click.polygon
        for click in part.preview.clicks
        if click.positive == positive and 0 <= click.polygon < len(part.polygons)
    ]


def _change_part(mesh: bpy.types.Mesh, polygons: BoolArray, target: Target) -> None:
    """Add `polygons` [P] to a part, take them out of it, or make it consist of them."""
    before = read_part_ids(mesh)
    part_ids = before.copy()
    own = part_ids == target.part_id
    if target.action == "TAKE":
        part_ids[own & polygons] = UNASSIGNED
    else:
        if target.action == "REPLACE":
            part_ids[own] = UNASSIGNED
        part_ids[open_faces(mesh, polygons, by_hand=True)] = target.part_id
    mark_edits(mesh, (part_ids != before) | (part_ids == target.part_id), FIXED)
    write_part_ids(mesh, part_ids)
