# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the parts that are copies of each other."""

from __future__ import annotations

from functools import partial

import bpy

from ..mesh_exchange.elements import is_cloud
from ..parts import get_part
from ..parts.repeats import repeat_groups
from ..session import get_session
from ..session.repeating import find_repeats, read_labelled
from ..session.writing import write_changes
from ..wording import say
from .parts_operator import parts_problem
from .reporting import reports_errors
from .running import poll_idle, write_in_window


class PARTSAM_OT_find_repeats(bpy.types.Operator):
    """Find parts that are copies, also turned or mirrored: to be renamed, colored and separated together"""

    bl_idname = "partsam.find_repeats"
    bl_label = "Find Copies"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not poll_idle(cls):
            return False
        problem = parts_problem(context.object)
        if problem is None and is_cloud(context.object.data):
            problem = f'"{context.object.name}" is a point cloud; {cls.bl_label} needs faces'
        if problem:
            cls.poll_message_set(problem)
        return problem is None

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        return self.execute(context) if bpy.app.background else self.begin(context)

    @reports_errors
    def begin(self, context: bpy.types.Context) -> set[str]:
        """Start in the background. No undo step yet: nothing has changed."""
        session, read = get_session(), read_labelled(context, context.object)
        session.start(
            "Finding copies", find_repeats(session, read), done=partial(write_in_window, self.bl_label)
        )
        return {"INTERFACE"}

    @reports_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        session, read = get_session(), read_labelled(context, context.object)
        (obj,) = write_changes(context, session.run_now(find_repeats(session, read)))
        session.redraw()
        self.report({"INFO"}, summary(obj.data))
        return {"FINISHED"}


def summary(mesh: bpy.types.Mesh) -> str:
    """The groups of copies in words."""
    groups = repeat_groups(mesh)
    if not groups:
        return say("No part is a copy of another one")
    return ", ".join(f"{get_part(mesh, min(group)).name} ×{len(group)}" for group in groups)


classes: tuple[type, ...] = (PARTSAM_OT_find_repeats,)
