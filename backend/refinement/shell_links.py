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
    distance, index = nearest_several(points, points, neighbours, within=reach)
    found = np.isfinite(distance)
    index = np.where(found, index, 0)
    foreign = found & (shells[faces[index]] != shells[faces][:, None])
    foreign &= np.cumsum(foreign, axis=1) <= _LINKS_PER_SAMPLE
    sample, column = np.nonzero(foreign)
    pairs = np.sort(np.stack([faces[sample], faces[index[sample, column]]], axis=1), axis=1)
    pairs = np.unique(pairs, axis=0)
    return pairs, np.full(len(pairs), spacing)


def no_links() -> tuple[IntArray, FloatArray]:
    """What `link_near_shells` returns where nothing is to be linked."""
    return np.zeros((0, 2), dtype=np.int64), np.zeros(0)


def _probes(mesh: Mesh, shells: IntArray) -> tuple[FloatArray, IntArray]:
    """Points and their faces: area-uniform samples, and the centroids of each shell's largest faces."""
    sample = sample_surface(mesh, _SAMPLES, seed=0)
    order = np.lexsort([-face_areas(mesh), shells])
    starts = np.flatnonzero(np.diff(shells[order], prepend=-1))
    rank = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    largest = order[rank < _FACES_PER_SHELL]
    points = np.concatenate([sample.points, face_centroids(mesh)[largest]])
    return points, np.concatenate([sample.faces, largest]).astype(np.int64)
