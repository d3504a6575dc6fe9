# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts to Armature."""

from __future__ import annotations

from functools import partial

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty

from ..apply.vertex_groups import OwnGroups, own_groups, world_size
from ..rigging.armature import RigParts, RigSettings, RigTask, check_riggable, write_armature
from ..session.flow import Calculation, Flow
from ..wording import say_count
from .apply_operator import Plan
from .calculating import CalculatingOperator
from .own_groups import read_own_groups
from .target import Target


class PARTSAM_OT_apply_armature(CalculatingOperator, bpy.types.Operator):
    """Make an armature with a bone for each part, from joint to joint, and bind the mesh to it"""

    bl_idname = "partsam.apply_armature"
    bl_label = "Parts to Armature"
    title = "Laying bones"
    waited_faces = 50_000

    rule: EnumProperty(
        name="Root",
        description="Which part is at the root of the bones",
        items=(
            ("AUTO", "Automatic", "The part that alone touches the ground, or the one with most neighbors"),
            ("LARGEST", "Largest Part", "The part with the largest surface"),
            (
                "ACTIVE",
                "Active Part",
                "The part that is active in the list; a click in the viewport picks it",
            ),
        ),
    )
    root: IntProperty(
        name="Root Part",
        description="Id of the part at the root of the bones; 0: as Root says",
        default=0,
        min=0,
        options={"SKIP_SAVE", "HIDDEN"},
    )
    smallest: FloatProperty(
        name="Ignore Parts Below",
        description="Parts with less than this share of the surface get no bone and move with a neighbor",
        default=0.0,
        min=0.0,
        soft_max=0.1,
        max=1.0,
        subtype="FACTOR",
    )
    falloff: FloatProperty(
        name="Falloff",
        description="Blend the weights of neighboring bones over this share of the object's size to either "
        "side of a border; 0: rigid parts",
        default=0.0,
        min=0.0,
        soft_max=0.2,
        max=1.0,
        subtype="FACTOR",
    )
    name_sides: BoolProperty(
        name="Left and Right Names",
        description="Rename parts that mirror each other to .L and .R",
        default=True,
    )
    beside: BoolProperty(
        name="Beside Other Armatures",
        description="Bind also meshes that an armature of yours deforms already; both then move them",
    )

    def objects(self, context: bpy.types.Context) -> list[bpy.types.Object]:
        # A root belongs to one mesh.
        return [context.object] if self.root else super().objects(context)

    def plan(self, context: bpy.types.Context, obj: bpy.types.Object) -> Plan:
        settings = RigSettings(
            root=self.root,
            rule=self.rule,
            falloff=self.falloff * world_size(obj),
            smallest=self.smallest,
            name_sides=self.name_sides,
            beside=self.beside,
        )
        check_riggable(context, obj, settings)
        task = RigTask.read(obj, settings)
        return Plan(
            _calculate(task, obj.session_uid),
            partial(_write, task),
            check=partial(_check, settings),
            renew=_renew,
        )


Rig = tuple[RigParts, OwnGroups]


def _calculate(task: RigTask, uid: int) -> Flow:
    """Bones and weights, and the weights that our groups have now."""
    parts = yield Calculation("bones", task.calculate)
    return parts, (yield from read_own_groups(uid))


def _check(settings: RigSettings, obj: bpy.types.Object) -> None:
    check_riggable(bpy.context, obj, settings)


def _renew(obj: bpy.types.Object, value: Rig) -> Rig:
    """With our groups as they are now, lest what was painted meanwhile is painted over."""
    return value[0], own_groups(obj)


def _write(task: RigTask, obj: bpy.types.Object, value: Rig, warnings: list[str]) -> str:
    parts, own = value
    made = write_armature(bpy.context, obj, task, parts, own=own)
    notice = made.groups.notice()
    if notice:
        warnings.append(f'"{obj.name}": {notice}')
    bones = len(made.armature.data.bones)
    return say_count(bones, '"{name}" has one bone', '"{name}" has {count} bones', name=made.armature.name)


TARGET = Target(
    PARTSAM_OT_apply_armature,
    icon="ARMATURE_DATA",
    section="RIG",
    order=2,
    row="a bone per part, bound rigidly or with falloff; the root is `root`, or by `rule` `AUTO`, `LARGEST`, "
    "`ACTIVE`",
)
