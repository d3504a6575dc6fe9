# SPDX-License-Identifier: GPL-3.0-or-later
"""The mesh after modifiers, with a way back to the polygons of the base mesh."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import bpy
import numpy as np

from ...backend.errors import MeshError
from ..wording import say
from .arrays import IntArray, read_polygon_integers, write_polygon_integers

_SOURCE = "partsam_source"


@contextmanager
def evaluated_mesh(
    context: bpy.types.Context, obj: bpy.types.Object
) -> Iterator[tuple[bpy.types.Mesh, IntArray]]:
    """The evaluated mesh of `obj` and the base polygon of each of its polygons, int32 [P'].

    Polygon numbers travel through the modifiers as a temporary face attribute. Polygons that a modifier
    made anew have -1. Raises MeshError if a modifier drops attributes (as voxel remeshing does).
    """
    base = obj.data
    numbers = np.arange(1, len(base.polygons) + 1, dtype=np.int32)  # 0 is what new polygons get
    active = base.attributes.active_index
    write_polygon_integers(base, _SOURCE, numbers)
    evaluated = None
    try:
        depsgraph = context.evaluated_depsgraph_get()
        depsgraph.update()
        evaluated = obj.evaluated_get(depsgraph)
        mesh = evaluated.to_mesh()
        if not len(mesh.polygons):
            raise MeshError(
                say(
                    'The modifiers of "{name}" leave no faces of its own; if they make '
                    "instances, end them with a Realize Instances node, or use the "
                    "original mesh",
                    name=obj.name,
                )
            )
        sources = read_polygon_integers(mesh, _SOURCE)
        if sources is None or not (sources > 0).any():
            raise MeshError(
                say(
                    'A modifier of "{name}" rebuilds the mesh, so labels cannot be '
                    "mapped back; apply the modifiers or use the original mesh",
                    name=obj.name,
                )
            )
        yield mesh, sources - 1
    finally:
        if evaluated is not None:
            evaluated.to_mesh_clear()
        base.attributes.remove(base.attributes[_SOURCE])
        base.attributes.active_index = active
