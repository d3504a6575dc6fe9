# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts to Vertex Groups."""

from __future__ import annotations

import bpy
import numpy as np
from bpy.props import FloatProperty

from ...backend.errors import PromptError
from ..apply.falloff import VertexWeights, read_weight_rows, weight_table
from ..apply.vertex_groups import (
    OwnGroups,
    WeightTask,
    own_groups,
    own_names,
    part_names,
    world_size,
    write_vertex_groups,
)
from ..mesh_exchange import find_object, object_mode
from ..mesh_exchange.elements import is_cloud
from ..session.flow import Calculation, Flow, Pause
from ..session.watch import GeometryWatch, watched
from ..wording import say, say_count
from .apply_operator import Plan
from .calculating import CalculatingOperator
from .target import Target

_VERTICES_A_TICK = 30_000
"""Whose weights are read at a time: 30 ms."""


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
    return weights, (yield from _read_own(uid))


def _read_own(uid: int) -> Flow:
    """`own_groups` of an object, over several ticks: Blender gives weights away vertex by vertex.

    Begins again where weights were changed in between.
    """
    while True:
        obj = find_object(uid)
        if not own_names(obj):
            return own_groups(obj)
        if obj.data.is_editmode:
            with object_mode(bpy.context, obj):
                return own_groups(obj)
        with watched(obj) as watch:
            table = yield from _read_table(uid, len(obj.data.vertices), watch)
            if not watch.changed:
                own = own_groups(find_object(uid), table)
                yield Pause("weights", fraction=1.0)
            if not watch.changed:
                return own


def _read_table(uid: int, count: int, watch: GeometryWatch) -> Flow:
    """The weights of all vertices, or None once something has changed."""
    rows = []
    for start in range(0, count, _VERTICES_A_TICK):
        rows.append(read_weight_rows(find_object(uid), start, start + _VERTICES_A_TICK))
        yield Pause("weights", fraction=start / count)
        if watch.changed:
            return None
    return (yield Calculation("weights", lambda: weight_table(np.concatenate(rows), count)))


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
