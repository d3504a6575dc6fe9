# SPDX-License-Identifier: GPL-3.0-or-later
"""Calculations in portions, so that whoever runs them can show progress and stop in between. No bpy."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

Steps = Generator[float, None, Any]
"""After each portion it yields the share that is done; in the end it returns its value."""


def advance(steps: Steps) -> tuple[float | None, Any]:
    """The share that is done after the next portion; after the last None, and the value of all."""
    try:
        return next(steps), None
    except StopIteration as stop:
        return None, stop.value


def finish(steps: Steps) -> Any:
    """Run `steps` to their end, here and now; their value."""
    share: float | None = 0.0
    while share is not None:
        share, value = advance(steps)
    return value
