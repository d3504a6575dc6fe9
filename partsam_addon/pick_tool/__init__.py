# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts picked in the viewport: the name at the mouse, the row in the list, several to be merged.

`operator` listens to the mouse and the keyboard, `picking` knows what lies under it and what was picked.
"""

from .operator import classes
from .picking import PartPicking

__all__ = ["PartPicking", "classes"]
