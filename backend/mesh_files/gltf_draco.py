# SPDX-License-Identifier: GPL-3.0-or-later
"""Primitives that KHR_draco_mesh_compression holds, through DracoPy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MeshFileError
from .gltf_document import GltfDocument, normalized_integers
from .optional import optional_module

DRACO = "KHR_draco_mesh_compression"


def is_compressed(document: GltfDocument, primitive: dict[str, Any]) -> bool:
    """Whether the data of a primitive is in Draco's form only, or can be decoded from it."""
    if DRACO not in primitive.get("extensions", {}):
        return False
    position = document.items("accessors")[primitive["attributes"]["POSITION"]]
    return "bufferView" not in position and "sparse" not in position


def decode_primitive(
    document: GltfDocument, primitive: dict[str, Any]
) -> tuple[dict[str, NDArray], NDArray[np.int64]]:
    """(semantic -> values [V, n], triangles [F, 3]). Raises MeshFileError without DracoPy or on damage."""
    draco = optional_module("DracoPy", f"{document.path.name} is compressed with Draco; reading it")
    packed = primitive["extensions"][DRACO]
    try:
        decoded = draco.decode(bytes(document.view(packed["bufferView"])))
        faces = np.asarray(decoded.faces, dtype=np.int64).reshape(-1, 3)
        by_id = {attribute["unique_id"]: attribute["data"] for attribute in decoded.attributes}
    except (draco.FileTypeException, ValueError, AttributeError, NotImplementedError) as error:
        raise MeshFileError(f"{document.path.name} is damaged: its Draco data cannot be decoded") from error
    values = {}
    for semantic, unique_id in packed["attributes"].items():
        accessor = document.items("accessors")[primitive["attributes"][semantic]]
        rows = np.asarray(by_id[unique_id])
        values[semantic] = normalized_integers(rows) if accessor.get("normalized") else rows
    return values, faces
