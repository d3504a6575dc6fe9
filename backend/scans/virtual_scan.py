# SPDX-License-Identifier: GPL-3.0-or-later
"""Scans of meshes by virtual depth cameras, with what real scans suffer from: noise, shadows, holes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import maximum_filter

from ..geometry import Mesh, face_normals, sample_surface
from ..geometry.mesh import FloatArray, IntArray
from ..segmentation.orientation import even_directions, image_plane

_DEEPEST_STEP = 4.0
"""Pixel widths by which a pixel may lie behind the nearest of its neighbours."""


@dataclass(frozen=True)
class ScanSettings:
    """cameras: directions, evenly spread over the sphere, that look at the shape
    resolution: pixels along the longest side
    noise: standard deviation along the line of sight, as a share of the box's diagonal
    missing: share of the seen points that lies in holes; hole: their radius, as a share of the diagonal
    """

    cameras: int = 8
    resolution: int = 192
    noise: float = 0.005
    missing: float = 0.2
    hole: float = 0.06


def scan_mesh(mesh: Mesh, settings: ScanSettings, *, seed: int = 0) -> tuple[FloatArray, IntArray]:
    """(points float64 [N, 3], the face of `mesh` that each was seen on, int32 [N]).

    Orthographic depth images of a dense sample: in each pixel the camera sees the nearest point.
    """
    random = np.random.default_rng(seed)
    dense = sample_surface(mesh, 12 * settings.resolution**2, seed=seed)
    diagonal = float(np.linalg.norm(np.ptp(dense.points, axis=0)))
    normals = face_normals(mesh)[dense.faces]
    points, faces = [], []
    for direction in even_directions(settings.cameras):
        seen = _seen(dense.points, direction, settings.resolution)
        # The depth of a camera errs along its line of sight, and more on slanted surfaces.
        slant = np.clip(np.abs(normals[seen] @ direction), 0.25, 1)
        error = random.normal(0, settings.noise * diagonal, len(seen)) / np.sqrt(slant)
        points.append(dense.points[seen] + error[:, None] * direction)
        faces.append(dense.faces[seen])
    found, on_face = np.concatenate(points), np.concatenate(faces)
    kept = np.ones(len(found), dtype=bool)
    while settings.missing > 0 and kept.mean() > 1 - settings.missing:
        center = found[random.integers(len(found))]
        kept &= ((found - center) ** 2).sum(axis=1) > (settings.hole * diagonal) ** 2
    return found[kept], on_face[kept]


def _seen(points: FloatArray, direction: FloatArray, resolution: int) -> IntArray:
    """Index of the nearest point in each pixel of a camera that looks along -direction."""
    image = points @ image_plane(direction)
    image -= image.min(axis=0)
    side = image.max() / resolution
    pixels = np.minimum((image / side).astype(np.int64), resolution - 1) @ [1, resolution]
    depth = points @ direction
    order = np.lexsort([-depth, pixels])
    found = order[np.unique(pixels[order], return_index=True)[1]]
    nearest = np.full(resolution**2, -np.inf)
    nearest[pixels[found]] = depth[found]
    around = maximum_filter(nearest.reshape(resolution, resolution), size=3).reshape(-1)
    # What lies far behind its neighbours was seen through a gap between samples, or at a grazing angle.
    return found[depth[found] > around[pixels[found]] - _DEEPEST_STEP * side]
