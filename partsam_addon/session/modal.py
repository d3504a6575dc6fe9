# SPDX-License-Identifier: GPL-3.0-or-later
"""Other modal operators: while one runs, nothing may change under it, nor may a mode be left."""

from __future__ import annotations

import bpy

OWN_PREFIX = "PARTSAM_OT_"

DISTURBED = frozenset({"BLOCKING", "UNDO"})
"""Options of operators that hold on to the scene while they run: transforms, strokes, the knife."""


def foreign_modal() -> str:
    """The name of a running operator that must be waited for; empty for none.

    A transform or a brush stroke keeps pointers into the edit mesh, and an undo step pushed in the middle
    of it would hold half a move.
    """
    manager = bpy.context.window_manager
    for window in () if manager is None else manager.windows:
        for operator in window.modal_operators:
            if not operator.bl_idname.startswith(OWN_PREFIX) and DISTURBED & set(operator.bl_options):
                return operator.bl_label or operator.bl_idname
    return ""
