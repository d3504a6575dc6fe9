# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts to Objects."""

from __future__ import annotations

import bpy
from bpy.props import BoolProperty, EnumProperty

from ..separation.separation import SeparateSettings, check_separable, separate_parts
from ..wording import say, say_count
from .apply_operator import ApplyOperator, Write
from .target import Target


class PARTSAM_OT_apply_separate(ApplyOperator, bpy.types.Operator):
    """Make an object of each part. UVs, materials, weights, shape keys, normals and marks are kept"""

    bl_idname = "partsam.apply_separate"
    bl_label = "Parts to Objects"
    changes_mesh = False
    needs_faces = False

    grouping: EnumProperty(
        name="Group",
        description="How the new objects are kept together",
        items=(
            ("EMPTY", "Under an Empty", "An empty takes the original's place; the parts are its children"),
            ("COLLECTION", "In a Collection", "A collection of their own, with the original's parent"),
            ("NONE", "As the Original", "In the original's collections, with the original's parent"),
        ),
    )
    origin: EnumProperty(
        name="Origins",
        description="Where each part's origin is, unless a modifier, constraint or animation depends on it",
        items=(
            ("CENTER", "Middle of the Part", "The middle of the part's bounding box"),
            ("JOINT", "Joint", "Where the part meets the one that it hangs on, to turn it about there"),
            ("KEEP", "As the Original", "Where the original has its origin"),
        ),
    )
    cap_holes: BoolProperty(
        name="Cap Holes", description="Close the holes that cutting the parts apart leaves"
    )
    keep_shading: BoolProperty(
        name="Keep Shading",
        description="Store the normals of smooth meshes, so that the shading along borders stays as it was",
    )
    drop_unused: BoolProperty(
        name="Drop Unused",
        description="Leave out material slots and vertex groups that a part does not use",
    )
    link_copies: BoolProperty(
        name="Linked Copies",
        description="Parts that are exact copies, as Find Copies has found them, share one mesh: a change of "
        "one changes all. Mirrored ones get a negative scale",
    )
    original: EnumProperty(
        name="Original",
        description="What happens to the original object",
        items=(
            ("HIDE", "Hide", "Keep the original, hidden in viewport and render"),
            ("REMOVE", "Remove", "Delete the original object"),
        ),
    )

    def plan(self, context: bpy.types.Context, obj: bpy.types.Object) -> Write:
        settings = SeparateSettings(
            grouping=self.grouping,
            origin=self.origin,
            cap=self.cap_holes,
            keep_shading=self.keep_shading,
            drop_unused=self.drop_unused,
            link_copies=self.link_copies,
            remove_original=self.original == "REMOVE",
        )
        check_separable(context, obj, settings)
        name = obj.name

        def write(warnings: list[str]) -> str:
            made = separate_parts(context, obj, settings)
            if made.dropped:
                what = ", ".join(made.dropped)
                warnings.append(say('Not kept of "{name}": {what}', name=name, what=what))
            warnings += made.unlinked
            if made.linked:
                return say(
                    '{count} objects from "{name}", {linked} of them linked copies',
                    count=len(made.objects),
                    name=name,
                    linked=made.linked,
                )
            return say_count(
                len(made.objects), 'One object from "{name}"', '{count} objects from "{name}"', name=name
            )

        return write


TARGET = Target(
    PARTSAM_OT_apply_separate,
    icon="OBJECT_DATA",
    section="APPLY",
    order=1,
    row="an object per part with all layers; `EMPTY`, `COLLECTION`, `NONE`; `CENTER`, `JOINT`, `KEEP`; "
    "`HIDE`, `REMOVE`",
)
