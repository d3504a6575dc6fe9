# SPDX-License-Identifier: GPL-3.0-or-later
"""What Blender must know of parts: the table on every mesh, and the handlers that keep it right."""

from __future__ import annotations

import bpy
from bpy.props import PointerProperty

from . import copies, undo
from .schema import PARTSAM_PG_parts, classes

__all__ = ["classes", "register_properties", "unregister_properties"]


def register_properties() -> None:
    """Attach the table to every mesh. Call after registering `classes`."""
    bpy.types.Mesh.partsam = PointerProperty(type=PARTSAM_PG_parts)
    undo.register()
    copies.register()


def unregister_properties() -> None:
    """Take the table from every mesh. Call before unregistering `classes`."""
    copies.unregister()
    undo.unregister()
    del bpy.types.Mesh.partsam
