# SPDX-License-Identifier: GPL-3.0-or-later
"""What parts look like on the screen: overlay, exploded view, isolation. Nothing here changes a shape.

Views are only drawn: renders, exports, modifiers and other programs see the object as it is.
"""

from .exploded import explode, separated_group, shown_offsets
from .isolate import isolate_part, isolated_part, show_all_parts, shown_polygons
from .state import sync_display

__all__ = [
    "explode",
    "isolate_part",
    "isolated_part",
    "separated_group",
    "show_all_parts",
    "shown_offsets",
    "shown_polygons",
    "sync_display",
]
