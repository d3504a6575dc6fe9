# SPDX-License-Identifier: GPL-3.0-or-later
"""What the click tool sets up around itself, and takes away again on every way out."""

from __future__ import annotations

import bpy

from .preview import ClickPreview
from .work import ClickWork

TIMER_SECONDS = 0.1


class Surroundings:
    """The preview, a timer that wakes the tool, and its texts in header and status bar.

    Disabling the add-on removes a running modal operator without a word to it; therefore all of this is
    kept apart from the operator and removed by whoever ends the work.
    """

    def __init__(self, context: bpy.types.Context, work: ClickWork, *, hint: str) -> None:
        self._preview = ClickPreview(work)
        self._timer = context.window_manager.event_timer_add(TIMER_SECONDS, window=context.window)
        context.workspace.status_text_set(hint)

    def remove(self) -> None:
        """Take everything away."""
        self._preview.remove()
        manager = bpy.context.window_manager
        manager.event_timer_remove(self._timer)
        for window in manager.windows:
            window.workspace.status_text_set(None)
            for area in window.screen.areas:
                if area.type == "VIEW_3D":
                    area.header_text_set(None)
