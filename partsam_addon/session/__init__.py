# SPDX-License-Identifier: GPL-3.0-or-later
"""What is running: the backend process, the work in progress and the last results.

`get_session()` is the one door. It exists between `register` and `unregister` and holds no
reference to Blender data: objects are remembered by name and number and looked up again.
"""

from __future__ import annotations

from .session import Session, close_session, get_session, open_session

__all__ = ["Session", "close_session", "get_session", "open_session"]
