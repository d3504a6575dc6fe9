# SPDX-License-Identifier: GPL-3.0-or-later
"""The triangle mesh that every stage passes along, and its per-face geometry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import MeshError

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]

NEUTRAL_GREY = 192 / 255
"""Colour of surfaces that have none, as the published model was trained with."""

LARGEST_COORDINATE = 1e30
"""Far beyond any real unit, and small enough that squares of areas are finite and float32 holds it."""


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh as plain arrays.

    vertices: float64 [V, 3], in the caller's units
    triangles: int32 [F, 3], indices into `vertices`
    face_colors: float32 [F, 3] RGB in [0, 1], or None where nothing is known

    Arrays are converted on construction. Shapes and index bounds are checked at once (MeshError);
    whether the mesh can be segmented is `validate_mesh`'s question.
    """

    vertices: FloatArray
    triangles: IntArray
    face_colors: FloatArray | None = None

    def __post_init__(self) -> None:
        vertices = _as_rows(self.vertices, np.float64, "vertices")
        # Checked before the conversion: numpy wraps indices that int32 does not hold.
        indices = np.asarray(self.triangles)
        if indices.size and (indices.min() < 0 or indices.max() >= len(vertices)):
            raise MeshError(
                f"triangles refer to vertices {indices.min()}..{indices.max()}, "
                f"but the mesh has {len(vertices)} vertices"
            )
        triangles = _as_rows(indices, np.int32, "triangles")
        object.__setattr__(self, "vertices", vertices)
        object.__setattr__(self, "triangles", triangles)
        if self.face_colors is not None:
            colors = _as_rows(self.face_colors, np.float32, "face_colors")
            if len(colors) != len(triangles):
                raise MeshError(f"{len(colors)} face colours for {len(triangles)} triangles")
            object.__setattr__(self, "face_colors", colors)

    @property
    def face_count(self) -> int:
        return len(self.triangles)

    def corners(self) -> FloatArray:
        """Corner positions, float64 [F, 3, 3] (face, corner, axis)."""
        return self.vertices[self.triangles]


def validate_mesh(mesh: Mesh) -> None:
    """Raise MeshError, with what to do, unless `mesh` has faces, sane used vertices and some area."""
    if mesh.face_count == 0:
        raise MeshError("the mesh has no faces; there is nothing to segment")
    used = mesh.vertices[np.unique(mesh.triangles)]
    broken = int((~np.isfinite(used)).any(axis=1).sum())
    if broken:
        raise MeshError(f"{broken} vertices are not finite (NaN or infinite); repair the mesh and try again")
    if np.abs(used).max() > LARGEST_COORDINATE:
        raise MeshError(f"the mesh has coordinates beyond {LARGEST_COORDINATE:g}; move it or scale it down")
    extent = float(np.ptp(used, axis=0).max())
    if extent == 0 or float(face_areas(mesh).sum()) <= 1e-14 * extent**2:
        raise MeshError("the mesh has no surface area: all its faces are collapsed")


def face_normals(mesh: Mesh) -> FloatArray:
    """Unit face normals, float64 [F, 3]; degenerate faces get (0, 0, 0)."""
    cross = _face_cross(mesh)
    length = np.linalg.norm(cross, axis=1, keepdims=True)
    return np.divide(cross, length, out=np.zeros_like(cross), where=length > 0)


def face_areas(mesh: Mesh) -> FloatArray:
    """Face areas, float64 [F], in squared mesh units."""
    return 0.5 * np.linalg.norm(_face_cross(mesh), axis=1)


def face_centroids(mesh: Mesh) -> FloatArray:
    """Face centroids, float64 [F, 3]."""
    return mesh.corners().mean(axis=1)


def _face_cross(mesh: Mesh) -> FloatArray:
    corners = mesh.corners()
    return np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])


def _as_rows(array: object, dtype: type, name: str) -> NDArray:
    rows: NDArray = np.ascontiguousarray(array, dtype=dtype)
    if rows.size == 0:
        rows = rows.reshape(0, 3)
    if rows.ndim != 2 or rows.shape[1] != 3:
        raise MeshError(f"{name} must have shape [n, 3], got {list(rows.shape)}")
    return rows
