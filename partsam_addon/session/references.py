# SPDX-License-Identifier: GPL-3.0-or-later
"""How objects are remembered across events."""

from __future__ import annotations

from dataclasses import dataclass

import bpy

from ...backend.errors import MeshError


@dataclass(frozen=True)
class ObjectRef:
    """An object by its name and Blender's per-session number, never by reference.

    References die with undo, file loading and deletion; both of these fields survive what the user
    may do while a request runs. The number finds a renamed object, and it tells a new object of the
    same name from the one that was meant.
    """

    name: str
    session_uid: int

    @classmethod
    def of(cls, obj: bpy.types.Object) -> ObjectRef:
        return cls(name=obj.name_full, session_uid=obj.session_uid)

    def find(self) -> bpy.types.Object | None:
        """The object as it is now, or None where it is gone."""
        for obj in bpy.data.objects:
            if obj.session_uid == self.session_uid:
                return obj
        return None

    def resolve(self) -> bpy.types.Object:
        """The object as it is now; MeshError where it is gone or no longer a mesh."""
        obj = self.find()
        if obj is None:
            raise MeshError(f"'{self.name}' was deleted in the meantime; nothing was changed")
        if obj.type != "MESH":
            raise MeshError(f"'{obj.name}' is no longer a mesh; nothing was changed")
        return obj
