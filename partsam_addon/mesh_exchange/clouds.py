# SPDX-License-Identifier: GPL-3.0-or-later
"""A mesh without faces as a point cloud for the backend."""

from __future__ import annotations

from dataclasses import dataclass, field

import bpy
import numpy as np

from ...backend.errors import MeshError
from ..wording import say, say_count
from .arrays import FloatArray, IntArray, vertex_positions
from .elements import element_flags, read_element_integers
from .modes import check_editable
from .shape import ReadSettings, mesh_hash
from .surface_colors import OWN_COLOR_ATTRIBUTE, linear_to_srgb

LEAST_POINTS = 4


@dataclass(frozen=True)
class CloudData:
    """The points of an object, and how to know its mesh again: see `shape.MeshSource`.

    vertices: int64 [N], which of the mesh's `vertex_count` vertices were read
    points: float32 [N, 3], in world scale and orientation, relative to the object's origin
    colors: float32 [N, 3], RGB as displayed in [0, 1]; None where the mesh has none on its points
    """

    object_name: str
    object_uid: int
    mesh_hash: str
    vertex_count: int
    vertices: IntArray = field(repr=False)
    points: FloatArray = field(repr=False)
    colors: FloatArray | None = field(repr=False)
    polygon_count: int = 0

    def of_vertices(self, values: IntArray) -> IntArray:
        """Values int [N] of the points for all vertices, int32 [V]; -1 for those that were not read."""
        result = np.full(self.vertex_count, -1, dtype=np.int32)
        result[self.vertices] = values
        return result


def read_cloud(obj: bpy.types.Object, settings: ReadSettings) -> CloudData:
    """Read the vertices of `obj`, in Object mode. Raises MeshError for what cannot be segmented."""
    check_editable(obj)
    mesh = obj.data
    if settings.evaluated and len(obj.modifiers):
        raise MeshError(
            say(
                '"{name}" is a point cloud: what modifiers make of its points cannot be '
                "mapped back; apply them or use the original mesh",
                name=obj.name,
            )
        )
    vertices = np.flatnonzero(_wanted(obj, settings))
    if len(vertices) < LEAST_POINTS:
        count = len(vertices)
        content = say_count(count, "only one point", "only {count} points") if count else say("nothing")
        raise MeshError(
            say(
                '"{name}" holds {content}; without faces it takes {least_points} points at least',
                name=obj.name,
                content=content,
                least_points=LEAST_POINTS,
            )
        )
    turn = np.array(obj.matrix_world, dtype=np.float64)[:3, :3]
    colors = _point_colors(mesh)
    return CloudData(
        object_name=obj.name,
        object_uid=obj.session_uid,
        mesh_hash=mesh_hash(mesh),
        vertex_count=len(mesh.vertices),
        vertices=vertices,
        points=(vertex_positions(mesh)[vertices] @ turn.T).astype(np.float32),
        colors=None if colors is None else colors[vertices],
    )


def _wanted(obj: bpy.types.Object, settings: ReadSettings) -> np.ndarray:
    """Which vertices are to be read, bool [V]."""
    wanted = np.ones(len(obj.data.vertices), dtype=bool)
    if settings.selected_only:
        wanted = element_flags(obj.data, "select")
        if not wanted.any():
            raise MeshError(
                say(
                    'No point of "{name}" is selected; select some in Edit mode or segment all points',
                    name=obj.name,
                )
            )
    if settings.within is not None:
        name, value = settings.within
        values = read_element_integers(obj.data, name)
        if values is None or not (wanted & (values == value)).any():
            raise MeshError(
                say(
                    'No point of "{name}" has {attribute} = {value}; choose another part',
                    name=obj.name,
                    attribute=name,
                    value=value,
                )
            )
        wanted &= values == value
    return wanted


def _point_colors(mesh: bpy.types.Mesh) -> FloatArray | None:
    """The active colour attribute, or the first other one, if it lies on points: float32 [V, 3]."""
    active = mesh.color_attributes.active_color
    candidates = [attribute for attribute in (active, *mesh.color_attributes) if attribute is not None]
    for attribute in candidates:
        if attribute.domain == "POINT" and attribute.name != OWN_COLOR_ATTRIBUTE:
            rgba = np.empty((len(mesh.vertices), 4), dtype=np.float32)
            attribute.data.foreach_get("color", rgba.ravel())
            return linear_to_srgb(rgba[:, :3]).astype(np.float32)
    return None
