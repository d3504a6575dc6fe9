# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects into tasks: the last moment at which Blender's data is needed until the labels are written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import bpy
import numpy as np

from ...backend.errors import MeshError
from ..mesh_exchange import (
    MeshSource,
    ReadSettings,
    ShapeData,
    check_editable,
    find_object,
    object_mode,
    read_shape,
)
from ..mesh_exchange.clouds import read_cloud
from ..mesh_exchange.elements import is_cloud
from ..parts import Rooms, bring_together, rooms_of
from ..wording import say
from .clouds import CloudTask
from .find_parts import Task


def read_objects(
    context: bpy.types.Context, objects: Sequence[bpy.types.Object], settings: ReadSettings
) -> ShapeData:
    """`objects` as one shape for clicks, whatever mode they are in. Raises MeshError for unusable ones."""
    with _ready(context, objects):
        for obj in objects:
            _refuse_cloud(obj)
        return read_shape(context, objects, settings)


def _refuse_cloud(obj: bpy.types.Object) -> None:
    if is_cloud(obj.data) and len(obj.data.vertices):
        raise MeshError(
            say(
                '"{name}" has no faces to click on, and this needs faces. Press Segment for the parts of its '
                "points, or select points in Edit mode and use New Part from Selected Faces (menu PartSAM)",
                name=obj.name,
            )
        )


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
        with _ready(context, group):
            clouds = [obj for obj in group if is_cloud(obj.data)]
            if not clouds:
                tasks.append(_read_task(context, group, settings, title, keep_edits))
            elif len(group) == 1:
                tasks.append(_read_cloud_task(group[0], settings, title, keep_edits))
            else:
                raise MeshError(
                    say(
                        '"{name}" has no faces: a point cloud cannot be one shape with other '
                        "objects; set Several Objects to Each in Turn",
                        name=clouds[0].name,
                    )
                )
    return tasks


def _read_task(
    context: bpy.types.Context,
    objects: Sequence[bpy.types.Object],
    settings: ReadSettings,
    title: str,
    keep_edits: bool,
) -> Task:
    """`objects`, all with faces, as one shape."""
    shape = read_shape(context, objects, settings)
    rooms = tuple(_rooms_of(source, settings) for source, _ in shape.runs())
    return Task(shape, settings.is_partial, title, keep_edits, rooms)


def _rooms_of(source: MeshSource, settings: ReadSettings) -> Rooms:
    """The rooms for a cut of the triangles of `source`."""
    polygons = source.triangle_polygons
    inside = np.zeros(source.polygon_count, dtype=bool)
    inside[polygons[polygons >= 0]] = True
    mesh = find_object(source.object_uid).data
    rooms = rooms_of(mesh, inside | (not settings.is_partial), within=settings.is_partial)
    return {keep: room.at(polygons) for keep, room in rooms.items()}


def _read_cloud_task(
    obj: bpy.types.Object, settings: ReadSettings, title: str, keep_edits: bool
) -> CloudTask:
    cloud = read_cloud(obj, settings)
    inside = np.zeros(cloud.vertex_count, dtype=bool)
    inside[cloud.vertices] = True
    rooms = rooms_of(obj.data, inside | (not settings.is_partial), within=settings.is_partial)
    here = {keep: room.at(cloud.vertices) for keep, room in rooms.items()}
    return CloudTask(cloud, settings.is_partial, title, keep_edits, here)


def unique_meshes(objects: Sequence[bpy.types.Object]) -> list[bpy.types.Object]:
    """The first object of each mesh: labels belong to the mesh, so its other users get them as well."""
    first: dict[int, bpy.types.Object] = {}
    for obj in objects:
        first.setdefault(obj.data.session_uid, obj)
    return list(first.values())
