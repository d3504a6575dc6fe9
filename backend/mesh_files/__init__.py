# SPDX-License-Identifier: GPL-3.0-or-later
"""Mesh files: read into one mesh and back into named parts, with materials, UVs and textures kept."""

from .gltf_writing import Groups, part_name, write_labels, write_parts
from .palette import part_color
from .reading import READABLE_SUFFIXES, read_mesh_file, read_scan_or_mesh
from .scene import PointCloud, SourceScene
from .surface import Image, Looks, Surface

__all__ = [
    "READABLE_SUFFIXES",
    "Groups",
    "Image",
    "Looks",
    "PointCloud",
    "SourceScene",
    "Surface",
    "part_color",
    "part_name",
    "read_mesh_file",
    "read_scan_or_mesh",
    "write_labels",
    "write_parts",
]
