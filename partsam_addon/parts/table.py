# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of a mesh: the face attribute that holds the truth, and the table that describes it.

The face attribute `partsam_part` gives every polygon the id of its part (0: in no part). The table
`mesh.partsam.parts` holds what a number cannot: name, colour, lock, confidence. Both are saved with the
mesh and follow undo. The table is kept in step by `sync_table`; where they differ, the attribute wins.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import bpy
import numpy as np
from bpy.props import (
    BoolProperty,
    CollectionProperty,
    FloatProperty,
    FloatVectorProperty,
    IntProperty,
    StringProperty,
)

from ...backend.errors import PromptError
from ..constants import PART_ATTRIBUTE
from ..mesh_exchange.arrays import (
    FloatArray,
    IntArray,
    polygon_areas,
    read_polygon_integers,
    write_polygon_integers,
)
from .memory import is_customized
from .palette import UNASSIGNED, UNASSIGNED_COLOR, default_name, part_color

MAX_RETIRED = 256
"""Former parts that are remembered, so that their name and colour come back with their faces."""


def _keep_name_unique(part: bpy.types.PropertyGroup, _context: bpy.types.Context) -> None:
    table = part.id_data.partsam.parts
    unique = unique_name(part.name, (other.name for other in table if other.part_id != part.part_id))
    if unique != part.name:
        part.name = unique


def _redraw(part: bpy.types.PropertyGroup, _context: bpy.types.Context) -> None:
    part.id_data.update_tag()


class PARTSAM_PG_part(bpy.types.PropertyGroup):
    """One part of a mesh."""

    part_id: IntProperty(name="Id", description="Value of the face attribute partsam_part")
    name: StringProperty(
        name="Name",
        description="Name of the part; vertex groups, objects, materials and bones are called by it",
        update=_keep_name_unique,
    )
    color: FloatVectorProperty(
        name="Colour",
        description="Colour of the part in the viewport",
        subtype="COLOR_GAMMA",
        size=3,
        min=0.0,
        max=1.0,
        update=_redraw,
    )
    locked: BoolProperty(
        name="Locked",
        description="Keep the faces of this part when the mesh is segmented again or parts are edited",
    )
    confidence: FloatProperty(
        name="Confidence",
        description="How sure the network is of this part; below zero where it was made by hand",
        default=-1.0,
        min=-1.0,
        max=1.0,
    )
    face_count: IntProperty(name="Faces", description="Number of faces of the part")
    area: FloatProperty(name="Area", description="Surface area of the part, without the object's scale")


class PARTSAM_PG_parts(bpy.types.PropertyGroup):
    """The parts of a mesh, in the order of the list; `retired` ones have lost all their faces."""

    parts: CollectionProperty(type=PARTSAM_PG_part)
    active_index: IntProperty(name="Active Part", description="Part that the buttons work on")
    retired: CollectionProperty(type=PARTSAM_PG_part)


def has_parts(mesh: bpy.types.Mesh) -> bool:
    """Whether `mesh` has been segmented. Works in every mode."""
    return len(mesh.partsam.parts) > 0 and PART_ATTRIBUTE in mesh.attributes


def read_part_ids(mesh: bpy.types.Mesh) -> IntArray:
    """Part id of each polygon, int32 [P]; 0 where it is in no part. `mesh` must not be in Edit mode."""
    ids = read_polygon_integers(mesh, PART_ATTRIBUTE)
    if ids is None:
        return np.full(len(mesh.polygons), UNASSIGNED, dtype=np.int32)
    return np.maximum(ids, UNASSIGNED)


def write_part_ids(mesh: bpy.types.Mesh, part_ids: IntArray) -> None:
    """Store the part id of each polygon, int32 [P], and bring the table into step."""
    write_polygon_integers(mesh, PART_ATTRIBUTE, part_ids)
    sync_table(mesh, part_ids)


def sync_table(mesh: bpy.types.Mesh, part_ids: IntArray | None = None) -> None:
    """Make the table hold exactly the parts that have faces, with their face counts and areas.

    part_ids: int32 [P], if the caller has them at hand. `mesh` must not be in Edit mode.
    """
    ids = read_part_ids(mesh) if part_ids is None else part_ids
    match_table(mesh, ids, polygon_areas(mesh))


def match_table(mesh: bpy.types.Mesh, part_ids: IntArray, areas: FloatArray) -> None:
    """`sync_table` from the part ids and areas [P] of the faces, for a mesh in any mode."""
    counts, areas = _measure(part_ids, areas)
    table = mesh.partsam
    active = active_part(mesh)
    active_id = active.part_id if active is not None else UNASSIGNED
    for index in reversed(range(len(table.parts))):
        part_id = table.parts[index].part_id
        if part_id >= len(counts) or not counts[part_id]:
            _retire(table, index)
    known = {part.part_id for part in table.parts}
    for part_id in np.flatnonzero(counts).tolist():
        if part_id != UNASSIGNED and part_id not in known:
            _add_part(mesh, part_id)
    _sort(table)
    for part in table.parts:
        part.face_count = int(counts[part.part_id])
        part.area = float(areas[part.part_id])
    _activate(mesh, active_id)


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
    raise PromptError(f'"{mesh.name}" has no part with the id {part_id}; choose one from the list')


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


def unique_name(name: str, taken: Iterable[str]) -> str:
    """`name`, with a number if it is taken, as Blender numbers its data."""
    names = set(taken)
    base = name or "Part"
    if base not in names:
        return base
    number = 1
    while f"{base}.{number:03d}" in names:
        number += 1
    return f"{base}.{number:03d}"


def _measure(part_ids: IntArray, areas: FloatArray) -> tuple[IntArray, FloatArray]:
    size = int(part_ids.max(initial=0)) + 1
    counts = np.bincount(part_ids, minlength=size)
    weights = np.nan_to_num(areas).astype(np.float64)
    totals: FloatArray = np.bincount(part_ids, weights=weights, minlength=size).astype(np.float64)
    return counts, totals


def _add_part(mesh: bpy.types.Mesh, part_id: int) -> None:
    table = mesh.partsam
    part = table.parts.add()
    part.part_id = part_id
    for index in range(len(table.retired)):
        if table.retired[index].part_id == part_id:
            _copy_description(table.retired[index], part)
            table.retired.remove(index)
            return
    part.name = default_name(part_id)
    part.color = part_color(part_id)


def _sort(table: PARTSAM_PG_parts) -> None:
    """Order the list by id; new parts were added at its end."""
    for index in range(1, len(table.parts)):
        part_id = table.parts[index].part_id
        place = index
        while place > 0 and table.parts[place - 1].part_id > part_id:
            place -= 1
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
    target.name = source.name
    target.color = source.color
    target.locked = source.locked
    target.confidence = source.confidence


def _activate(mesh: bpy.types.Mesh, part_id: int) -> None:
    table = mesh.partsam
    ids = [part.part_id for part in table.parts]
    fallback = max(0, min(table.active_index, len(ids) - 1))
    table.active_index = ids.index(part_id) if part_id in ids else fallback
