# SPDX-License-Identifier: GPL-3.0-or-later
"""Pairs of parts that mirror each other left and right."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection

import numpy as np

from ..mesh_exchange.arrays import FloatArray
from ..parts.palette import is_default_name
from .part_shapes import PartShape

TOLERANCE = 0.04
"""How far a mirrored part may lie from its partner, relative to the diagonal of the whole."""

_SIDE = re.compile(r"([._\- ](l|r|left|right))$", re.IGNORECASE)

_NUMBERED = re.compile(r"(?P<stem>.+)\.(?P<number>\d{3})")
"""What Blender makes of a name that is taken; a typed name may look like it."""


def mirrored_pairs(shapes: dict[int, PartShape]) -> list[tuple[int, int]]:
    """Pairs (left, right) of parts that mirror each other across X; left lies at larger X.

    The mirror plane is that of the object (X = 0) or the middle of its bounding box, whichever gives
    more pairs.
    """
    low = np.min([shape.low for shape in shapes.values()], axis=0)
    high = np.max([shape.high for shape in shapes.values()], axis=0)
    diagonal = float(np.linalg.norm(high - low))
    planes = (0.0, float((low[0] + high[0]) / 2))
    return max((_pairs_across(shapes, plane, diagonal) for plane in planes), key=len)


def side_names(names: dict[int, str], pairs: list[tuple[int, int]]) -> dict[int, str]:
    """New names for the parts of pairs: the name without its side, then `.L` and `.R`.

    Of a typed name and an automatic one the typed one counts. Pairs with two different typed names (a sword
    and a shield) keep them and are left out.
    """
    renamed: dict[int, str] = {}
    plain = _without_copy_numbers(names.values())
    bases = {
        (left, right): base
        for left, right in pairs
        if (base := _base(plain[names[left]], plain[names[right]]))
    }
    changing = {part for pair in bases for part in pair}
    taken = {name for part, name in names.items() if part not in changing}
    for (left, right), base in bases.items():
        stem, number = base, 1
        while f"{stem}.L" in taken or f"{stem}.R" in taken:
            stem, number = f"{base} {number + 1}", number + 1
        renamed[left], renamed[right] = f"{stem}.L", f"{stem}.R"
        taken |= {f"{stem}.L", f"{stem}.R"}
    return renamed


def _without_copy_numbers(names: Collection[str]) -> dict[str, str]:
    """For each of `names`, which differ, the one without the number that Blender has added.

    It is Blender's where the rest names another part, or did: the numbers then run from 1. The number of
    "Gear.120" alone was typed.
    """
    found = {name: _NUMBERED.fullmatch(name) for name in names}
    copies = Counter(match["stem"] for match in found.values() if match)
    return {
        name: match["stem"]
        if match and (match["stem"] in found or 0 < int(match["number"]) <= copies[match["stem"]])
        else name
        for name, match in found.items()
    }


def _base(left: str, right: str) -> str:
    """What two parts that mirror each other are both called, given their names without copy numbers; empty
    where they have different typed names."""
    first, second = (_SIDE.sub("", name) for name in (left, right))
    if first == second or is_default_name(second):
        return first
    return second if is_default_name(first) else ""


def _pairs_across(shapes: dict[int, PartShape], plane: float, diagonal: float) -> list[tuple[int, int]]:
    lefts = [part for part, shape in shapes.items() if shape.center[0] - plane > TOLERANCE / 2 * diagonal]
    rights = [part for part, shape in shapes.items() if plane - shape.center[0] > TOLERANCE / 2 * diagonal]
    candidates = sorted(
        (cost, left, right)
        for left in lefts
        for right in rights
        if (cost := _mismatch(shapes[left], shapes[right], plane)) <= TOLERANCE * diagonal
    )
    pairs: list[tuple[int, int]] = []
    for _, left, right in candidates:
        if not any(left in pair or right in pair for pair in pairs):
            pairs.append((left, right))
    return sorted(pairs)


def _mismatch(left: PartShape, right: PartShape, plane: float) -> float:
    """How far one part lies from the other's mirror image: centres, and box corners at half weight.

    A border that runs a little differently on one side moves a corner of the box far more than the centre.
    """
    low, high = _box_mirror(right, plane)
    center = np.linalg.norm(left.center - _mirror(right.center, plane))
    box = max(np.linalg.norm(left.low - low), np.linalg.norm(left.high - high))
    return float(max(center, box / 2))


def _mirror(point: FloatArray, plane: float) -> FloatArray:
    return np.array([2 * plane - point[0], point[1], point[2]])


def _box_mirror(shape: PartShape, plane: float) -> tuple[FloatArray, FloatArray]:
    low, high = _mirror(shape.low, plane), _mirror(shape.high, plane)
    return np.minimum(low, high), np.maximum(low, high)
