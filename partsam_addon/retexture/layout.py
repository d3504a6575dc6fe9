# SPDX-License-Identifier: GPL-3.0-or-later
"""Rectangles in a square. Pure numpy."""

from __future__ import annotations

import numpy as np

from ..mesh_exchange.arrays import FloatArray, IntArray

_WIDTH_TRIALS = 48


def pack_rectangles(sizes: FloatArray) -> tuple[FloatArray, float]:
    """Place rectangles of width and height [n, 2] without overlap: lower left corners [n, 2], side.

    All lie within a square of that side. Shelves of falling height; the best of several shelf widths.
    """
    order = np.lexsort((np.arange(len(sizes)), -sizes[:, 0], -sizes[:, 1]))
    least = max(float(np.sqrt(np.prod(sizes, axis=1).sum())), float(sizes[:, 0].max()))
    best: tuple[FloatArray, float] | None = None
    for width in least * np.geomspace(1.0, 2.0, _WIDTH_TRIALS):
        corners, height = _shelves(sizes, order, float(width))
        side = max(float((corners[:, 0] + sizes[:, 0]).max()), height)
        if best is None or side < best[1]:
            best = corners, side
    assert best is not None
    return best


def _shelves(sizes: FloatArray, order: IntArray, width: float) -> tuple[FloatArray, float]:
    corners = np.zeros((len(sizes), 2))
    x = y = shelf = 0.0
    for index in order.tolist():
        w, h = sizes[index]
        if x > 0 and x + w > width * (1 + 1e-9):
            x, y, shelf = 0.0, y + shelf, 0.0
        corners[index] = x, y
        x, shelf = x + w, max(shelf, h)
    return corners, y + shelf
