# SPDX-License-Identifier: GPL-3.0-or-later
"""Unwrap Parts."""

from __future__ import annotations

import math
from functools import partial

import bpy
from bpy.props import EnumProperty, FloatProperty

from ..mesh_exchange import find_object, object_mode
from ..mesh_exchange.arrays import FloatArray
from ..retexture.unwrap import UnwrapTask, unwrap_some, write_uvs
from ..session.flow import Calculation, Flow, Pause
from ..wording import say_count
from .apply_operator import Plan
from .calculating import CalculatingOperator
from .target import Target

_TICK_SECONDS = 0.05
"""No further part is begun in a tick that has taken this long."""


class PARTSAM_OT_apply_unwrap(CalculatingOperator, bpy.types.Operator):
    """Unwrap each part by itself, with seams along the borders, and pack the UVs part by part"""

    bl_idname = "partsam.apply_unwrap"
    bl_label = "Unwrap Parts"
    title = "Unwrapping parts"

    method: EnumProperty(
        name="Method",
        description="How each part is flattened",
        items=(
            ("SMART", "Smart Project", "Cut by angle: robust for every shape"),
            (
                "ANGLE_BASED",
                "Angle Based",
                "Along the seams only, for parts that can be rolled out",
            ),
            ("CONFORMAL", "Conformal", "Along the seams only, faster and with more stretch"),
        ),
    )
    margin: FloatProperty(
        name="Margin",
        description="Space between islands and around each part, in UV units",
        default=0.005,
        min=0.0,
        max=0.1,
        precision=3,
    )
    uv_map: EnumProperty(
        name="UV Map",
        description="Where the UVs go",
        items=(
            ("NEW", "New Map", 'A map called "Parts"; the others stay as they are'),
            ("ACTIVE", "Active Map", "Replace the active map"),
        ),
    )

    def plan(self, _context: bpy.types.Context, obj: bpy.types.Object) -> Plan:
        new_map = self.uv_map == "NEW"
        task = UnwrapTask.read(obj, method=self.method, margin=self.margin, new_map=new_map)
        check = partial(task.check, new_map=new_map)
        return Plan(_unwrap(task, obj.session_uid), partial(_write, new_map), check=check)


def _unwrap(task: UnwrapTask, uid: int) -> Flow:
    """The UVs float32 [C, 2] of all corners. Blender unwraps; all else is calculated beside it."""
    parts = yield Calculation("unwrap", task.split)
    uvs, done, count = parts.given.uvs.copy(), 0, len(parts.topologies)
    while done < count:
        context, obj = bpy.context, find_object(uid)
        busy = [other for other in context.view_layer.objects if other.mode != "OBJECT"]
        with object_mode(context, *busy):
            # To leave a mode and come back takes long: then all at once.
            seconds = math.inf if busy else _TICK_SECONDS
            done = unwrap_some(context, obj, parts, uvs, done, seconds=seconds)
        if done < count:
            yield Pause("unwrap", fraction=done / count)
    return (yield Calculation("unwrap", partial(parts.lay_out, uvs), fraction=1.0))


def _write(new_map: bool, obj: bpy.types.Object, uvs: FloatArray, _warnings: list[str]) -> str:
    name = write_uvs(obj, uvs, new_map=new_map)
    one, several = 'One part is unwrapped in "{name}"', '{count} parts are unwrapped in "{name}"'
    return say_count(len(obj.data.partsam.parts), one, several, name=name)


TARGET = Target(
    PARTSAM_OT_apply_unwrap,
    icon="UV",
    section="TEXTURE",
    order=1,
    row="unwraps and packs part by part; `SMART`, `ANGLE_BASED`, `CONFORMAL`; `NEW`, `ACTIVE`",
)
