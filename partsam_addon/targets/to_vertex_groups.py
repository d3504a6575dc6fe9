# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts to Vertex Groups."""

from __future__ import annotations

import bpy
from bpy.props import FloatProperty

from ...backend.errors import PromptError
from ..apply.falloff import VertexWeights
from ..apply.vertex_groups import (
    OwnGroups,
    WeightTask,
    own_groups,
    part_names,
    world_size,
    write_vertex_groups,
)
from ..mesh_exchange.elements import is_cloud
from ..session.flow import Calculation, Flow
from ..wording import say, say_count
from .apply_operator import Plan
from .calculating import CalculatingOperator
from .own_groups import read_own_groups
from .target import Target


class PARTSAM_OT_apply_vertex_groups(CalculatingOperator, bpy.types.Operator):
    """Make a vertex group of each part, or update those made before. Your own groups stay"""

    bl_idname = "partsam.apply_vertex_groups"
    bl_label = "Parts to Vertex Groups"
    needs_faces = False
    title = "Making vertex groups"
    waited_faces = 50_000

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

    def plan(self, _context: bpy.types.Context, obj: bpy.types.Object) -> Plan:
        if self.falloff > 0 and is_cloud(obj.data):
            raise PromptError(
                say(
                    '"{name}" is a point cloud, without borders to blend across; set Falloff to 0',
                    name=obj.name,
                )
            )
        task = WeightTask.read(obj, falloff=self.falloff * world_size(obj))
        return Plan(_weights(task, obj.session_uid), _write, renew=_renew)


Weights = tuple[dict[int, VertexWeights], OwnGroups]


def _weights(task: WeightTask, uid: int) -> Flow:
    """The weights that the groups are to have, and those that our groups have now."""
    weights = yield Calculation("weights", task.weights)
    return weights, (yield from read_own_groups(uid))


def _renew(obj: bpy.types.Object, value: Weights) -> Weights:
    """With our groups as they are now, lest what was painted meanwhile is painted over."""
    return value[0], own_groups(obj)


def _write(obj: bpy.types.Object, value: Weights, warnings: list[str]) -> str:
    weights, own = value
    made = write_vertex_groups(obj, part_names(obj.data), weights, own=own)
    notice = made.notice()
    if notice:
        warnings.append(f'"{obj.name}": {notice}')
    return say_count(len(made.names), "One vertex group", "{count} vertex groups")


TARGET = Target(
    PARTSAM_OT_apply_vertex_groups,
    icon="GROUP_VERTEX",
    section="APPLY",
    order=2,
    row="a vertex group per part, blended over `falloff` times the object's size to either side of a border",
)
