# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts from the active object to the other selected ones."""

from __future__ import annotations

from functools import partial

import bpy
from bpy.props import EnumProperty, FloatProperty

from ..session import get_session
from ..session.flow import Flow
from ..session.transferring import read_transfer, transfer
from ..session.writing import write_changes
from ..wording import say_count
from .parts_operator import parts_problem
from .reporting import reports_errors
from .running import poll_idle, write_in_window

_PLACES = (
    ("WORLD", "In Place", "The objects lie upon each other"),
    ("LOCAL", "Own Space", "The objects stand apart, and have the same shape in their own space"),
    (
        "KIND",
        "By Likeness",
        "Other shapes of the kind that stand alike, matched by what the network sees",
    ),
)


class PARTSAM_OT_transfer_parts(bpy.types.Operator):
    """Give the other selected objects the parts of the active one: same shape with other faces, or alike"""

    bl_idname = "partsam.transfer_parts"
    bl_label = "Transfer Parts to Selected"
    bl_options = {"REGISTER", "UNDO"}

    place: EnumProperty(
        name="Matched", description="How the shapes come to lie upon each other", items=_PLACES
    )
    strength: FloatProperty(
        name="Strength",
        description="How strongly borders are drawn to the targets' creases and kept short; "
        "0: each face takes the part that is nearest",
        default=1.0,
        min=0.0,
        soft_max=4.0,
        max=10.0,
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not poll_idle(cls):
            return False
        problem = parts_problem(context.object)
        if problem is None and not _targets(context):
            problem = "Select the objects that are to get the parts, then Shift-click the one that has them"
        if problem:
            cls.poll_message_set(problem)
        return problem is None

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        return self.execute(context) if bpy.app.background else self.begin(context)

    @reports_errors
    def begin(self, context: bpy.types.Context) -> set[str]:
        """Start in the background. No undo step yet: nothing has changed."""
        get_session().start("Transferring", self._flow(context), done=partial(write_in_window, self.bl_label))
        return {"INTERFACE"}

    @reports_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        session = get_session()
        objects = write_changes(context, session.run_now(self._flow(context)))
        session.redraw()
        name, count = context.object.name, len(objects)
        one, several = 'One object got the parts of "{name}"', '{count} objects got the parts of "{name}"'
        self.report({"INFO"}, say_count(count, one, several, name=name))
        return {"FINISHED"}

    def _flow(self, context: bpy.types.Context) -> Flow:
        original, receivers = read_transfer(context, context.object, _targets(context), matching=self.place)
        return transfer(get_session(), original, receivers, strength=self.strength)


def _targets(context: bpy.types.Context) -> list[bpy.types.Object]:
    """The other selected mesh objects, one for each mesh."""
    source = context.object
    others = [obj for obj in context.selected_objects if obj.type == "MESH" and obj != source]
    by_mesh = {obj.data: obj for obj in reversed(others) if source is None or obj.data != source.data}
    return list(by_mesh.values())[::-1]


classes: tuple[type, ...] = (PARTSAM_OT_transfer_parts,)
