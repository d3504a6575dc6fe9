# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts that are copies of each other, moved, turned or mirrored: four legs, twelve bolts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ..geometry import Mesh, face_areas, sample_surface
from ..geometry.mesh import FloatArray, IntArray

_SAMPLES = 600
_SIZE_TOLERANCE = 0.05
"""Relative difference of area and extents up to which two parts are compared at all."""
_DISTANCE_TOLERANCE = 0.03
"""Mean distance of the surfaces, as a share of the part's size, up to which they are copies."""
_ROUNDS = 12


@dataclass(frozen=True)
class Repeat:
    """Parts that are copies of the first of them.

    parts: labels, ascending; transforms: float64 [n, 4, 4], from the first part to each
    mirrored: bool [n]
    """

    parts: tuple[int, ...]
    transforms: FloatArray
    mirrored: NDArray[np.bool_]


@dataclass(frozen=True)
class _Part:
    """A part as points about its middle. axes: main directions as rows; extents: spread along them."""

    label: int
    points: FloatArray
    middle: FloatArray
    axes: FloatArray
    extents: FloatArray
    area: float

    @property
    def size(self) -> float:
        return float(np.linalg.norm(self.extents))


def find_repeats(
    mesh: Mesh, labels: IntArray, *, progress: Callable[[float], None] | None = None
) -> list[Repeat]:
    """Groups of two or more parts that are copies up to a rigid motion or a mirror.

    labels: int [F], one part per face. Parts differ by area, by their spread along the main axes, or by the
    distance of their surfaces once laid upon each other.
    progress: told before each part how far it is; may raise
    """
    parts = list(_described(mesh, np.asarray(labels)))
    groups: list[tuple[_Part, list[tuple[int, FloatArray]]]] = []
    for number, part in enumerate(parts):
        if progress is not None:
            progress(number / len(parts))
        for first, members in groups:
            transform = _copy_transform(first, part)
            if transform is not None:
                members.append((part.label, transform))
                break
        else:
            groups.append((part, [(part.label, np.eye(4))]))
    found = []
    for _, members in groups:
        if len(members) > 1:
            transforms = np.stack([matrix for _, matrix in members])
            mirrored = np.linalg.det(transforms[:, :3, :3]) < 0
            found.append(Repeat(tuple(label for label, _ in members), transforms, mirrored))
    return found


def _described(mesh: Mesh, labels: NDArray) -> Iterator[_Part]:
    areas = face_areas(mesh)
    for label in np.unique(labels):
        faces = np.flatnonzero(labels == label)
        area = float(areas[faces].sum())
        own = Mesh(mesh.vertices, mesh.triangles[faces])
        if area <= 1e-12 * areas.sum():
            continue
        points = sample_surface(own, _SAMPLES).points
        middle = points.mean(axis=0)
        spread, axes = np.linalg.eigh(np.cov((points - middle).T))
        extents = np.sqrt(np.maximum(spread[::-1], 0))
        yield _Part(int(label), points - middle, middle, axes[:, ::-1].T, extents, area)


def _copy_transform(first: _Part, second: _Part) -> FloatArray | None:
    """The motion [4, 4] that lays the first part on the second, None if they are no copies."""
    if abs(first.area - second.area) > 2 * _SIZE_TOLERANCE * first.area:
        return None
    if np.abs(first.extents - second.extents).max() > _SIZE_TOLERANCE * first.size:
        return None
    tree = cKDTree(second.points)
    best: tuple[float, FloatArray] | None = None
    for start in _starts(first, second):
        rotation, error = _settled(first, second, tree, start)
        # A turn is preferred to a mirror image that fits as well.
        if best is None or error < 0.9 * best[0]:
            best = error, rotation
    # Two samples of one surface are apart by their spacing.
    spacing = float(np.median(tree.query(second.points, k=2)[0][:, 1]))
    if best is None or best[0] > _DISTANCE_TOLERANCE * first.size + spacing:
        return None
    transform = np.eye(4)
    transform[:3, :3] = best[1]
    transform[:3, 3] = second.middle - best[1] @ first.middle
    return transform


def _starts(first: _Part, second: _Part) -> Iterator[FloatArray]:
    """Rotations to try, then reflections: the main axes in every sense, and no turn at all."""
    turns = [second.axes.T @ np.diag(signs) @ first.axes for signs in product((1.0, -1.0), repeat=3)]
    mirror = [np.diag(np.where(np.arange(3) == axis, -1.0, 1.0)) for axis in range(3)]
    yield from sorted([np.eye(3), *turns, *mirror], key=lambda matrix: np.linalg.det(matrix) < 0)


def _settled(first: _Part, second: _Part, tree: cKDTree, rotation: FloatArray) -> tuple[FloatArray, float]:
    """(rotation after some rounds of iterated closest points, mean distance then)."""
    handed = np.sign(np.linalg.det(rotation))
    distance = np.zeros(1)
    for _ in range(_ROUNDS):
        distance, near = tree.query(first.points @ rotation.T)
        left, _, right = np.linalg.svd(second.points[near].T @ first.points)
        turned = left @ np.diag([1.0, 1.0, handed * np.sign(np.linalg.det(left @ right))]) @ right
        if np.allclose(turned, rotation, atol=1e-6):
            break
        rotation = turned
    return rotation, float(distance.mean())
