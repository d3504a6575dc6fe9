# SPDX-License-Identifier: GPL-3.0-or-later
"""Icons of one color, for menus of parts."""

from __future__ import annotations

from collections.abc import Sequence

import bpy
import bpy.utils.previews

SIZE = 16
"""Pixels along each side, of which a frame stays empty."""

FRAME = 3


class Swatches:
    """One icon for each color, made when it is first wanted."""

    def __init__(self) -> None:
        self._icons: bpy.utils.previews.ImagePreviewCollection | None = None

    def icon(self, color: Sequence[float]) -> int:
        """Icon number of a color (sRGB), as enum items and layouts want it."""
        if self._icons is None:
            self._icons = bpy.utils.previews.new()
        red, green, blue = (round(255 * value) for value in color)
        name = f"{red:02x}{green:02x}{blue:02x}"
        if name not in self._icons:
            icon = self._icons.new(name)
            icon.icon_size = icon.image_size = (SIZE, SIZE)
            inside = range(FRAME, SIZE - FRAME)
            filled = [1.0 if x in inside and y in inside else 0.0 for y in range(SIZE) for x in range(SIZE)]
            pixels = [value for alpha in filled for value in (red / 255, green / 255, blue / 255, alpha)]
            icon.icon_pixels_float = pixels
            icon.image_pixels_float = pixels
        return int(self._icons[name].icon_id)

    def close(self) -> None:
        """Free all icons."""
        if self._icons is not None:
            bpy.utils.previews.remove(self._icons)
            self._icons = None


_swatches = Swatches()


def swatch(color: Sequence[float]) -> int:
    """See `Swatches.icon`."""
    return _swatches.icon(color)


def unregister() -> None:
    """Free all icons."""
    _swatches.close()
