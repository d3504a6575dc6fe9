# SPDX-License-Identifier: GPL-3.0-or-later
"""Remove Interior Faces: those of generated meshes that nobody can see."""

from __future__ import annotations

import bpy
import numpy as np
from bpy.props import EnumProperty, FloatProperty, IntProperty

from ...backend.errors import MeshError
from ..mesh_exchange import editable_problem
from ..mesh_exchange.elements import write_element_flags
from ..repair.interior import interior_faces, remove_faces
from ..wording import say
from .apply_operator import ApplyOperator, Write
from .target import Target


class PARTSAM_OT_remove_interior(ApplyOperator, bpy.types.Operator):
    """Find the faces that cannot be seen from outside, and delete or select them"""

    bl_idname = "partsam.remove_interior"
    bl_label = "Remove Interior Faces"
    several = False
    needs_parts = False

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
        found = interior_faces(obj.data, rays=self.rays, openness=self.openness)
        if self.action == "DELETE" and found.all():
            raise MeshError("Every face counts as interior; lower the openness")

        def write(warnings: list[str]) -> str:
            count = int(np.count_nonzero(found))
            if self.action == "SELECT":
                write_element_flags(obj.data, "select", found)
                context.tool_settings.mesh_select_mode = (False, False, True)
                return say("{count} interior faces are selected", count=count)
            if count:
                remove_faces(obj.data, found)
            return say("{count} interior faces are removed", count=count)

        return write


TARGET = Target(
    PARTSAM_OT_remove_interior,
    icon="MOD_SOLIDIFY",
    section="REPAIR",
    order=1,
    row="`DELETE` or `SELECT` the faces that cannot be seen from outside",
    needs="MESH",
)
