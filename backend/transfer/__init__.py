# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of one mesh on another: the same shape anew, another shape of its kind, or its own copies."""

from .correspondence import Correspondence, correspond, face_features, match_faces
from .functional_maps import correspond_by, match_by, match_by_maps
from .labels import TransferSettings, transfer_labels
from .repeats import Repeat, find_repeats

__all__ = [
    "Correspondence",
    "Repeat",
    "TransferSettings",
    "correspond",
    "correspond_by",
    "face_features",
    "find_repeats",
    "match_by",
    "match_by_maps",
    "match_faces",
    "transfer_labels",
]
