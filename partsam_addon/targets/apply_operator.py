# SPDX-License-Identifier: GPL-3.0-or-later
"""How every target is applied to several objects: look at all of them, then write all of them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import bpy

from ...backend.errors import PartSAMError, PromptError
from ..mesh_exchange import check_editable, object_mode, sharing_notice
from ..operators.parts_operator import PartsOperator, parts_problem
from ..operators.reporting import reports_errors
from ..session.flow import Flow, run_now
from ..wording import say

logger = logging.getLogger(__name__)

Write = Callable[[list[str]], str]
"""Writes what was planned for one object; what to tell the user. Appends warnings to the list."""


def _fits(_obj: bpy.types.Object) -> None:
    pass


def _same(_obj: bpy.types.Object, value: Any) -> Any:
    return value


@dataclass(frozen=True)
class Plan:
    """What takes a calculation before it can be written.

    flow: calculates, and changes nothing
    write: writes its value into the object (looked up again after a wait); what to tell the user. Appends
        warnings to the list.
    check: before a write after a wait: raises PartSAMError where the object has no place for it any more
    renew: after a wait in which the object was changed: the value with what it holds of it read anew
    """

    flow: Flow
    write: Callable[[bpy.types.Object, Any, list[str]], str]
    check: Callable[[bpy.types.Object], None] = _fits
    renew: Callable[[bpy.types.Object, Any], Any] = _same


class ApplyOperator(PartsOperator):
    """An operator on all selected objects that have parts, or on the active one.

    Subclasses implement `plan`, which raises PartSAMError for an object with which it cannot be done.
    Such an object is left out and named; if none remains, nothing has changed.
    """

    bl_options = {"REGISTER", "UNDO", "PRESET"}

    needs_faces = True

    several = True
    """Whether the operator works on all selected objects."""

    changes_mesh = True
    """Whether objects that share a mesh change together, so that one of them is enough."""

    @reports_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        objects = self.editable_objects(context)
        warnings = self.sharing_notices(objects)
        with object_mode(context, *objects):
            planned = self.plan_all(context, objects, warnings)
            writes = [_calculated(obj, plan) for obj, plan in planned]
            messages, failure = _write_all(writes, warnings)
        if failure is not None:
            # FINISHED, so that the undo step takes back what was written before.
            self.report({"ERROR"}, say("{failure}; undo takes back what was done before", failure=failure))
            return {"FINISHED"}
        # One report: the status bar shows only the last.
        self.report({"WARNING" if warnings else "INFO"}, "; ".join([*messages, *warnings]))
        return {"FINISHED"}

    def plan(self, context: bpy.types.Context, obj: bpy.types.Object) -> Write | Plan:
        """Look at an object, outside its Edit mode, without changing anything; what is to be written."""
        raise NotImplementedError

    def editable_objects(self, context: bpy.types.Context) -> list[bpy.types.Object]:
        """Those to work on; MeshError where one cannot be changed."""
        objects = self.objects(context)
        for obj in objects:
            check_editable(obj)
        return objects

    def sharing_notices(self, objects: list[bpy.types.Object]) -> list[str]:
        """What to say of objects that change others with them."""
        return [notice for obj in objects if self.changes_mesh and (notice := sharing_notice(obj))]

    def objects(self, context: bpy.types.Context) -> list[bpy.types.Object]:
        """The active object first, then the other selected ones with parts."""
        found = [context.object]
        if not self.several:
            return found
        for obj in context.selected_objects:
            known = any(obj.data == other.data for other in found) if self.changes_mesh else obj in found
            if not known and parts_problem(obj) is None:
                found.append(obj)
        return found

    def plan_all(
        self, context: bpy.types.Context, objects: list[bpy.types.Object], warnings: list[str]
    ) -> list[tuple[bpy.types.Object, Write | Plan]]:
        """Plans with their objects. Which are left out and why goes to the warnings; PromptError if all."""
        plans: list[tuple[bpy.types.Object, Write | Plan]] = []
        left_out = []
        for obj in objects:
            try:
                self.enter(obj)
                plans.append((obj, self.plan(context, obj)))
            except PartSAMError as error:
                left_out.append(str(error))
        if not plans:
            raise PromptError("; ".join(dict.fromkeys(left_out)))
        warnings += left_out
        return plans


def _calculated(obj: bpy.types.Object, plan: Write | Plan) -> Write:
    """The write of a plan, once its calculation is done."""
    if not isinstance(plan, Plan):
        return plan
    value, write = run_now(plan.flow), plan.write
    return lambda warnings: write(obj, value, warnings)


def _write_all(plans: list[Write], warnings: list[str]) -> tuple[list[str], Exception | None]:
    """What the plans have to say, and what stopped them: a fault of ours, as plans have been checked."""
    messages = []
    for write in plans:
        try:
            messages.append(write(warnings))
        except Exception as error:
            logger.exception("applying parts stopped half-way")
            return messages, error
    return messages, None
