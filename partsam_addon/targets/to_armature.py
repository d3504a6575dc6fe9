# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts to Armature."""

from __future__ import annotations

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty

from ..apply.vertex_groups import world_size
from ..rigging.armature import RigSettings, check_riggable, make_armature
from ..wording import say_count
from .apply_operator import ApplyOperator, Write
from .target import Target


class PARTSAM_OT_apply_armature(ApplyOperator, bpy.types.Operator):
    """Make an armature with a bone for each part, from joint to joint, and bind the mesh to it"""

    bl_idname = "partsam.apply_armature"
    bl_label = "Parts to Armature"

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

    def plan(self, context: bpy.types.Context, obj: bpy.types.Object) -> Write:
        settings = RigSettings(
            root=self.root,
            rule=self.rule,
            falloff=self.falloff * world_size(obj),
            smallest=self.smallest,
            name_sides=self.name_sides,
            beside=self.beside,
        )
        check_riggable(context, obj, settings)

        def write(warnings: list[str]) -> str:
            made = make_armature(context, obj, settings)
            notice = made.groups.notice()
            if notice:
                warnings.append(f'"{obj.name}": {notice}')
            bones = len(made.armature.data.bones)
            return say_count(
                bones, '"{name}" has one bone', '"{name}" has {count} bones', name=made.armature.name
            )

        return write


TARGET = Target(
    PARTSAM_OT_apply_armature,
    icon="ARMATURE_DATA",
    section="RIG",
    order=2,
    row="a bone per part, bound rigidly or with falloff; the root is `root`, or by `rule` `AUTO`, `LARGEST`, "
    "`ACTIVE`",
)
