# SPDX-License-Identifier: GPL-3.0-or-later
"""Polygon meshes, with data per vertex, corner and face, as surfaces of triangles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..geometry.mesh import FloatArray, IntArray
from .polygons import split_vertices, triangulate
from .surface import Surface


@dataclass(frozen=True)
class PolygonMesh:
    """positions: float64 [V, 3]
    sizes: int64 [N], corners of each polygon; corners: int64 [C], their vertices
    of_vertex: semantic -> float32 [V, n]; of_corner: semantic and float32 [C, n]
    materials: int64 [N], material of each polygon, -1 for none; or one for all
    """

    positions: FloatArray
    sizes: IntArray
    corners: IntArray
    of_vertex: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    of_corner: Sequence[tuple[str, NDArray[np.float32]]] = ()
    materials: IntArray | int = -1


def polygon_surfaces(mesh: PolygonMesh, name: str = "") -> tuple[Surface, ...]:
    """One surface for each run of polygons of one material, in the order of the polygons.

    Raises ValueError where corners refer to vertices that are not there.
    """
    corners, positions = mesh.corners.astype(np.int64), mesh.positions
    if len(corners) != mesh.sizes.sum() or (mesh.sizes < 0).any():
        raise ValueError("the polygons have other numbers of corners than they say")
    if len(corners) and (corners.min() < 0 or corners.max() >= len(positions)):
        raise ValueError("faces refer to vertices that are not there")
    places = triangulate(positions, corners, mesh.sizes)
    attributes = dict(mesh.of_vertex)
    for semantic, values in mesh.of_corner:
        corners, kept, attributes[semantic] = split_vertices(corners, values)
        positions = positions[kept]
        attributes = {other: data if other == semantic else data[kept] for other, data in attributes.items()}
    whole = Surface(name, positions, corners[places].astype(np.int32), attributes)
    materials = np.broadcast_to(np.asarray(mesh.materials, dtype=np.int64), mesh.sizes.shape)
    return _by_material(whole, np.repeat(materials, np.maximum(mesh.sizes - 2, 0)))


def _by_material(surface: Surface, materials: NDArray[np.int64]) -> tuple[Surface, ...]:
    """The surface cut where the material of its triangles [F] changes; below 0 is none."""
    starts = np.flatnonzero(np.diff(materials, prepend=materials[:1] - 1)).tolist()
    pieces = []
    for start, end in zip(starts, [*starts[1:], len(materials)], strict=True):
        used, triangles = np.unique(surface.triangles[start:end], return_inverse=True)
        pieces.append(
            Surface(
                surface.name,
                surface.positions[used],
                triangles.reshape(-1, 3).astype(np.int32),
                {name: values[used] for name, values in surface.attributes.items()},
                int(materials[start]) if materials[start] >= 0 else None,
            )
        )
    return tuple(pieces)
