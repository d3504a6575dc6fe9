# SPDX-License-Identifier: GPL-3.0-or-later
"""Undo steps of what was not written by an operator: by the timer, or by a tool that goes on.

They are pushed by operators that do nothing else, one for each label, so that the latest is Blender's last
operator. Adjust Last Operation would else show one from before, and its next value take the result back.
"""

from __future__ import annotations

import re

import bpy

from .modal import OWN_PREFIX


class UndoStep:
    """What the operators have in common."""

    bl_options = {"REGISTER", "UNDO", "INTERNAL"}
    options: bpy.types.OperatorOptions

    def execute(self, _context: bpy.types.Context) -> set[str]:
        again = self.options.is_repeat or self.options.is_repeat_last
        return {"CANCELLED"} if again else {"FINISHED"}


def push_undo_step(label: str) -> None:
    """Push what was just written as an undo step."""
    name = "step_" + re.sub(r"\W+", "_", label.lower())
    if not hasattr(bpy.types, f"PARTSAM_OT_{name}"):
        members = {"__doc__": label, "bl_idname": f"partsam.{name}", "bl_label": label}
        bpy.utils.register_class(type(f"PARTSAM_OT_{name}", (UndoStep, bpy.types.Operator), members))
    before = _last_operator()
    getattr(bpy.ops.partsam, name)("EXEC_DEFAULT", True)
    if _last_operator() == before:  # within another operator none is registered
        bpy.ops.ed.undo_push(message=label)


def has_last_operator() -> bool:
    """Whether Adjust Last Operation would show an operator. Blender's own Undo forgets them all before it
    calls the handlers."""
    return bool(bpy.context.window_manager.operators)


def last_operator_is_own() -> bool:
    """Whether Adjust Last Operation would show an operator of PartSAM."""
    operators = bpy.context.window_manager.operators
    return bool(operators) and operators[-1].bl_idname.startswith(OWN_PREFIX)


def _last_operator() -> int:
    operators = bpy.context.window_manager.operators
    return operators[-1].as_pointer() if operators else 0


def unregister() -> None:
    for cls in UndoStep.__subclasses__():
        if getattr(bpy.types, cls.__name__, None) is not None:
            bpy.utils.unregister_class(cls)
