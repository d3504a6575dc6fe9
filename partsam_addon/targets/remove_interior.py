# SPDX-License-Identifier: GPL-3.0-or-later
"""Remove Interior Faces: those of generated meshes that nobody can see."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import bpy
import numpy as np
from bpy.props import EnumProperty, FloatProperty, IntProperty

from ...backend.errors import MeshError
from ..constants import WAITED_FACES
from ..mesh_exchange import (
    MeshSource,
    check_editable,
    editable_problem,
    find_unchanged,
    object_mode,
    unread_source,
)
from ..mesh_exchange.arrays import BoolArray
from ..mesh_exchange.elements import write_element_flags
from ..operators.reporting import reports_errors
from ..operators.running import write_in_window
from ..repair.interior import InteriorSearch, interior_faces, remove_faces
from ..session import get_session
from ..session.flow import Calculation, Flow
from ..wording import say_count
from .apply_operator import ApplyOperator, Write
from .target import Target


class PARTSAM_OT_remove_interior(ApplyOperator, bpy.types.Operator):
    """Find the faces that cannot be seen from outside, and delete or select them"""

    bl_idname = "partsam.remove_interior"
    bl_label = "Remove Interior Faces"
    several = False
    needs_parts = False
    in_background = False

    action: EnumProperty(
        name="Action",
        description="What happens to the faces",
        items=(
            ("DELETE", "Delete", "Delete the faces"),
            ("SELECT", "Select", "Only select the faces, to look at them first"),
        ),
    )
    rays: IntProperty(
        name="Rays",
        description="Directions in which a way out is looked for; more keep deeper crevices",
        default=64,
        min=8,
        max=512,
    )
    openness: FloatProperty(
        name="Openness",
        description="Share of rays that may get out of a face that counts as interior, for outer shells "
        "with small holes",
        default=0.0,
        min=0.0,
        max=0.5,
        subtype="FACTOR",
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        problem = editable_problem(context.object)
        if problem:
            cls.poll_message_set(problem)
        return problem is None

    def plan(self, context: bpy.types.Context, obj: bpy.types.Object) -> Write:
        if not len(obj.data.polygons):
            raise MeshError(f'"{obj.name}" has no faces')
        found = Found(interior_faces(obj.data, rays=self.rays, openness=self.openness), self.action)
        found.check()
        return lambda _warnings: found.apply(context, obj.data)

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        if bpy.app.background or len(context.object.data.polygons) <= WAITED_FACES:
            return self.execute(context)
        # What runs in the background has no redo panel: options come first.
        self.in_background = True
        return context.window_manager.invoke_props_dialog(self)

    def execute(self, context: bpy.types.Context) -> set[str]:
        return self.begin(context) if self.in_background else super().execute(context)

    @reports_errors
    def begin(self, context: bpy.types.Context) -> set[str]:
        """Start in the background: the rays of a large mesh take seconds."""
        obj = context.object
        check_editable(obj)
        with object_mode(context, obj):
            self.enter(obj)
            search = InteriorSearch(obj.data, rays=self.rays, openness=self.openness)
            source = unread_source(obj)
        look_in_background(search, source, self.action)
        return {"INTERFACE"}


@dataclass(frozen=True)
class Found:
    """The interior polygons, bool [P], and what happens to them: DELETE or SELECT."""

    polygons: BoolArray
    action: str

    def check(self) -> None:
        """Raise MeshError where nothing would be left."""
        if self.action == "DELETE" and self.polygons.all():
            raise MeshError("Every face counts as interior; lower the openness")

    def apply(self, context: bpy.types.Context, mesh: bpy.types.Mesh) -> str:
        """Delete or select them, outside of Edit mode; what to tell the user."""
        count = int(np.count_nonzero(self.polygons))
        if self.action == "SELECT":
            write_element_flags(mesh, "select", self.polygons)
            context.tool_settings.mesh_select_mode = (False, False, True)
            return say_count(count, "One interior face is selected", "{count} interior faces are selected")
        if count:
            remove_faces(mesh, self.polygons)
        return say_count(count, "One interior face is removed", "{count} interior faces are removed")


@dataclass(frozen=True)
class FoundChange:
    """`Found` as a change of the scene (see session.writing)."""

    source: MeshSource
    found: Found

    def find(self) -> bpy.types.Object:
        return find_unchanged(self.source)

    def check(self, _mesh: bpy.types.Mesh) -> None:
        self.found.check()

    def write(self, mesh: bpy.types.Mesh) -> None:
        get_session().notices += (self.found.apply(bpy.context, mesh),)


def look_in_background(search: InteriorSearch, source: MeshSource, action: str) -> None:
    """Cast the rays beside Blender; at their end the faces of `source` are deleted or selected."""

    def done(polygons: BoolArray) -> None:
        label = PARTSAM_OT_remove_interior.bl_label
        write_in_window(label, [FoundChange(source, Found(polygons, action))])

    get_session().start("Looking for interior faces", _look(search), done=done, needs_backend=False)


def _look(search: InteriorSearch) -> Flow:
    settled, portions = 0.0, search.cast()
    while settled is not None:
        settled = yield Calculation("interior", partial(next, portions, None), fraction=settled)
    return (yield Calculation("interior", search.hidden, fraction=1.0))


TARGET = Target(
    PARTSAM_OT_remove_interior,
    icon="MOD_SOLIDIFY",
    section="REPAIR",
    order=1,
    row="`DELETE` or `SELECT` the faces that cannot be seen from outside",
    needs="MESH",
)
