# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts by clicks: positive and negative points on the mesh with a live preview, part after part.

`operator` listens to the mouse and the keyboard, `gestures` makes clicks of them, `work` keeps them and
talks to the backend, `preview` and `cursor` draw. `picker` finds the place on the encoded mesh that lies
under the mouse.
"""

from __future__ import annotations

import bpy

from . import actions, keys, operator, settings, tool
from .prompts import Click
from .work import ClickWork

__all__ = ["Click", "ClickWork", "classes", "register", "unregister"]

classes = (*settings.classes, *operator.classes, *actions.classes)


def register() -> None:
    """Attach settings, keys and the toolbar's tool. Call after registering `classes`."""
    settings.register()
    keys.register()
    if not bpy.app.background:
        tool.register()


def unregister() -> None:
    """Undo `register`."""
    if not bpy.app.background:
        tool.unregister()
    keys.unregister()
    settings.unregister()
