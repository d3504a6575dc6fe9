# SPDX-License-Identifier: GPL-3.0-or-later
"""Area-uniform points on a triangle mesh."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from .mesh import NEUTRAL_GREY, FloatArray, IntArray, Mesh, face_areas, face_normals, validate_mesh


@dataclass(frozen=True)
class PointSample:
    """Points drawn from a surface.

    points: float64 [N, 3], in the mesh's units
    normals: float32 [N, 3], unit face normals
    colors: float32 [N, 3], RGB in [0, 1]
    faces: int32 [N], the triangle each point lies on
    barycentric: float32 [N, 3], weights of that triangle's corners (for looking up textures)
    """

    points: FloatArray
    normals: FloatArray
    colors: FloatArray
    faces: IntArray
    barycentric: FloatArray


def sample_surface(mesh: Mesh, count: int, *, seed: int = 0) -> PointSample:
    """Draw `count` points uniformly over the area of `mesh`; the same for the same seed.

    Stratified over the cumulative area (one uniform draw in each of `count` equal strata), so that
    every face of more than 2/count of the area is hit. Faces and corners are taken in an order that follows
    the shape (`canonical.py`): the file's order and axes do not change where points fall.
    Raises MeshError for meshes without area.
    """
    validate_mesh(mesh)
    strata, shuffle, weights = draw(count, seed)
    order = mesh.order
    cumulative = np.cumsum(face_areas(mesh)[order.faces])
    cumulative /= cumulative[-1]
    faces = np.searchsorted(cumulative, strata, side="right").astype(np.int32)
    faces = order.faces[np.minimum(faces, mesh.face_count - 1)].astype(np.int32)
    faces = faces[shuffle]
    barycentric = np.empty((count, 3))
    np.put_along_axis(barycentric, order.corners[faces].astype(np.int64), weights, axis=1)
    points = np.zeros((count, 3))
    for corner, share in zip(mesh.triangles.take(faces, axis=0).T, barycentric.T, strict=True):
        points += mesh.vertices.take(corner, axis=0) * share[:, None]
    if mesh.face_colors is None:
        colors = np.full((count, 3), NEUTRAL_GREY, dtype=np.float32)
    else:
        colors = mesh.face_colors[faces].astype(np.float32)
    return PointSample(
        points=points,
        normals=face_normals(mesh, faces).astype(np.float32),
        colors=colors,
        faces=faces,
        barycentric=barycentric.astype(np.float32),
    )


@functools.lru_cache(maxsize=3)
def draw(count: int, seed: int) -> tuple[FloatArray, IntArray, FloatArray]:
    """The random numbers of a sample: one place in each of `count` equal strata of the cumulative area,
    float64 [count]; a permutation int64 [count]; barycentric coordinates in it, float64 [count, 3].

    To be read only: the last three are kept, as most meshes are sampled with the same (100,000 take 5 ms),
    and their face graph and what sets them upright with others."""
    random = np.random.default_rng(seed)
    strata = (np.arange(count) + random.random(count)) / count
    # Strata follow face order; shuffled so that a prefix of the sample is a sample, too.
    shuffle = random.permutation(count)
    return strata, shuffle, _uniform_barycentric(random, count)


def _uniform_barycentric(random: np.random.Generator, count: int) -> FloatArray:
    """Barycentric coordinates uniform over a triangle, float64 [count, 3]."""
    u, v = random.random((2, count))
    flip = u + v > 1
    u[flip], v[flip] = 1 - u[flip], 1 - v[flip]
    return np.stack([1 - u - v, u, v], axis=1)
