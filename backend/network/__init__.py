# SPDX-License-Identifier: GPL-3.0-or-later
"""The PartSAM network: configuration, modules and weights."""

from .checkpoint import (
    LoadedNetwork,
    StoredWeights,
    load_network,
    read_weights,
    save_network,
    untrained_network,
    write_weights,
)
from .config import PRESETS, PUBLISHED, SMALL, NetworkConfig
from .farthest_points import farthest_point_sampling
from .model import Decoding, Encoding, Locations, PartSAM, attributes_at
from .neighbors import interpolation_weights, patch_geometry, patch_space, placed
from .patches import PatchGeometry
from .recordings import DeviceNetwork
from .region_prompts import Regions, regions_in_view
from .sparse_logits import sparse_mask_logits

__all__ = [
    "PRESETS",
    "PUBLISHED",
    "SMALL",
    "Decoding",
    "DeviceNetwork",
    "Encoding",
    "LoadedNetwork",
    "Locations",
    "NetworkConfig",
    "PartSAM",
    "PatchGeometry",
    "Regions",
    "StoredWeights",
    "attributes_at",
    "farthest_point_sampling",
    "interpolation_weights",
    "load_network",
    "patch_geometry",
    "patch_space",
    "placed",
    "read_weights",
    "regions_in_view",
    "save_network",
    "sparse_mask_logits",
    "untrained_network",
    "write_weights",
]
