# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies of a mesh get a table number of their own, so that joining a copy to its original tells both apart.

A copy comes with the faces and the table of the original, number included. After joining, equal numbers
would make one part of two; see `origin`.
"""

from __future__ import annotations

from collections import Counter

import bpy
from bpy.app.handlers import persistent

from ..mesh_exchange.elements import rename_older_integers
from .attributes import mark_origin
from .origin import OWN_ATTRIBUTES

_numbered: set[int] = set()
"""Meshes (session_uid) that were seen with a number of their own."""


def number_copies() -> None:
    """Give each mesh of this file that has the table number of another one a new number."""
    _numbered.clear()
    _number(list(bpy.data.meshes))


def _number(meshes: list[bpy.types.Mesh]) -> None:
    """Give those of `meshes` that have the table number of another mesh a new one."""
    owners = Counter(mesh.partsam.origin for mesh in bpy.data.meshes)
    for mesh in meshes:
        origin = mesh.partsam.origin
        if origin and mesh.is_editable and owners[origin] > 1:
            if mesh.is_editmode:
                continue  # its faces cannot be numbered now
            owners[origin] -= 1
            mark_origin(mesh)
        _numbered.add(mesh.session_uid)


@persistent
def _after_update(_scene: bpy.types.Scene, depsgraph: bpy.types.Depsgraph) -> None:
    if not depsgraph.id_type_updated("MESH"):
        return
    changed = [update.id.original for update in depsgraph.updates if isinstance(update.id, bpy.types.Mesh)]
    fresh = [mesh for mesh in changed if mesh.session_uid not in _numbered]
    if fresh:
        _number(fresh)


@persistent
def _after_replacement(*_arguments: object) -> None:
    """Undo, redo and loading bring back meshes as they were before they were numbered or renamed."""
    for mesh in bpy.data.meshes:
        if mesh.is_editable and not mesh.is_editmode:
            rename_older_integers(mesh, OWN_ATTRIBUTES)
    number_copies()


def _handlers() -> list[tuple[list, object]]:
    handlers = bpy.app.handlers
    replaced = (handlers.undo_post, handlers.redo_post, handlers.load_post)
    return [(handlers.depsgraph_update_post, _after_update), *((one, _after_replacement) for one in replaced)]


def register() -> None:
    """Let copies be numbered as they appear."""
    for handlers, function in _handlers():
        handlers.append(function)


def unregister() -> None:
    """Stop following."""
    for handlers, function in _handlers():
        handlers.remove(function)
    _numbered.clear()
