# SPDX-License-Identifier: GPL-3.0-or-later
"""Meshes, surface samples and normalisation. numpy only, so that Blender's Python can import it."""

from .mesh import NEUTRAL_GREY, Mesh, face_areas, face_centroids, face_normals, validate_mesh
from .normalization import Normalization
from .sampling import PointSample, sample_surface

__all__ = [
    "NEUTRAL_GREY",
    "Mesh",
    "Normalization",
    "PointSample",
    "face_areas",
    "face_centroids",
    "face_normals",
    "sample_surface",
    "validate_mesh",
]
