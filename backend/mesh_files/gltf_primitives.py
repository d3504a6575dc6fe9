# SPDX-License-Identifier: GPL-3.0-or-later
"""What a glTF primitive holds, in the space of its mesh: plain, compressed, morphed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MeshFileError
from .gltf_document import GltfDocument
from .gltf_draco import decode_primitive, is_compressed
from .gltf_transforms import unit_rows

POINTS, _TRIANGLES, _STRIP, _FAN = 0, 4, 5, 6
TRIANGLE_MODES = (_TRIANGLES, _STRIP, _FAN)
_WIDTHS = {
    "NORMAL": (3,),
    "TANGENT": (4,),
    "TEXCOORD_": (2,),
    "COLOR_": (3, 4),
    "JOINTS_": (4,),
    "WEIGHTS_": (4,),
}


@dataclass(frozen=True)
class Vertices:
    """positions: float64 [V, 3]; attributes: semantic -> [V, n], without POSITION
    decoded: triangles [F, 3] that came with them, where Draco holds both
    """

    positions: NDArray[np.float64]
    attributes: dict[str, NDArray]
    decoded: NDArray[np.int64] | None = None


def read_vertices(document: GltfDocument, primitive: dict[str, Any], weights: Sequence[float]) -> Vertices:
    """The vertices of a primitive, with its morph targets at `weights`. Raises MeshFileError on damage."""
    decoded = None
    if is_compressed(document, primitive):
        attributes, decoded = decode_primitive(document, primitive)
        for semantic, index in primitive["attributes"].items():
            attributes.setdefault(semantic, document.accessor(index))
    else:
        attributes = {name: document.accessor(index) for name, index in primitive["attributes"].items()}
    positions = attributes.pop("POSITION").astype(np.float64)
    for semantic, values in attributes.items():
        widths = _WIDTHS.get(semantic.rstrip("0123456789"))
        if len(values) != len(positions) or (widths and values.shape[1] not in widths):
            raise MeshFileError(f"{document.path.name} is damaged: {semantic} does not fit its vertices")
    for weight, target in zip(weights, primitive.get("targets", ()), strict=False):
        if weight:
            positions = _morphed(document, target, float(weight), positions, attributes)
    return Vertices(positions, attributes, decoded)


def _morphed(
    document: GltfDocument,
    target: dict[str, Any],
    weight: float,
    positions: NDArray[np.float64],
    attributes: dict[str, NDArray],
) -> NDArray[np.float64]:
    """Positions under one more morph target (glTF 3.7.2.2); normals in `attributes` follow."""
    if "NORMAL" in target and "NORMAL" in attributes:
        attributes["NORMAL"] = unit_rows(attributes["NORMAL"] + weight * document.accessor(target["NORMAL"]))
    if "POSITION" not in target:
        return positions
    return positions + weight * document.accessor(target["POSITION"]).astype(np.float64)


def read_triangles(
    document: GltfDocument, primitive: dict[str, Any], vertices: Vertices
) -> NDArray[np.int64]:
    """Corner indices [F, 3] of a primitive of mode triangles, strip or fan."""
    mode, count = primitive.get("mode", _TRIANGLES), len(vertices.positions)
    if vertices.decoded is not None:
        corners, mode = vertices.decoded.reshape(-1), _TRIANGLES
    elif "indices" in primitive:
        corners = document.accessor(primitive["indices"])[:, 0].astype(np.int64)
    else:
        corners = np.arange(count)
    if len(corners) and (corners.max() >= count or corners.min() < 0):
        raise MeshFileError(
            f"{document.path.name} is damaged: triangles refer to vertices that are not there"
        )
    if mode == _TRIANGLES:
        return corners[: len(corners) // 3 * 3].reshape(-1, 3)
    if len(corners) < 3:
        return np.zeros((0, 3), dtype=np.int64)
    first, second, third = corners[:-2], corners[1:-1], corners[2:]
    if mode == _FAN:
        return np.column_stack([np.full(len(third), corners[0]), second, third])
    odd = np.arange(len(third)) % 2 == 1
    return np.column_stack([first, np.where(odd, third, second), np.where(odd, second, third)])
