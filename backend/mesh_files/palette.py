# SPDX-License-Identifier: GPL-3.0-or-later
"""Colours that tell parts apart, from the label alone, so that two runs look the same."""

from __future__ import annotations

import colorsys
from typing import Any

import numpy as np

from .surface_colors import srgb_to_linear

_GOLDEN_RATIO = 0.618033988749895

_LIGHTNESS = ((0.55, 0.65), (0.90, 0.50), (0.70, 0.80))
"""(value, saturation) of successive labels: neighbours in hue differ in brightness, too."""


def part_color(label: int) -> tuple[float, float, float]:
    """sRGB colour of a part in [0, 1]; hues advance by the golden ratio, so that any prefix is spread."""
    value, saturation = _LIGHTNESS[label % len(_LIGHTNESS)]
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
