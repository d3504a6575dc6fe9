# SPDX-License-Identifier: GPL-3.0-or-later
"""What all operators on parts have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

import bpy
from bpy.props import BoolProperty, IntProperty

from ...backend.errors import PromptError
from ..mesh_exchange import check_editable, editable_problem, object_mode
from ..mesh_exchange.elements import hides_points, is_cloud
from ..parts import PART_ATTRIBUTE, active_part, bring_together, get_part, has_parts
from ..parts.repeats import copies_of
from ..parts.schema import PARTSAM_PG_part
from ..wording import say, say_count
from .reporting import reports_errors

if TYPE_CHECKING:
    from bpy.types import Operator as _OperatorBase
else:
    _OperatorBase = object

classes: tuple[type, ...] = ()


HIDDEN_POINTS = (
    "Its loose points have parts, which show only where a mesh has no faces: in Edit mode separate the "
    "points (Mesh > Separate > By Loose Parts) or delete the faces to get them back"
)
"""Of a point cloud that got faces or was joined with a mesh."""


def parts_problem(obj: bpy.types.Object | None) -> str | None:
    """Why the parts of `obj` cannot be worked on; None if they can."""
    problem = editable_problem(obj)
    if problem is None and obj is not None and not has_parts(obj.data):
        problem = f'"{obj.name}" has no parts yet; press Segment first'
        if hides_points(obj.data, PART_ATTRIBUTE):
            problem = _no_face(obj)
    return problem


def _no_face(obj: bpy.types.Object) -> str:
    hidden = hides_points(obj.data, PART_ATTRIBUTE)
    return f'No face of "{obj.name}" is in a part' + (
        f". {HIDDEN_POINTS}" if hidden else "; press Segment first"
    )


def elements(mesh: bpy.types.Mesh, count: int) -> str:
    """So many of what the parts of `mesh` are made of: "one face", "12 points"."""
    if is_cloud(mesh):
        return say_count(count, "one point", "{count} points")
    return say_count(count, "one face", "{count} faces")


class PartsOperator(_OperatorBase):
    """An operator on the parts of the active object, in any mode. Subclasses implement `work`."""

    bl_options = {"REGISTER", "UNDO"}
    needs_parts = True
    needs_faces = False
    """Whether it has nothing to work on where parts are made of points."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        problem = parts_problem(context.object) or cls.cloud_problem(context.object)
        if problem:
            cls.poll_message_set(problem)
        return problem is None

    @classmethod
    def cloud_problem(cls, obj: bpy.types.Object) -> str | None:
        """Why the parts of a point cloud are of no use here; None if they are, or it is none."""
        if cls.needs_faces and is_cloud(obj.data) and len(obj.data.vertices):
            return say('"{name}" is a point cloud; {what} needs faces', name=obj.name, what=say(cls.bl_label))
        return None

    @reports_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        message = self.run(context, context.object)
        self.report({"INFO"}, message)
        return {"FINISHED"}

    def run(self, context: bpy.types.Context, obj: bpy.types.Object) -> str:
        """Do the work on one object, out of Edit mode, table and faces in step; what to tell the user."""
        check_editable(obj)
        with object_mode(context, obj):
            self.enter(obj)
            return self.work(context, obj)

    def enter(self, obj: bpy.types.Object) -> None:
        """Bring table and faces in step. PromptError where no face is in a part any more."""
        bring_together(obj.data)
        if problem := self.cloud_problem(obj):
            raise PromptError(problem)
        if self.needs_parts and not len(obj.data.partsam.parts):
            raise PromptError(_no_face(obj))

    def work(self, context: bpy.types.Context, obj: bpy.types.Object) -> str:
        raise NotImplementedError


class OnePartOperator(PartsOperator):
    """An operator on one part: the one with the id `part`, or the active one of the list."""

    part: IntProperty(
        name="Part",
        description="Id of the part, the value of the face attribute partsam_part; 0: the active one",
        default=0,
        min=0,
        options={"SKIP_SAVE"},
    )

    def part_id(self, obj: bpy.types.Object) -> int:
        """Id of the part to work on; PromptError if there is none."""
        if self.part:
            return int(get_part(obj.data, self.part).part_id)
        active = active_part(obj.data)
        if active is None:
            raise PromptError("No part is active; click one in the list")
        return int(active.part_id)


class CopiesOperator(OnePartOperator):
    """An operator on one part, or on all its copies at once."""

    copies: BoolProperty(
        name="All Copies",
        description="Also the parts that are copies of it, as far as Find Copies has found them",
        options={"SKIP_SAVE"},
    )

    def all_parts(self, obj: bpy.types.Object) -> list[PARTSAM_PG_part]:
        """The part to work on, with its copies if those are wanted; PromptError if there is none."""
        part = get_part(obj.data, self.part_id(obj))
        return copies_of(obj.data, part) if self.copies else [part]
