# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of a mesh: the face attribute that holds the truth, and the table that describes it.

The face attribute `partsam_part` gives every polygon the id of its part (0: in no part). The table
`mesh.partsam.parts` holds what a number cannot: name, colour, lock, confidence. Both are saved with the
mesh and follow undo. The table is kept in step by `sync_table`; where they differ, the attribute wins.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import bpy
import numpy as np

from ...backend.errors import PromptError
from ..constants import PART_ATTRIBUTE
from ..mesh_exchange.arrays import FloatArray, IntArray
from ..mesh_exchange.elements import (
    element_count,
    element_sizes,
    has_element_integers,
    has_older_integers,
    hides_points,
    write_element_integers,
)
from ..wording import say
from .attributes import mark_origin, read_atoms, read_edits, read_part_ids
from .edits import FIXED
from .memory import is_customized
from .naming import name_new
from .palette import UNASSIGNED, UNASSIGNED_COLOR, part_color
from .revision import note_change
from .schema import PARTSAM_PG_part, PARTSAM_PG_parts, unique_name
from .snapshots import unnoticed

MAX_RETIRED = 256
"""Former parts that are remembered, so that their name and color come back with their faces."""

_SAME_AREA = 1e-5
"""Relative difference of areas up to which a part counts as unchanged: they are stored with 24 bits."""


@dataclass(frozen=True)
class Faces:
    """What is known of each polygon, all int32 [P]: see `attributes`."""

    part_ids: IntArray
    edits: IntArray
    atoms: IntArray


def has_parts(mesh: bpy.types.Mesh) -> bool:
    """Whether `mesh` has been segmented. Works in every mode."""
    # An older name is changed by `bring_together`, and faces take over what points have.
    if not any(
        known(mesh, PART_ATTRIBUTE) for known in (has_element_integers, has_older_integers, hides_points)
    ):
        return False
    # Without an origin the table was never made: the faces came from another mesh.
    return len(mesh.partsam.parts) > 0 or mesh.partsam.origin == 0


def is_outdated(mesh: bpy.types.Mesh) -> bool:
    """Whether faces were added or removed since the parts were counted. Not in Edit mode."""
    return has_parts(mesh) and mesh.partsam.face_count != element_count(mesh)


def write_part_ids(mesh: bpy.types.Mesh, part_ids: IntArray, *, areas: FloatArray | None = None) -> None:
    """Store the part id of each polygon, int32 [P], and bring the table into step. Not in Edit mode.

    areas: of the polygons [P], if the caller has them at hand
    """
    write_element_integers(mesh, PART_ATTRIBUTE, part_ids)
    mark_origin(mesh)
    note_change(mesh)
    sync_table(mesh, read_faces(mesh, part_ids), areas=areas)


def sync_table(mesh: bpy.types.Mesh, faces: Faces | None = None, *, areas: FloatArray | None = None) -> None:
    """Make the table hold exactly the parts that have faces, with their face counts and areas.

    faces, areas: of the polygons [P], if the caller has them at hand. `mesh` must not be in Edit mode.
    """
    known = read_faces(mesh) if faces is None else faces
    match_table(mesh, known, element_sizes(mesh) if areas is None else areas)


def read_faces(mesh: bpy.types.Mesh, part_ids: IntArray | None = None) -> Faces:
    """What is known of each polygon, whose part ids int32 [P] may be at hand. Not in Edit mode."""
    ids = read_part_ids(mesh) if part_ids is None else part_ids
    return Faces(ids, read_edits(mesh), read_atoms(mesh))


def match_table(mesh: bpy.types.Mesh, faces: Faces, face_areas: FloatArray) -> None:
    """`sync_table` from what is known of the faces, and their areas [P], for a mesh in any mode."""
    with unnoticed(mesh.partsam):
        _match_table(mesh, faces, face_areas)


def _match_table(mesh: bpy.types.Mesh, faces: Faces, face_areas: FloatArray) -> None:
    counts, areas = _measure(faces.part_ids, face_areas)
    table = mesh.partsam
    active = active_part(mesh)
    active_id = active.part_id if active is not None else UNASSIGNED
    present = set(np.flatnonzero(counts).tolist()) - {UNASSIGNED}
    known = [part.part_id for part in table.parts]
    for index in reversed(range(len(known))):
        if known[index] not in present:
            _retire(table, index)
    _add_parts(table, sorted(present - set(known)))
    _sort(table)
    fixed = np.bincount(faces.part_ids[faces.edits == FIXED], minlength=len(counts))
    levels = _levels_of_parts(mesh, faces, len(counts))
    for part in table.parts:
        count, area = int(counts[part.part_id]), float(areas[part.part_id])
        if count != part.face_count or abs(area - part.area) > _SAME_AREA * area:
            part.repeat = 0
        part.face_count, part.area = count, area
        part.by_hand = bool(fixed[part.part_id])
        part.level = levels[part.part_id]
    table.face_count, table.area = len(faces.part_ids), float(areas.sum())
    _activate(mesh, active_id)


def adopt_description(mesh: bpy.types.Mesh, part_id: int, described: PARTSAM_PG_part) -> None:
    """Have a part that is about to get faces look as one of another mesh."""
    forget_retired(mesh, {part_id})
    with unnoticed(mesh.partsam):
        kept = mesh.partsam.retired.add()
        kept.part_id = part_id
        _copy_description(described, kept)
        if not is_customized(described):
            taken = {part.name for part in mesh.partsam.parts if part.part_id != part_id}
            name_new(kept, taken, described.name)
            kept.color = part_color(part_id)


def forget_retired(mesh: bpy.types.Mesh, part_ids: Collection[int]) -> None:
    """Drop what is remembered of former parts with these ids, because they become new parts."""
    retired = mesh.partsam.retired
    for index in reversed(range(len(retired))):
        if retired[index].part_id in part_ids:
            retired.remove(index)


def get_part(mesh: bpy.types.Mesh, part_id: int) -> PARTSAM_PG_part:
    """The part with this id; PromptError if there is none."""
    for part in mesh.partsam.parts:
        if part.part_id == part_id:
            return part
    raise PromptError(
        say(
            '"{name}" has no part with the id {part_id}; choose one from the list',
            name=mesh.name,
            part_id=part_id,
        )
    )


def parts_by_id(mesh: bpy.types.Mesh) -> dict[int, PARTSAM_PG_part]:
    """The parts by id: for work on many of them, as `get_part` looks at each."""
    return {part.part_id: part for part in mesh.partsam.parts}


def active_part(mesh: bpy.types.Mesh) -> PARTSAM_PG_part | None:
    """The part that is active in the list."""
    table = mesh.partsam
    return table.parts[table.active_index] if 0 <= table.active_index < len(table.parts) else None


def set_active_part(mesh: bpy.types.Mesh, part_id: int) -> None:
    """Make the part with this id active in the list."""
    get_part(mesh, part_id)
    _activate(mesh, part_id)


def locked_ids(mesh: bpy.types.Mesh) -> list[int]:
    """Ids of the locked parts."""
    return [part.part_id for part in mesh.partsam.parts if part.locked]


def free_ids(used: Iterable[int], count: int) -> list[int]:
    """The `count` smallest part ids that are not in `used`."""
    taken = set(used)
    ids: list[int] = []
    candidate = UNASSIGNED + 1
    while len(ids) < count:
        if candidate not in taken:
            ids.append(candidate)
        candidate += 1
    return ids


def color_table(mesh: bpy.types.Mesh) -> FloatArray:
    """Display colour (sRGB) of each part id, float32 [largest id + 1, 3]; index it with part ids."""
    largest = max((part.part_id for part in mesh.partsam.parts), default=0)
    colors = np.tile(np.array(UNASSIGNED_COLOR, dtype=np.float32), (largest + 1, 1))
    for part in mesh.partsam.parts:
        colors[part.part_id] = part.color
    return colors


def _measure(part_ids: IntArray, areas: FloatArray) -> tuple[IntArray, FloatArray]:
    size = int(part_ids.max(initial=0)) + 1
    counts = np.bincount(part_ids, minlength=size)
    weights = np.nan_to_num(areas).astype(np.float64)
    totals: FloatArray = np.bincount(part_ids, weights=weights, minlength=size).astype(np.float64)
    return counts, totals


def _levels_of_parts(mesh: bpy.types.Mesh, faces: Faces, size: int) -> list[int]:
    """Number of the level that most faces of each part id belong to; 0 for none. Counts the levels' faces."""
    levels = mesh.partsam.levels
    votes = np.zeros((len(levels) + 1, size), dtype=np.int64)
    for row, level in enumerate(levels):
        inside = (faces.atoms >= level.first_atom) & (faces.atoms < level.first_atom + level.atom_count)
        level.face_count = int(inside.sum())
        votes[row] = np.bincount(faces.part_ids[inside], minlength=size)
    numbers = np.array([*(level.number for level in levels), 0])
    return numbers[np.where(votes.sum(axis=0) > 0, votes.argmax(axis=0), len(levels))].tolist()


def _add_parts(table: PARTSAM_PG_parts, part_ids: Iterable[int]) -> None:
    """Parts at the end of the list, as they were if they are retired. Names differ from all others."""
    names = {part.name for part in table.parts}
    retired = {former.part_id: index for index, former in reversed(list(enumerate(table.retired)))}
    back: list[int] = []
    for part_id in part_ids:
        part = table.parts.add()
        part.part_id = part_id
        if part_id in retired:
            back.append(retired[part_id])
            _bring_back(table.retired[back[-1]], part, names)
        else:
            name_new(part, names)
            part.color = part_color(part_id)
        names.add(part.name)
    for index in sorted(back, reverse=True):
        table.retired.remove(index)


def _bring_back(former: PARTSAM_PG_part, part: PARTSAM_PG_part, taken: Collection[str]) -> None:
    _copy_description(former, part)
    if is_customized(former):
        part.name = unique_name(former.name, taken)
    else:
        name_new(part, taken, former.name)


def _sort(table: PARTSAM_PG_parts) -> None:
    """Order the list by id; new parts were added at its end."""
    ordered: list[int] = []
    for index, part_id in enumerate([part.part_id for part in table.parts]):
        place = bisect_right(ordered, part_id)
        ordered.insert(place, part_id)
        if place != index:
            table.parts.move(index, place)


def _retire(table: PARTSAM_PG_parts, index: int) -> None:
    """Move a part without faces to the retired ones: an undo in Edit mode may bring its faces back."""
    part = table.parts[index]
    kept = table.retired.add()
    kept.part_id = part.part_id
    _copy_description(part, kept)
    table.parts.remove(index)
    if len(table.retired) > MAX_RETIRED:
        plain = (i for i, former in enumerate(table.retired) if not is_customized(former))
        table.retired.remove(next(plain, 0))


def _copy_description(source: PARTSAM_PG_part, target: PARTSAM_PG_part) -> None:
    target.name, target.automatic_name = source.name, source.automatic_name
    target.color = source.color
    target.locked = source.locked
    target.confidence = source.confidence


def _activate(mesh: bpy.types.Mesh, part_id: int) -> None:
    table = mesh.partsam
    ids = [part.part_id for part in table.parts]
    fallback = max(0, min(table.active_index, len(ids) - 1))
    table.active_index = ids.index(part_id) if part_id in ids else fallback
