# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects into tasks: the last moment at which Blender's data is needed until the labels are written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import bpy

from ...backend.errors import MeshError
from ..mesh_exchange import ReadSettings, ShapeData, check_editable, object_mode, read_shape
from ..mesh_exchange.clouds import CloudData, read_cloud
from ..mesh_exchange.elements import is_cloud
from ..parts import bring_together
from ..wording import say
from .clouds import CloudTask
from .find_parts import Task


def read_objects(
    context: bpy.types.Context, objects: Sequence[bpy.types.Object], settings: ReadSettings
) -> ShapeData:
    """`objects` as one shape, whatever mode they are in. Raises MeshError for unusable ones."""
    with _ready(context, objects):
        return read_shape(context, objects, settings)


def _read(
    context: bpy.types.Context, objects: Sequence[bpy.types.Object], settings: ReadSettings
) -> ShapeData | CloudData:
    """`objects` as one shape, or a single one without faces as a point cloud."""
    with _ready(context, objects):
        clouds = [obj for obj in objects if is_cloud(obj.data)]
        if not clouds:
            return read_shape(context, objects, settings)
        if len(objects) > 1:
            raise MeshError(
                say(
                    '"{name}" has no faces: a point cloud cannot be one shape with other '
                    "objects; set Several Objects to Each in Turn",
                    name=clouds[0].name,
                )
            )
        return read_cloud(clouds[0], settings)


@contextmanager
def _ready(context: bpy.types.Context, objects: Sequence[bpy.types.Object]) -> Iterator[None]:
    """Out of Edit mode, with tables and faces in step. Raises MeshError for unusable objects."""
    for obj in objects:
        check_editable(obj)
    with object_mode(context, *objects):
        for obj in objects:
            bring_together(obj.data)
        yield


def read_tasks(
    context: bpy.types.Context,
    objects: Sequence[bpy.types.Object],
    settings: ReadSettings,
    *,
    joined: bool = False,
    title: str = "",
    keep_edits: bool = True,
) -> list[Task | CloudTask]:
    """One task per object, or one for all of them. See `Task` for the options."""
    groups = [list(objects)] if joined else [[obj] for obj in unique_meshes(objects)]
    tasks: list[Task | CloudTask] = []
    for group in groups:
        read = _read(context, group, settings)
        if isinstance(read, CloudData):
            tasks.append(CloudTask(read, settings.is_partial, title, keep_edits))
        else:
            tasks.append(Task(read, settings.is_partial, title, keep_edits))
    return tasks


def unique_meshes(objects: Sequence[bpy.types.Object]) -> list[bpy.types.Object]:
    """The first object of each mesh: labels belong to the mesh, so its other users get them as well."""
    first: dict[int, bpy.types.Object] = {}
    for obj in objects:
        first.setdefault(obj.data.session_uid, obj)
    return list(first.values())
