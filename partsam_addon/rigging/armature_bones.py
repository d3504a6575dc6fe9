# SPDX-License-Identifier: GPL-3.0-or-later
"""Bones of parts in Blender's armature: made, or brought up to date where the user has not changed them."""

from __future__ import annotations

import bpy
import numpy as np
from mathutils import Vector

from ..mesh_exchange.modes import have_undo_store_the_file
from ..mesh_exchange.selection import only_object
from ..parts.schema import unique_name
from .bones import Bone

_PART, _NAME, _PLACE = "partsam_made_part", "partsam_made_name", "partsam_made_place"
"""On a bone of ours: its part, and the name and ends that we gave it."""

_NAME_BYTES = 63
"""Longest name that Blender keeps."""


def write_bones(
    context: bpy.types.Context,
    armature: bpy.types.Object,
    bones: dict[int, Bone],
    names: dict[int, str],
    *,
    taken: set[str],
) -> dict[int, str]:
    """Make or update the bones of parts; their names by part id.

    bones: parents first; names: wanted ones; taken: names that a bone must not get, because vertex groups
    of the user have them. Bones that were moved, renamed or made by hand stay so.
    """
    with only_object(context, armature):
        hidden, mode = armature.hide_get(), armature.mode
        armature.hide_set(False)
        bpy.ops.object.mode_set(mode="EDIT")
        try:
            edit_bones = armature.data.edit_bones
            own = {int(bone[_PART]): bone for bone in edit_bones if _PART in bone}
            for part in own.keys() - bones.keys():
                if not _is_moved(own[part]):
                    edit_bones.remove(own[part])
                del own[part]
            for part, edit_bone in own.items():  # free all names first, as parts can exchange theirs
                if edit_bone.name == edit_bone[_NAME] != names[part]:
                    edit_bone.name = f"partsam {part}"
                    edit_bone[_NAME] = edit_bone.name
            made: dict[int, bpy.types.EditBone] = {}
            for part, bone in bones.items():
                edit_bone = own.get(part)
                if edit_bone is None:
                    edit_bone = edit_bones.new(_free_name(names[part], taken))
                    edit_bone[_PART], edit_bone[_NAME] = part, edit_bone.name
                elif edit_bone.name == edit_bone[_NAME] != names[part]:
                    edit_bone.name = _free_name(names[part], taken)
                    edit_bone[_NAME] = edit_bone.name
                made[part] = edit_bone
                if _PLACE not in edit_bone or not _is_moved(edit_bone):
                    _place(edit_bone, bone, made)
            return {part: str(edit_bone.name) for part, edit_bone in made.items()}
        finally:
            bpy.ops.object.mode_set(mode="OBJECT")
            armature.hide_set(hidden)
            if mode != "OBJECT" and not hidden:  # who poses while bones are laid goes on posing
                bpy.ops.object.mode_set(mode=mode)
                if mode == "EDIT":
                    have_undo_store_the_file()


def _place(edit_bone: bpy.types.EditBone, bone: Bone, made: dict[int, bpy.types.EditBone]) -> None:
    edit_bone.use_connect = False  # so that a pose can shift it as well
    edit_bone.parent = made[bone.parent] if bone.parent is not None else None
    edit_bone.head, edit_bone.tail = Vector(bone.head), Vector(bone.tail)
    edit_bone[_PLACE] = [*edit_bone.head, *edit_bone.tail]


def _is_moved(edit_bone: bpy.types.EditBone) -> bool:
    """Whether a bone of ours no longer lies where we put it."""
    if _PLACE not in edit_bone:
        return False
    now = np.array([*edit_bone.head, *edit_bone.tail])
    tolerance = 1e-4 * (np.abs(now).max() + edit_bone.length)
    return bool(np.abs(now - np.array(edit_bone[_PLACE])).max() > tolerance)


def _free_name(name: str, taken: set[str]) -> str:
    short = name.encode()[:_NAME_BYTES].decode(errors="ignore")
    if short not in taken:
        return short
    return unique_name(name.encode()[: _NAME_BYTES - 4].decode(errors="ignore"), taken)
