# SPDX-License-Identifier: GPL-3.0-or-later
"""Names that nobody typed: "Part 1", "Part 2", ... by size.

A part keeps id and color while a slider moves, as otherwise all colors would jump, so an automatic name is
not that of the id: it is numbered anew with each cut.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import bpy
import numpy as np

from ..mesh_exchange.arrays import FloatArray
from .memory import automatic_name, is_customized, remembered_ids
from .palette import default_name
from .schema import PARTSAM_PG_part
from .snapshots import unnoticed


def name_by_size(mesh: bpy.types.Mesh, part_ids: Collection[int]) -> None:
    """Number the names of those of `part_ids` that the user neither named nor colored, the largest first.

    Numbers of other parts are left out. Of equal ones the smaller id comes first.
    """
    parts = list(mesh.partsam.parts)
    chosen = [part for part in parts if part.part_id in part_ids and not is_customized(part)]
    sizes = rounded_sizes(np.array([part.area for part in chosen]))
    order = np.lexsort(([part.part_id for part in chosen], -sizes))
    chosen_ids = {part.part_id for part in chosen}
    others = [part for part in parts if part.part_id not in chosen_ids]
    numbers = {part.part_id for part in others if part.name != automatic_name(part)} | remembered_ids(mesh)
    names = _free_names({part.name for part in others} | {default_name(number) for number in numbers})
    given = {chosen[index].part_id: name for index, name in zip(order.tolist(), names, strict=False)}
    with unnoticed(mesh.partsam):
        rename_parts(mesh, given)
        for part in chosen:
            part.automatic_name = part.name


def rename_parts(mesh: bpy.types.Mesh, names: Mapping[int, str]) -> None:
    """Give parts new names, by id; they can be the names that others of them have now."""
    changed = [part for part in mesh.partsam.parts if names.get(part.part_id, part.name) != part.name]
    for part in changed:
        part.name = f"partsam {part.part_id}"
    for part in changed:
        part.name = names[part.part_id]


def name_new(part: PARTSAM_PG_part, taken: Collection[str], preferred: str = "") -> None:
    """Give a new part an automatic name that is not `taken`: `preferred` where that is free, else the one of
    its id."""
    wanted = [name for name in (preferred, default_name(part.part_id)) if name and name not in taken]
    part.name = part.automatic_name = wanted[0] if wanted else next(_free_names(taken))


def rounded_sizes(sizes: FloatArray) -> FloatArray:
    """Sizes of which those are equal that differ by rounding only."""
    rounded: FloatArray = np.round(sizes / max(float(sizes.sum()), np.finfo(float).tiny), 6)
    return rounded


def _free_names(taken: Collection[str]) -> Iterator[str]:
    number = 0
    while True:
        number += 1
        if (name := default_name(number)) not in taken:
            yield name
