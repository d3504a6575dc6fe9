# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports in the user's language."""

from __future__ import annotations

from bpy.app.translations import pgettext_n, pgettext_rpt


def say(message: str, **values: object) -> str:
    """The translated message with its `{values}`. Messages are written in US English."""
    return str(pgettext_rpt(pgettext_n(message))).format(**values)
