# SPDX-License-Identifier: GPL-3.0-or-later
"""Scans and point clouds: normals, samples that the network reads, and labels for every point."""

from ..segmentation.point_normals import estimate_normals
from .clouds import CloudParts, encode_cloud, segment_cloud
from .virtual_scan import ScanSettings, scan_mesh
from .writing import write_cloud

__all__ = [
    "CloudParts",
    "ScanSettings",
    "encode_cloud",
    "estimate_normals",
    "scan_mesh",
    "segment_cloud",
    "write_cloud",
]
