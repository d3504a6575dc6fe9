# SPDX-License-Identifier: GPL-3.0-or-later
"""Edits by hand: merging, deleting, assigning. None of them runs in Edit mode; see `object_mode`."""

from __future__ import annotations

from collections.abc import Collection

import bpy
import numpy as np

from ...backend.errors import PromptError
from ..mesh_exchange.arrays import BoolArray
from ..mesh_exchange.elements import element_flags, forget_integers, is_cloud
from ..wording import say
from .attributes import read_edits, read_part_ids
from .edits import ABSORBED, FIXED, FOLLOWS, mark_edits
from .growing import give_to_neighbors
from .origin import OWN_ATTRIBUTES
from .palette import UNASSIGNED
from .polygon_graph import build_polygon_graph, part_borders
from .revision import note_change
from .snapshots import unnoticed
from .table import (
    active_part,
    forget_retired,
    free_ids,
    get_part,
    locked_ids,
    set_active_part,
    sync_table,
    write_part_ids,
)


def merge_parts(mesh: bpy.types.Mesh, part_id: int, into: int) -> None:
    """Give all faces of one part to another. PromptError if either is locked or unknown."""
    if part_id == into:
        raise PromptError("A part cannot be merged with itself; choose another one")
    merge_all(mesh, [part_id, into], into)


def merge_all(mesh: bpy.types.Mesh, part_ids: Collection[int], into: int) -> None:
    """Make one part of several, by hand. PromptError if one is locked or unknown, or there is only one."""
    chosen = {*part_ids, into}
    for part_id in sorted(chosen):
        _check_unlocked(mesh, part_id)
    if len(chosen) < 2:
        raise PromptError("Choose at least two parts to merge")
    of_face = read_part_ids(mesh)
    joined = np.isin(of_face, list(chosen))
    of_face[joined] = into
    mark_edits(mesh, joined, FIXED)
    write_part_ids(mesh, of_face)
    get_part(mesh, into).confidence = -1.0
    set_active_part(mesh, into)


def check_parts(mesh: bpy.types.Mesh, part_ids: Collection[int]) -> None:
    """Check exactly these parts in the list. Works in every mode."""
    wanted = {part.part_id: part.part_id in part_ids for part in mesh.partsam.parts}
    if all(part.checked == wanted[part.part_id] for part in mesh.partsam.parts):
        return
    with unnoticed(mesh.partsam):
        for part in mesh.partsam.parts:
            part.checked = wanted[part.part_id]
    note_change(mesh)


def merge_checked(mesh: bpy.types.Mesh) -> tuple[int, int]:
    """Make one part of those that are checked in the list: the active one if it is, else the largest.

    Returns how many there were and the id of the one. PromptError where fewer than two are checked.
    """
    chosen = [part for part in mesh.partsam.parts if part.checked]
    if len(chosen) < 2:
        raise PromptError("Check at least two parts in the list, or pick them in the viewport")
    active = active_part(mesh)
    into = active if active is not None and active.checked else max(chosen, key=lambda part: part.area)
    ids, into_id = [part.part_id for part in chosen], int(into.part_id)
    merge_all(mesh, ids, into_id)
    check_parts(mesh, ())
    return len(ids), into_id


def neighbors(mesh: bpy.types.Mesh, part_id: int) -> list[int]:
    """The unlocked parts that touch this one, the longest common border first."""
    get_part(mesh, part_id)
    borders = part_borders(build_polygon_graph(mesh), read_part_ids(mesh))
    barred = {UNASSIGNED, part_id, *locked_ids(mesh)}
    found = [
        (-length, other)
        for pair, length in borders.items()
        if part_id in pair
        for other in pair
        if other not in barred
    ]
    return [other for _, other in sorted(found)]


def closest_neighbor(mesh: bpy.types.Mesh, part_id: int) -> int:
    """The unlocked part with the longest border to this one; PromptError if none touches it."""
    found = neighbors(mesh, part_id)
    if not found:
        raise PromptError("No unlocked part touches this one; choose the part to merge with")
    return found[0]


def delete_parts(mesh: bpy.types.Mesh, part_ids: Collection[int]) -> None:
    """Take parts away: their faces go to the parts around, ring by ring, each by the longest border.

    Faces that touch no other unlocked part go to the nearest one; with none left they are in no part.
    Later cuts do not bring the parts back. PromptError if one is locked or unknown.
    """
    for part_id in sorted(part_ids):
        _check_unlocked(mesh, part_id)
    of_face = read_part_ids(mesh)
    doomed = np.isin(of_face, list(part_ids))
    receivers = ~doomed & ~np.isin(of_face, [UNASSIGNED, *locked_ids(mesh)])
    # Without a part around there is nothing that could take the faces at the next cut either.
    mark_edits(mesh, doomed, ABSORBED if receivers.any() else FOLLOWS)
    write_part_ids(mesh, give_to_neighbors(mesh, of_face, doomed, receivers))


def delete_part(mesh: bpy.types.Mesh, part_id: int) -> None:
    """`delete_parts` for one part."""
    delete_parts(mesh, [part_id])


def remove_small_parts(mesh: bpy.types.Mesh, share: float) -> int:
    """Give parts with less than `share` of the mesh's area to their neighbors; returns how many.

    Parts that are locked or made by hand stay, and so does the largest part.
    """
    parts = list(mesh.partsam.parts)
    largest = max(parts, key=lambda part: part.area, default=None)
    small = [
        part.part_id
        for part in parts
        if part.area < share * mesh.partsam.area and not part.locked and not part.by_hand and part != largest
    ]
    if small:
        delete_parts(mesh, small)
    return len(small)


def release_edits(mesh: bpy.types.Mesh, faces: BoolArray | None = None) -> int:
    """Let the cut decide again on what was done by hand; to the polygons in a mask [P], or everywhere.

    Nothing changes before the next cut. Returns the number of faces that were by hand.
    """
    released = read_edits(mesh) != FOLLOWS
    if faces is not None:
        released &= faces
    mark_edits(mesh, released, FOLLOWS)
    sync_table(mesh)
    return int(released.sum())


def assign_selected(mesh: bpy.types.Mesh, part_id: int) -> int:
    """Put the selected faces into a part; faces of locked parts stay. Returns how many moved."""
    _check_unlocked(mesh, part_id)
    chosen = _movable_selection(mesh)
    part_ids = read_part_ids(mesh)
    part_ids[chosen] = part_id
    mark_edits(mesh, part_ids == part_id, FIXED)
    write_part_ids(mesh, part_ids)
    set_active_part(mesh, part_id)
    return int(chosen.sum())


def new_part_from_selected(mesh: bpy.types.Mesh, name: str = "") -> int:
    """Make a part of the selected faces; faces of locked parts stay. Returns its id."""
    chosen = _movable_selection(mesh)
    part_ids = read_part_ids(mesh)
    (part_id,) = free_ids(np.unique(part_ids).tolist(), 1)
    part_ids[chosen] = part_id
    forget_retired(mesh, {part_id})
    mark_edits(mesh, chosen, FIXED)
    write_part_ids(mesh, part_ids)
    if name:
        get_part(mesh, part_id).name = name
    set_active_part(mesh, part_id)
    return part_id


def clear_parts(mesh: bpy.types.Mesh) -> None:
    """Forget all parts, locked ones as well."""
    forget_integers(mesh, *OWN_ATTRIBUTES)
    # The parts are retired, not gone: undo in Edit mode brings back their faces and nothing else.
    sync_table(mesh)


def _check_unlocked(mesh: bpy.types.Mesh, part_id: int) -> None:
    part = get_part(mesh, part_id)
    if part.locked:
        raise PromptError(say('"{name}" is locked; unlock it first', name=part.name))


def _movable_selection(mesh: bpy.types.Mesh) -> BoolArray:
    selected = element_flags(mesh, "select")
    if not selected.any():
        what = say("points") if is_cloud(mesh) else say("faces")
        raise PromptError(say("No {what} are selected; select some in Edit mode", what=what))
    movable = selected & ~np.isin(read_part_ids(mesh), locked_ids(mesh))
    if not movable.any():
        raise PromptError("All selected faces belong to locked parts; unlock them first")
    return movable
