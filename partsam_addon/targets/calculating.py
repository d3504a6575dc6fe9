# SPDX-License-Identifier: GPL-3.0-or-later
"""Targets that calculate for long: of large meshes beside Blender, with progress and Cancel."""

from __future__ import annotations

import zlib
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import bpy

from ...backend.errors import MeshError
from ..constants import WAITED_FACES
from ..mesh_exchange import MeshSource, find_object, find_unchanged, object_mode, unread_source
from ..operators.reporting import reports_errors
from ..operators.running import write_in_window
from ..parts import read_part_ids
from ..session import get_session
from ..session.flow import Flow
from ..session.watch import GeometryWatch, watched
from ..wording import say
from .apply_operator import ApplyOperator, Plan, Write


class CalculatingOperator(ApplyOperator):
    """An operator whose plans are of the kind `Plan`. Scripts and the redo panel wait for it."""

    title = ""
    """What the panel says while it runs."""

    waited_faces = WAITED_FACES
    """Up to so many faces it is waited for."""

    in_background = False

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        faces = sum(len(obj.data.polygons) for obj in self.objects(context))
        if bpy.app.background or faces <= self.waited_faces:
            return self.execute(context)
        # What runs in the background has no redo panel: options come first.
        self.in_background = True
        return context.window_manager.invoke_props_dialog(self)

    def execute(self, context: bpy.types.Context) -> set[str]:
        return self.begin(context) if self.in_background else super().execute(context)

    @reports_errors
    def begin(self, context: bpy.types.Context) -> set[str]:
        """Start in the background; one undo step at the end."""
        objects = self.editable_objects(context)
        warnings = self.sharing_notices(objects)
        with object_mode(context, *objects):
            planned = [Planned.of(obj, plan) for obj, plan in self.plan_all(context, objects, warnings)]
        start_planned(self.title, self.bl_label, planned)
        get_session().notices += tuple(warnings)
        return {"INTERFACE"}


@dataclass(frozen=True)
class Planned:
    """A plan, and how to know that it still fits: the mesh, and the checksum of its parts."""

    source: MeshSource
    part_sum: int
    plan: Write | Plan

    @classmethod
    def of(cls, obj: bpy.types.Object, plan: Write | Plan) -> Planned:
        """For `obj` as it is now. Not in Edit mode."""
        return cls(unread_source(obj), _part_sum(obj.data), plan)


@dataclass(frozen=True)
class PlannedChange:
    """A plan with its calculated value as a change of the scene (see session.writing)."""

    planned: Planned
    value: Any
    is_outdated: bool
    """Whether the object was changed since the value was calculated: others came after it."""

    def find(self) -> bpy.types.Object:
        return find_unchanged(self.planned.source)

    def check(self, mesh: bpy.types.Mesh) -> None:
        if _part_sum(mesh) != self.planned.part_sum:
            raise MeshError(say('The parts of "{name}" were changed meanwhile; start again', name=mesh.name))
        if isinstance(self.planned.plan, Plan):
            self.planned.plan.check(self._object())

    def write(self, _mesh: bpy.types.Mesh) -> None:
        plan, warnings = self.planned.plan, list[str]()
        if isinstance(plan, Plan):
            obj = self._object()
            value = plan.renew(obj, self.value) if self.is_outdated else self.value
            message = plan.write(obj, value, warnings)
        else:
            message = plan(warnings)
        get_session().notices += (message, *warnings)

    def _object(self) -> bpy.types.Object:
        return find_object(self.planned.source.object_uid, name=self.planned.source.object_name)


def start_planned(title: str, label: str, planned: list[Planned]) -> None:
    """Calculate all of `planned` beside Blender, then write all of it as one undo step called `label`."""

    done = partial(write_in_window, label)
    get_session().start(title, _calculate(planned), done=done, needs_backend=False)


def _calculate(planned: list[Planned]) -> Flow:
    """Values for all of `planned`, as changes. From its own value on each object is watched."""
    values: list[Any] = []
    watches: list[GeometryWatch] = []
    with ExitStack() as stack:
        for one in planned:
            values.append((yield from one.plan.flow) if isinstance(one.plan, Plan) else None)
            obj = find_object(one.source.object_uid, name=one.source.object_name)
            watches.append(stack.enter_context(watched(obj)))
    changed = [watch.changed for watch in watches]
    return list(map(PlannedChange, planned, values, changed))


def _part_sum(mesh: bpy.types.Mesh) -> int:
    return zlib.crc32(read_part_ids(mesh).data)
