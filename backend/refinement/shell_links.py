# SPDX-License-Identifier: GPL-3.0-or-later
"""Weak links between shells that nearly touch but share no edge (a button on a coat, a blade in a hilt)."""

from __future__ import annotations

import numpy as np

from ..geometry import Mesh, face_areas, face_centroids, sample_surface
from ..geometry.mesh import FloatArray, IntArray
from ..nearest import nearest_several

_SAMPLES = 20_000
_NEIGHBOURS = 16
_LINKS_PER_SAMPLE = 2
_FACES_PER_SHELL = 4

_MOST = 4
"""One shell has most of the samples where all others have fewer than one in so many."""


def link_near_shells(
    mesh: Mesh, shells: IntArray, *, diagonal: float, max_gap: float = 0.02
) -> tuple[IntArray, FloatArray]:
    """Face pairs of different shells that lie within `max_gap` x diagonal of each other.

    shells: int [F], connected component of each face
    Returns pairs int64 [K, 2] and the length each link stands for, float64 [K], in mesh units: the
    spacing of the samples between which distances are measured (20,000 over the area, and four
    faces of every shell, however small). At most two links start from a sample.
    """
    if int(shells.max()) == 0:
        return no_links()
    points, faces = _probes(mesh, shells)
    spacing = float(np.sqrt(face_areas(mesh).sum() / _SAMPLES))
    neighbours = min(_NEIGHBOURS, len(points))
    reach = max_gap * diagonal + spacing
    asked = _near_others(points, shells[faces], reach)
    distance, index = nearest_several(points, points[asked], neighbours, within=reach)
    found = np.isfinite(distance)
    index = np.where(found, index, 0)
    foreign = found & (shells[faces[index]] != shells[faces[asked]][:, None])
    foreign &= np.cumsum(foreign, axis=1) <= _LINKS_PER_SAMPLE
    sample, column = np.nonzero(foreign)
    own, other = faces[asked[sample]], faces[index[sample, column]]
    keys = np.unique(np.minimum(own, other) * mesh.face_count + np.maximum(own, other))
    return np.stack(np.divmod(keys, mesh.face_count), axis=1), np.full(len(keys), spacing)


def no_links() -> tuple[IntArray, FloatArray]:
    """What `link_near_shells` returns where nothing is to be linked."""
    return np.zeros((0, 2), dtype=np.int64), np.zeros(0)


def _near_others(points: FloatArray, shells: IntArray, reach: float) -> IntArray:
    """Those of points [N, 3] that may be within reach of one of another shell, int64 [M].

    shells: int [N], of each point. Only where one shell has most of the points some are left out.
    """
    largest = shells == np.bincount(shells).argmax()
    others = np.flatnonzero(~largest)
    if len(others) * _MOST > len(points):
        return np.arange(len(points))
    own = np.flatnonzero(largest)
    distance = nearest_several(points[others], points[own], 1, within=reach)[0][:, 0]
    return np.sort(np.concatenate([others, own[np.isfinite(distance)]]))


def _probes(mesh: Mesh, shells: IntArray) -> tuple[FloatArray, IntArray]:
    """Points and their faces: area-uniform samples, and the centroids of each shell's largest faces."""
    sample = sample_surface(mesh, _SAMPLES, seed=0)
    areas = face_areas(mesh)
    faces = _without_small(areas, shells)
    order = faces[np.lexsort([-areas[faces], shells[faces]])]
    starts = np.flatnonzero(np.diff(shells[order], prepend=-1))
    rank = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    largest = order[rank < _FACES_PER_SHELL]
    points = np.concatenate([sample.points, face_centroids(mesh)[largest]])
    return points, np.concatenate([sample.faces, largest]).astype(np.int64)


def _without_small(areas: FloatArray, shells: IntArray) -> IntArray:
    """The faces, int64 [N], without those of the shell of most faces that are not among its largest."""
    counts = np.bincount(shells)
    most = shells == counts.argmax()
    if counts.max() <= _FACES_PER_SHELL:
        return np.arange(len(shells))
    large = np.partition(areas[most], -_FACES_PER_SHELL)[-_FACES_PER_SHELL]
    return np.flatnonzero(~most | (areas >= large))
