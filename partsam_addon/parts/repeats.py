# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts that are copies of each other, moved, turned or mirrored: four legs, twelve bolts.

Which those are is found once, and kept in the table until a part's faces change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import bpy
import numpy as np

from ..mesh_exchange.arrays import FloatArray
from .revision import note_change
from .schema import PARTSAM_PG_part
from .table import get_part


def write_repeats(mesh: bpy.types.Mesh, groups: Sequence[Mapping[int, FloatArray]]) -> None:
    """Store groups of copies: for each part id the motion [4, 4] from the group's first part to it."""
    for part in mesh.partsam.parts:
        part.repeat = 0
    for number, group in enumerate(groups, 1):
        for part_id, motion in group.items():
            part = get_part(mesh, part_id)
            part.repeat, part.repeat_motion = number, np.asarray(motion, dtype=np.float64).ravel().tolist()
    note_change(mesh)


def copies_of(mesh: bpy.types.Mesh, part: PARTSAM_PG_part) -> list[PARTSAM_PG_part]:
    """The parts that are copies of each other and this one is one of; `part` alone where it has none."""
    if not part.repeat:
        return [part]
    return [other for other in mesh.partsam.parts if other.repeat == part.repeat]


def repeat_groups(mesh: bpy.types.Mesh) -> list[dict[int, FloatArray]]:
    """All groups of two or more copies, as they were given to `write_repeats`."""
    groups: dict[int, dict[int, FloatArray]] = {}
    for part in mesh.partsam.parts:
        if part.repeat:
            motion = np.array(part.repeat_motion, dtype=np.float64).reshape(4, 4)
            groups.setdefault(part.repeat, {})[part.part_id] = motion
    return [group for group in groups.values() if len(group) > 1]
