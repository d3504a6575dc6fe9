# SPDX-License-Identifier: GPL-3.0-or-later
"""Meshes whose adjacency, angles and parts are known by construction."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backend.geometry import Mesh

_CUBE_QUADS = ((0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (2, 6, 7, 3), (0, 4, 6, 2), (1, 3, 7, 5))


def cube(*, center: tuple[float, float, float] = (0, 0, 0), side: float = 1.0) -> Mesh:
    """Two triangles per side, wound outward."""
    corners = np.array([[x, y, z] for z in (0, 1) for y in (0, 1) for x in (0, 1)], dtype=float)
    triangles = [t for a, b, c, d in _CUBE_QUADS for t in ((a, b, c), (a, c, d))]
    return Mesh((corners - 0.5) * side + np.array(center), np.array(triangles))


def plate(columns: int, rows: int, *, size: float = 1.0) -> Mesh:
    """A flat grid of `columns` x `rows` squares, two triangles each; `size` is a square's side."""
    x, y = np.meshgrid(np.arange(columns + 1), np.arange(rows + 1), indexing="xy")
    vertices = np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], axis=1) * size
    first = (np.arange(rows)[:, None] * (columns + 1) + np.arange(columns)).ravel()
    a, b, c, d = first, first + 1, first + columns + 2, first + columns + 1
    return Mesh(vertices, np.stack([a, b, c, a, c, d], axis=1).reshape(-1, 3))


def two_spheres(*, rings: int = 24, around: int = 36, offset: float = 0.8) -> Mesh:
    """Unit spheres at z = -offset and +offset as one surface of revolution; its only crease is the neck
    at z = 0, where a ring of vertices lies."""
    end = np.pi - np.arccos(offset)  # polar angle, from the pole, at which a sphere meets z = 0
    angles = np.linspace(0, end, rings + 1)[1:]
    upper = np.stack([np.sin(angles), offset + np.cos(angles)], axis=1)
    lower = upper[-2::-1] * [1, -1]
    upper[-1, 1] = 0.0
    profile = np.concatenate([upper, lower])
    turn = np.arange(around) * (2 * np.pi / around)
    ring_points = np.stack(
        [
            profile[:, :1] * np.cos(turn),
            profile[:, :1] * np.sin(turn),
            np.broadcast_to(profile[:, 1:], (len(profile), around)),
        ],
        axis=-1,
    )
    vertices = np.concatenate([ring_points.reshape(-1, 3), [[0, 0, 1 + offset], [0, 0, -1 - offset]]])
    index = np.arange(len(profile) * around).reshape(-1, around)
    beside = np.roll(index, -1, axis=1)
    a, b, c, d = index[:-1].ravel(), index[1:].ravel(), beside[1:].ravel(), beside[:-1].ravel()
    sides = np.stack([a, b, c, a, c, d], axis=1).reshape(-1, 3)
    top = np.stack([np.full(around, len(vertices) - 2), index[0], beside[0]], axis=1)
    bottom = np.stack([np.full(around, len(vertices) - 1), beside[-1], index[-1]], axis=1)
    return Mesh(vertices, np.concatenate([top, sides, bottom]))


def joined(*meshes: Mesh) -> Mesh:
    """All of them in one mesh; faces in the order given."""
    offsets = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes])
    triangles = [mesh.triangles + offset for mesh, offset in zip(meshes, offsets[:-1], strict=True)]
    return Mesh(np.concatenate([mesh.vertices for mesh in meshes]), np.concatenate(triangles))


def unwelded(mesh: Mesh) -> Mesh:
    """Every face with vertices of its own, as after export with seams everywhere."""
    return Mesh(mesh.corners().reshape(-1, 3), np.arange(3 * mesh.face_count).reshape(-1, 3))


def renumbered(mesh: Mesh, *, seed: int) -> Mesh:
    """The same faces in the same order over shuffled vertices."""
    order = np.random.default_rng(seed).permutation(len(mesh.vertices))
    return Mesh(mesh.vertices[order], np.argsort(order)[mesh.triangles])


def with_flipped(mesh: Mesh, flipped: NDArray[np.bool_]) -> Mesh:
    """The same mesh with the winding of some faces reversed."""
    return Mesh(mesh.vertices, np.where(flipped[:, None], mesh.triangles[:, ::-1], mesh.triangles))
