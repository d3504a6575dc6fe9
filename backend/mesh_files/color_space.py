# SPDX-License-Identifier: GPL-3.0-or-later
"""sRGB and linear light."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def srgb_to_linear(srgb: NDArray) -> NDArray:
    """IEC 61966-2-1 decoding of values in [0, 1]."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(linear: NDArray) -> NDArray:
    """IEC 61966-2-1 encoding of values in [0, 1]."""
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
