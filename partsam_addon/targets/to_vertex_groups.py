# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts to Vertex Groups."""

from __future__ import annotations

import bpy
from bpy.props import FloatProperty

from ...backend.errors import PromptError
from ..apply.vertex_groups import make_vertex_groups, world_size
from ..mesh_exchange.elements import is_cloud
from ..wording import say_count
from .apply_operator import ApplyOperator, Write
from .target import Target


class PARTSAM_OT_apply_vertex_groups(ApplyOperator, bpy.types.Operator):
    """Make a vertex group of each part, or update those made before. Your own groups stay"""

    bl_idname = "partsam.apply_vertex_groups"
    bl_label = "Parts to Vertex Groups"
    needs_faces = False

    falloff: FloatProperty(
        name="Falloff",
        description="Blend the weights of neighboring parts over this share of the object's size to either "
        "side of their border; 0: whole parts",
        default=0.0,
        min=0.0,
        soft_max=0.2,
        max=1.0,
        subtype="FACTOR",
    )

    def plan(self, _context: bpy.types.Context, obj: bpy.types.Object) -> Write:
        if self.falloff > 0 and is_cloud(obj.data):
            raise PromptError(
                f'"{obj.name}" is a point cloud, without borders to blend across; set Falloff to 0'
            )

        def write(warnings: list[str]) -> str:
            made = make_vertex_groups(obj, falloff=self.falloff * world_size(obj))
            notice = made.notice()
            if notice:
                warnings.append(f'"{obj.name}": {notice}')
            return say_count(len(made.names), "One vertex group", "{count} vertex groups")

        return write


TARGET = Target(
    PARTSAM_OT_apply_vertex_groups,
    icon="GROUP_VERTEX",
    section="APPLY",
    order=2,
    row="a vertex group per part, blended over `falloff` times the object's size to either side of a border",
)
