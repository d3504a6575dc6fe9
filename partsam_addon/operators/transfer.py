# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts from the active object to the other selected ones."""

from __future__ import annotations

import bpy
from bpy.props import EnumProperty
from mathutils import Matrix

from ...backend.errors import PromptError
from ..mesh_exchange import check_editable, object_mode
from ..parts import bring_together
from ..parts.transferring import transfer_parts
from ..wording import say
from .parts_operator import parts_problem
from .reporting import reports_errors

_PLACES = (
    ("WORLD", "In Place", "The objects lie upon each other"),
    ("LOCAL", "Own Space", "The objects stand apart, and have the same shape in their own space"),
)


class PARTSAM_OT_transfer_parts(bpy.types.Operator):
    """Give the other selected objects the parts of the active one: same shape, other faces"""

    bl_idname = "partsam.transfer_parts"
    bl_label = "Transfer Parts to Selected"
    bl_options = {"REGISTER", "UNDO"}

    place: EnumProperty(
        name="Matched", description="How the shapes come to lie upon each other", items=_PLACES
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        problem = parts_problem(context.object)
        if problem is None and not _targets(context):
            problem = "Select the objects that are to get the parts, then Shift-click the one that has them"
        if problem:
            cls.poll_message_set(problem)
        return problem is None

    @reports_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        source, targets = context.object, _targets(context)
        for obj in targets:
            # Before the first is changed.
            check_editable(obj)
            if not len(obj.data.polygons):
                raise PromptError(f'"{obj.name}" has no faces that parts could go to')
        with object_mode(context, source, *targets):
            bring_together(source.data)
            if not len(source.data.partsam.parts):
                raise PromptError(f'No face of "{source.name}" is in a part; press Segment first')
            placed = Matrix() if self.place == "LOCAL" else None
            for obj in targets:
                bring_together(obj.data)
                transfer_parts(source, obj, placed=placed)
        self.report(
            {"INFO"}, say('{count} objects got the parts of "{name}"', count=len(targets), name=source.name)
        )
        return {"FINISHED"}


def _targets(context: bpy.types.Context) -> list[bpy.types.Object]:
    """The other selected mesh objects, one for each mesh."""
    source = context.object
    others = [obj for obj in context.selected_objects if obj.type == "MESH" and obj != source]
    by_mesh = {obj.data: obj for obj in reversed(others) if source is None or obj.data != source.data}
    return list(by_mesh.values())[::-1]


classes: tuple[type, ...] = (PARTSAM_OT_transfer_parts,)
