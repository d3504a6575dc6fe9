# SPDX-License-Identifier: GPL-3.0-or-later
"""Colours that tell parts apart, from the label alone, so that two runs look the same."""

from __future__ import annotations

import colorsys
from typing import Any

import numpy as np

from .color_space import srgb_to_linear

_GOLDEN_RATIO = 0.618033988749895

_SHADES = ((0.85, 0.60), (0.50, 0.60), (0.95, 0.35), (0.70, 0.90), (0.62, 0.40))
"""(value, saturation) of successive labels. Golden hues come near each other after 8, 13, 21 or 34 steps:
a cycle of five gives these pairs different shades."""


def part_color(label: int) -> tuple[float, float, float]:
    """sRGB colour of a part in [0, 1]; hues advance by the golden ratio, so that any prefix is spread."""
    value, saturation = _SHADES[label % len(_SHADES)]
    return colorsys.hsv_to_rgb((0.08 + label * _GOLDEN_RATIO) % 1.0, saturation, value)


def part_materials(count: int) -> tuple[dict[str, Any], ...]:
    """glTF materials named and coloured for the labels 0..count-1."""
    digits = max(2, len(str(count - 1)))
    return tuple(
        {
            "name": f"part_{label:0{digits}d}",
            "doubleSided": True,
            "pbrMetallicRoughness": {
                "baseColorFactor": [*srgb_to_linear(np.array(part_color(label))).tolist(), 1.0],
                "metallicFactor": 0.0,
                "roughnessFactor": 0.8,
            },
        }
        for label in range(count)
    )
