# SPDX-License-Identifier: GPL-3.0-or-later
"""Colours and default names of parts, from their ids alone."""

from __future__ import annotations

import colorsys

UNASSIGNED = 0
"""Part id of faces in no part: what Blender gives to faces that are created later."""

UNASSIGNED_COLOR = (0.35, 0.35, 0.35)

_GOLDEN_RATIO = 0.618033988749895
_SATURATIONS = (0.62, 0.85, 0.42)
_VALUES = (0.95, 0.72, 0.88, 0.58)


def part_color(part_id: int) -> tuple[float, float, float]:
    """Display colour (sRGB) of a part. Always the same for an id; neighbouring ids differ clearly.

    Hues step by the golden ratio, which spreads any first n of them over the circle; saturation and
    value cycle with other periods, so that near hues differ in those.
    """
    if part_id == UNASSIGNED:
        return UNASSIGNED_COLOR
    step = part_id - 1
    return colorsys.hsv_to_rgb(
        (0.58 + step * _GOLDEN_RATIO) % 1.0,
        _SATURATIONS[step % len(_SATURATIONS)],
        _VALUES[step % len(_VALUES)],
    )


def default_name(part_id: int) -> str:
    """Name of a part that nobody has named."""
    return f"Part {part_id}"


def is_default_name(name: str) -> bool:
    """Whether nobody has to have typed the name."""
    number = name.rpartition(" ")[2]
    return number.isdecimal() and name == default_name(int(number))
