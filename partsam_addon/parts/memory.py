# SPDX-License-Identifier: GPL-3.0-or-later
"""Where parts lay that the user had named or coloured, for when their faces become a part again.

The granularity slider merges parts and takes them apart again: names must come back with the parts.
A hidden face attribute remembers the extent of such a part from when it vanishes.
"""

from __future__ import annotations

from collections.abc import Collection

import bpy
import numpy as np

from ..mesh_exchange.arrays import BoolArray, FloatArray, IntArray, distinct
from ..mesh_exchange.elements import has_element_integers, read_element_integers, write_element_integers
from .palette import default_name, part_color

MEMORY_ATTRIBUTE = ".partsam_memory"

_SAME_COLOR = 1e-4
"""Colors are stored with 32 bits."""

MIN_OVERLAP = 0.5
"""Shared over joint area (IoU) from which faces count as the remembered part."""


def is_customized(part: bpy.types.PropertyGroup) -> bool:
    """Whether the user named or coloured the part."""
    if part.name != automatic_name(part):
        return True
    channels = zip(part.color, part_color(part.part_id), strict=True)
    return any(abs(own - plain) > _SAME_COLOR for own, plain in channels)


def automatic_name(part: bpy.types.PropertyGroup) -> str:
    """The name that the part has unless the user named it. Older files do not store it: it was the id's."""
    return part.automatic_name or default_name(part.part_id)


def read_memory(mesh: bpy.types.Mesh) -> IntArray | None:
    """The id of the remembered part that was where each polygon is, int32 [P], 0 for none; None for no part
    at all. Not in Edit mode."""
    return read_element_integers(mesh, MEMORY_ATTRIBUTE)


def remembered_ids(mesh: bpy.types.Mesh) -> set[int]:
    """Ids of former parts that the user had named or coloured."""
    if not has_element_integers(mesh, MEMORY_ATTRIBUTE):
        return set()
    return {part.part_id for part in mesh.partsam.retired if is_customized(part)}


def remember_vanishing(mesh: bpy.types.Mesh, old: IntArray, new: IntArray) -> None:
    """Note where customized parts lie in the part ids `old` [P] that `new` [P] does not have.

    Faces that are remembered for an earlier part stay so: it is the smaller one, merged first.
    """
    present = set(distinct(new)[0].tolist())
    vanishing = [p.part_id for p in mesh.partsam.parts if p.part_id not in present and is_customized(p)]
    if not vanishing:
        return
    memory = read_memory(mesh)
    if memory is None:
        memory = np.zeros(len(old), dtype=np.int32)
    memory[np.isin(memory, vanishing)] = 0
    here = np.isin(old, vanishing) & ~np.isin(memory, list(remembered_ids(mesh)))
    memory[here] = old[here]
    write_element_integers(mesh, MEMORY_ATTRIBUTE, memory)


def recall(
    mesh: bpy.types.Mesh,
    memory: IntArray | None,
    faces: BoolArray,
    groups: IntArray,
    areas: FloatArray,
    *,
    taken: Collection[int],
) -> dict[int, int]:
    """Groups of faces that are where a remembered part was: group -> its id.

    memory: int [P], `read_memory`
    faces: bool [P], the N faces that are grouped; groups: int [N]; areas: [P], of all faces
    taken: ids that are not free
    """
    found: dict[int, int] = {}
    if memory is None:
        return found
    for part_id in sorted(remembered_ids(mesh) - set(taken)):
        there = memory == part_id
        inside = there[faces]
        if not inside.any():
            continue
        shared = np.bincount(groups[inside], weights=areas[faces][inside], minlength=int(groups.max()) + 1)
        group = int(np.argmax(shared))
        joint = areas[there].sum() + areas[faces][groups == group].sum() - shared[group]
        if group not in found and shared[group] >= MIN_OVERLAP * joint:
            found[group] = part_id
    return found
