# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens to the work in progress when Blender's data changes under it."""

from __future__ import annotations

import bpy
from bpy.app.handlers import persistent

from . import undo_steps
from .session import get_session


@persistent
def _before_load(*_arguments: object) -> None:
    session = get_session()
    session.abandon("Another file was opened; the running work was dropped")
    session.held.clear()
    session.finished = None


@persistent
def _before_undo(*_arguments: object) -> None:
    get_session().live.before_undo()


@persistent
def _after_undo(*_arguments: object) -> None:
    session = get_session()
    if session.is_free and session.notices:  # they tell of what may be gone now
        session.notices = ()
        session.redraw()


def register() -> None:
    bpy.app.handlers.load_pre.append(_before_load)
    bpy.app.handlers.undo_post.append(_after_undo)
    for handlers in (bpy.app.handlers.undo_pre, bpy.app.handlers.redo_pre):
        handlers.append(_before_undo)


def unregister() -> None:
    bpy.app.handlers.load_pre.remove(_before_load)
    bpy.app.handlers.undo_post.remove(_after_undo)
    for handlers in (bpy.app.handlers.undo_pre, bpy.app.handlers.redo_pre):
        handlers.remove(_before_undo)
    undo_steps.unregister()
