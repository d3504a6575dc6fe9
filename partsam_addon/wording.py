# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports in the user's language."""

from __future__ import annotations

from bpy.app.translations import pgettext_n, pgettext_rpt


def say(message: str, **values: object) -> str:
    """The translated message with its `{values}`. Messages are written in US English."""
    return str(pgettext_rpt(pgettext_n(message))).format(**values)


def say_count(count: int, one: str, several: str, **values: object) -> str:
    """`say` with the message for `count` things: `one` for a single one, `several` for none or more."""
    return say(one if count == 1 else several, count=f"{count:,}", **values)


def say_error(error: Exception) -> str:
    """The translated message of an error; with values it is translated already, except the backend's."""
    return str(pgettext_rpt(str(error)))
