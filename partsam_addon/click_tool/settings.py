# SPDX-License-Identifier: GPL-3.0-or-later
"""Switches of the click tool, shown in its header; not saved, not part of undo."""

from __future__ import annotations

import bpy
from bpy.props import BoolProperty, PointerProperty, StringProperty

from ..session import get_session
from .work import ClickWork


def _follow(settings: bpy.types.PropertyGroup, _context: bpy.types.Context) -> None:
    session = get_session()
    if isinstance(session.clicks, ClickWork):
        session.clicks.set_mirror(settings.mirror)
    session.redraw()


class PARTSAM_PG_clicks(bpy.types.PropertyGroup):
    """How the click tool works."""

    mirror: BoolProperty(
        name="Mirror X",
        description="Mirror clicks and result across the object's X axis",
        options={"SKIP_SAVE"},
        update=_follow,
    )
    through: BoolProperty(
        name="X-Ray",
        description="Other objects do not cover the mesh, and box and lasso reach what lies behind",
        options={"SKIP_SAVE"},
        update=_follow,
    )
    hide_accepted: BoolProperty(
        name="Hide Accepted",
        description="Hide parts that were accepted, so that what they cover can be clicked",
        options={"SKIP_SAVE"},
        update=_follow,
    )
    hidden: StringProperty(
        description="What is hidden: session_uid of the object, colon, ids of its parts with commas",
        options={"SKIP_SAVE", "HIDDEN"},
    )
    is_running: BoolProperty(options={"SKIP_SAVE", "HIDDEN"})


def register() -> None:
    bpy.types.WindowManager.partsam_clicks = PointerProperty(type=PARTSAM_PG_clicks)


def unregister() -> None:
    del bpy.types.WindowManager.partsam_clicks


classes = (PARTSAM_PG_clicks,)
