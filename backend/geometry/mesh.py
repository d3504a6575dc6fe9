# SPDX-License-Identifier: GPL-3.0-or-later
"""The triangle mesh that every stage passes along, and its per-face geometry."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..errors import MeshError
from .canonical import CanonicalOrder, canonical_order
from .rows import blocks, bounds, lengths

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

    Arrays are converted on construction and must not be changed after it: what all stages need of a mesh
    is computed when it is first asked for, and kept. Shapes and index bounds are checked at once
    (MeshError); whether the mesh can be segmented is `validate_mesh`'s question.
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
        return self.vertices.take(self.triangles, axis=0)

    @cached_property
    def area_vectors(self) -> FloatArray:
        """Normals of the faces, as long as twice their areas, float64 [F, 3]."""
        vectors = np.empty((self.face_count, 3))
        for rows in blocks(self.face_count):
            origin, first, second = (self.vertices.take(corner, axis=0) for corner in self.triangles[rows].T)
            first -= origin
            second -= origin
            for axis in range(3):
                left, right = (axis + 1) % 3, (axis + 2) % 3
                vectors[rows, axis] = first[:, left] * second[:, right] - first[:, right] * second[:, left]
        return _read_only(vectors)

    @cached_property
    def areas(self) -> FloatArray:
        """Areas of the faces, float64 [F], in squared mesh units."""
        return _read_only(0.5 * lengths(self.area_vectors))

    @cached_property
    def order(self) -> CanonicalOrder:
        """Of faces and corners, following the shape and not the file."""
        return canonical_order(self.vertices, self.triangles, self.areas)

    @cached_property
    def problem(self) -> str | None:
        """Why this mesh cannot be segmented, and what to do; None if it can."""
        return _problem(self)


def validate_mesh(mesh: Mesh) -> None:
    """Raise MeshError, with what to do, unless `mesh` has faces, sane used vertices and some area."""
    if mesh.problem is not None:
        raise MeshError(mesh.problem)


def _problem(mesh: Mesh) -> str | None:
    if mesh.face_count == 0:
        return "the mesh has no faces; there is nothing to segment"
    is_used = used_vertices(mesh)
    used = mesh.vertices if is_used.all() else mesh.vertices[is_used]
    if not np.isfinite(used).all():
        broken = int((~np.isfinite(used)).any(axis=1).sum())
        which = "1 vertex is" if broken == 1 else f"{broken} vertices are"
        return f"{which} not finite (NaN or infinite); repair the mesh and try again"
    low, high = bounds(used)
    if max(-low.min(), high.max()) > LARGEST_COORDINATE:
        return f"the mesh has coordinates beyond {LARGEST_COORDINATE:g}; move it or scale it down"
    extent = float((high - low).max())
    if extent == 0 or float(mesh.areas.sum()) <= 1e-14 * extent**2:
        return "the mesh has no surface area: all its faces are collapsed"
    return None


def used_vertices(mesh: Mesh) -> NDArray[np.bool_]:
    """Which vertices belong to a face, bool [V]."""
    used = np.zeros(len(mesh.vertices), dtype=bool)
    used[mesh.triangles] = True
    return used


def face_normals(mesh: Mesh, faces: IntArray | None = None) -> FloatArray:
    """Unit normals of all faces, or of `faces` [n], float64 [n, 3]; degenerate faces get (0, 0, 0)."""
    vectors = mesh.area_vectors if faces is None else mesh.area_vectors[faces]
    length = lengths(vectors)[:, None]
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)


def face_areas(mesh: Mesh) -> FloatArray:
    """Face areas, float64 [F], in squared mesh units."""
    return mesh.areas


def face_centroids(mesh: Mesh, faces: IntArray | None = None) -> FloatArray:
    """Centroids of all faces, or of `faces` [n], float64 [n, 3]."""
    corners = mesh.triangles.T if faces is None else mesh.triangles[faces].T
    total = mesh.vertices.take(corners[0], axis=0)
    total += mesh.vertices.take(corners[1], axis=0)
    total += mesh.vertices.take(corners[2], axis=0)
    total /= 3
    return total


def _read_only(array: FloatArray) -> FloatArray:
    array.flags.writeable = False
    return array


def _as_rows(array: object, dtype: type, name: str) -> NDArray:
    rows: NDArray = np.ascontiguousarray(array, dtype=dtype)
    if rows.size == 0:
        rows = rows.reshape(0, 3)
    if rows.ndim != 2 or rows.shape[1] != 3:
        raise MeshError(f"{name} must have shape [n, 3], got {list(rows.shape)}")
    return rows
