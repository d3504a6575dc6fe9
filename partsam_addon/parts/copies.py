# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies of a mesh get a table number of their own, so that joining a copy to its original tells both apart.

A copy comes with the faces and the table of the original, number included. After joining, equal numbers
would make one part of two; see `origin`.
"""

from __future__ import annotations

import bpy
from bpy.app.handlers import persistent

from .attributes import mark_origin, shares_origin

_numbered: set[int] = set()
"""Meshes (session_uid) that were seen with a number of their own."""


def number_copies() -> None:
    """Give each mesh of this file that has the table number of another one a new number."""
    _numbered.clear()
    for mesh in bpy.data.meshes:
        _number(mesh)


def _number(mesh: bpy.types.Mesh) -> None:
    if mesh.partsam.origin and mesh.is_editable and shares_origin(mesh):
        if mesh.is_editmode:
            return  # its faces cannot be numbered now
        mark_origin(mesh)
    _numbered.add(mesh.session_uid)


@persistent
def _after_update(_scene: bpy.types.Scene, depsgraph: bpy.types.Depsgraph) -> None:
    if not depsgraph.id_type_updated("MESH"):
        return
    for update in depsgraph.updates:
        if isinstance(update.id, bpy.types.Mesh) and update.id.original.session_uid not in _numbered:
            _number(update.id.original)


@persistent
def _after_replacement(*_arguments: object) -> None:
    """Undo, redo and loading bring back meshes as they were before they were numbered."""
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
