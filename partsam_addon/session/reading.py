# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects into tasks: the last moment at which Blender's data is needed until the labels are written."""

from __future__ import annotations

from collections.abc import Sequence

import bpy

from ..mesh_exchange import ReadSettings, ShapeData, check_editable, object_mode, read_shape
from ..parts import bring_together
from .segmentation import Task


def read_objects(
    context: bpy.types.Context, objects: Sequence[bpy.types.Object], settings: ReadSettings
) -> ShapeData:
    """`objects` as one shape, whatever mode they are in. Raises MeshError for unusable ones."""
    for obj in objects:
        check_editable(obj)
    with object_mode(context, *objects):
        for obj in objects:
            bring_together(obj.data)
        return read_shape(context, objects, settings)


def read_tasks(
    context: bpy.types.Context,
    objects: Sequence[bpy.types.Object],
    settings: ReadSettings,
    *,
    joined: bool = False,
    title: str = "",
    keep_edits: bool = True,
) -> list[Task]:
    """One task per object, or one for all of them. See `Task` for the options."""
    groups = [list(objects)] if joined else [[obj] for obj in unique_meshes(objects)]
    return [
        Task(read_objects(context, group, settings), settings.is_partial, title, keep_edits)
        for group in groups
    ]


def unique_meshes(objects: Sequence[bpy.types.Object]) -> list[bpy.types.Object]:
    """The first object of each mesh: labels belong to the mesh, so its other users get them as well."""
    first: dict[int, bpy.types.Object] = {}
    for obj in objects:
        first.setdefault(obj.data.session_uid, obj)
    return list(first.values())
