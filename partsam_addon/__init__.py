# SPDX-License-Identifier: GPL-3.0-or-later
"""The Blender side of PartSAM. Registering is quick: no process starts and no scene is read."""

from __future__ import annotations

import bpy

from . import click_tool, parts, pick_tool, preferences, properties, targets, ui
from .operators import (
    backend,
    cutting,
    find_copies,
    parts_faces,
    parts_list,
    running,
    segment,
    swatches,
    transfer,
    views,
)
from .session import close_session, handlers, open_session
from .ui import menus
from .view import exploded, isolate, overlay, state

CLASS_MODULES = (
    parts,
    state,
    preferences,
    properties,
    segment,
    cutting,
    running,
    click_tool,
    pick_tool,
    parts_list,
    parts_faces,
    views,
    transfer,
    find_copies,
    targets,
    backend,
    ui,
)
"""Modules with `classes`, in the order of registration."""


def register() -> None:
    """Called by Blender when the extension is enabled."""
    open_session()
    for module in CLASS_MODULES:
        for cls in module.classes:
            bpy.utils.register_class(cls)
    parts.register_properties()
    state.register()
    exploded.register()
    isolate.register()
    properties.register()
    click_tool.register()
    running.register()
    handlers.register()
    menus.register()
    overlay.register()


def unregister() -> None:
    """Called by Blender when the extension is disabled, updated or Blender quits. Undoes `register`."""
    close_session()
    overlay.unregister()
    menus.unregister()
    handlers.unregister()
    running.unregister()
    click_tool.unregister()
    properties.unregister()
    isolate.unregister()
    exploded.unregister()
    state.unregister()
    parts.unregister_properties()
    swatches.unregister()
    for module in reversed(CLASS_MODULES):
        for cls in reversed(module.classes):
            bpy.utils.unregister_class(cls)
