# SPDX-License-Identifier: GPL-3.0-or-later
"""On which site of a mesh a click lies: a small part has a face there, but hardly a sampled point."""

from __future__ import annotations

import numpy as np

from ..geometry.mesh import FloatArray, IntArray
from ..geometry.rows import lengths as row_lengths
from .encoded_shape import EncodedShape

_ON_POINT = 2e-6
"""A click is a sampled point that is no farther away than this in the network's cube."""


def clicked_sites(shape: EncodedShape, clicks: FloatArray) -> IntArray:
    """The site of a mesh at each of clicks [..., 3] in the caller's units, int64 [...].

    That of the nearest face among those that sites lie on and those with a sampled point. Clicks at sampled
    points are these, also where several surfaces lie in one place.
    """
    places, which = np.unique(clicks.reshape(-1, 3), axis=0, return_inverse=True)
    tolerance = _ON_POINT / shape.normalization.scale
    found = np.array([_clicked_site(shape, place, tolerance) for place in places], dtype=np.int64)
    return found[which.reshape(clicks.shape[:-1])]


def _clicked_site(shape: EncodedShape, click: FloatArray, tolerance: float) -> int:
    to_points = row_lengths(shape.world_points - click)
    point = int(to_points.argmin())
    nearest, site = float(to_points[point]), int(shape.sites.of_point[point])
    mesh, faces = shape.mesh, shape.sites.faces
    if nearest <= tolerance or mesh is None or faces is None:
        return site
    to_centroids = row_lengths(shape.sites.locations - click)
    near = np.flatnonzero(to_centroids <= nearest + shape.site_extents)
    distances = distances_to_triangles(click, mesh.vertices[mesh.triangles[faces[near]]])
    if len(near) and distances.min() < nearest - tolerance:
        site = int(near[distances.argmin()])
    return site


def distances_to_triangles(place: FloatArray, corners: FloatArray) -> FloatArray:
    """From a place [3] to each of triangles [K, 3, 3], which may have no area: float64 [K]."""
    sides = np.roll(corners, -1, axis=1) - corners
    offsets = place - corners
    lengths = (sides**2).sum(axis=2)
    along = (offsets * sides).sum(axis=2) / np.where(lengths > 0, lengths, 1)
    to_sides = ((offsets - along.clip(0, 1)[:, :, None] * sides) ** 2).sum(axis=2).min(axis=1)
    normals = np.cross(sides[:, 0], sides[:, 1])
    areas = (normals**2).sum(axis=1)
    above = ((np.cross(sides, offsets) * normals[:, None]).sum(axis=2) > 0).all(axis=1)
    to_planes = (offsets[:, 0] * normals).sum(axis=1) ** 2 / np.where(areas > 0, areas, 1)
    distances: FloatArray = np.sqrt(np.where(above, to_planes, to_sides))
    return distances
