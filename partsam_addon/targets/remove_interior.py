# SPDX-License-Identifier: GPL-3.0-or-later
"""Remove Interior Faces: those of generated meshes that nobody can see."""

from __future__ import annotations

from functools import partial

import bpy
import numpy as np
from bpy.props import EnumProperty, FloatProperty, IntProperty
from mathutils.bvhtree import BVHTree

from ...backend.errors import MeshError
from ..mesh_exchange import editable_problem, find_object
from ..mesh_exchange.arrays import BoolArray
from ..mesh_exchange.elements import write_element_flags
from ..repair.interior import InteriorSearch, copied_surface, remove_faces
from ..session.flow import Flow, Pause, in_portions
from ..wording import say, say_count
from .apply_operator import Plan
from .calculating import CalculatingOperator
from .target import Target


class PARTSAM_OT_remove_interior(CalculatingOperator, bpy.types.Operator):
    """Find the faces that cannot be seen from outside, and delete or select them"""

    bl_idname = "partsam.remove_interior"
    bl_label = "Remove Interior Faces"
    several = False
    needs_parts = False
    title = "Looking for interior faces"

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

    def plan(self, _context: bpy.types.Context, obj: bpy.types.Object) -> Plan:
        if not len(obj.data.polygons):
            raise MeshError(say('"{name}" has no faces', name=obj.name))
        search = InteriorSearch(obj.data, rays=self.rays, openness=self.openness)
        return Plan(_look(search, obj.session_uid, self.action), partial(_write, self.action))


def _look(search: InteriorSearch, uid: int, action: str) -> Flow:
    """The interior polygons, bool [P]. MeshError where nothing would be left."""
    # Two calls of Blender's that take long, each in a tick of its own.
    yield Pause("interior")
    with copied_surface(find_object(uid).data) as surface:
        yield Pause("interior")
        tree = BVHTree.FromBMesh(surface)
    polygons = yield from in_portions("interior", search.find(tree))
    if action == "DELETE" and polygons.all():
        raise MeshError("Every face counts as interior; lower the openness")
    return polygons


def _write(action: str, obj: bpy.types.Object, polygons: BoolArray, _warnings: list[str]) -> str:
    """Delete or select them, outside of Edit mode."""
    count = int(np.count_nonzero(polygons))
    if action == "SELECT":
        write_element_flags(obj.data, "select", polygons)
        bpy.context.scene.tool_settings.mesh_select_mode = (False, False, True)
        return say_count(count, "One interior face is selected", "{count} interior faces are selected")
    if not count:
        return say("No face is interior; nothing is removed")
    remove_faces(obj.data, polygons)
    return say_count(count, "One interior face is removed", "{count} interior faces are removed")


TARGET = Target(
    PARTSAM_OT_remove_interior,
    icon="MOD_SOLIDIFY",
    section="REPAIR",
    order=1,
    row="`DELETE` or `SELECT` the faces that cannot be seen from outside",
    needs="MESH",
)
