# SPDX-License-Identifier: GPL-3.0-or-later
"""What the click tool sets up around itself, and takes away again on every way out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import bpy

from ..view import sync_display
from .cursor import CursorText, cursor_lines
from .picker import Picker
from .preview import ClickPreview
from .work import ClickWork

TIMER_SECONDS = 0.02


class Surroundings:
    """The preview, the text at the mouse, a timer that wakes the tool, and the texts in the status bar.

    Disabling the add-on removes a running modal operator without a word to it; therefore all of this is
    kept apart from the operator and removed by whoever ends the work.
    """

    def __init__(
        self,
        context: bpy.types.Context,
        work: ClickWork,
        picker: Picker,
        *,
        draw_status: Callable[[bpy.types.Header, bpy.types.Context], None],
    ) -> None:
        self.preview = ClickPreview(work, picker)
        self._cursor = CursorText(partial(cursor_lines, work))
        self._picker = picker
        self._timer = context.window_manager.event_timer_add(TIMER_SECONDS, window=context.window)
        context.workspace.status_text_set(draw_status)
        context.window_manager.partsam_clicks.is_running = True
        bpy.app.handlers.depsgraph_update_post.append(self._scene_changed)
        bpy.app.handlers.undo_post.append(self._scene_changed)
        bpy.app.handlers.redo_post.append(self._scene_changed)
        bpy.app.handlers.frame_change_post.append(self._scene_changed)

    def remove(self) -> None:
        """Take everything away."""
        self.preview.remove()
        self._cursor.remove()
        handlers = bpy.app.handlers
        for functions in (
            handlers.depsgraph_update_post,
            handlers.undo_post,
            handlers.redo_post,
            handlers.frame_change_post,
        ):
            if self._scene_changed in functions:
                functions.remove(self._scene_changed)
        manager = bpy.context.window_manager
        manager.event_timer_remove(self._timer)
        manager.partsam_clicks.is_running, manager.partsam_clicks.hidden = False, ""
        for obj in bpy.data.objects:
            sync_display(obj)
        for window in manager.windows:
            window.workspace.status_text_set(None)

    def _scene_changed(self, *_arguments: object) -> None:
        self._picker.is_stale = True
