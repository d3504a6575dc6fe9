# SPDX-License-Identifier: GPL-3.0-or-later
"""One part by clicks: positive and negative points on the mesh, with a live preview."""

from __future__ import annotations

from .operator import classes
from .work import Click, ClickWork

__all__ = ["Click", "ClickWork", "classes"]
