# SPDX-License-Identifier: GPL-3.0-or-later
"""What a glTF primitive holds, in the space of its mesh: plain, compressed, morphed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MeshFileError
from .gltf_document import GltfDocument
from .gltf_draco import decode_primitive, is_compressed
from .gltf_transforms import unit_rows

POINTS, _TRIANGLES, _STRIP, _FAN = 0, 4, 5, 6
MORPHED = ("POSITION", "NORMAL", "TANGENT")
"""What morph targets can add to that we carry over."""
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
    attributes: Mapping[str, NDArray]
    decoded: NDArray[np.int64] | None = None


def read_vertices(document: GltfDocument, primitive: dict[str, Any]) -> Vertices:
    """The vertices of a primitive, without its morph targets. Raises MeshFileError on damage."""
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
    return Vertices(positions, attributes, decoded)


def read_targets(
    document: GltfDocument, primitive: dict[str, Any], count: int
) -> tuple[dict[str, NDArray[np.float32]], ...]:
    """The morph targets of a primitive with `count` vertices: what each adds, semantic -> float32 [V, 3]."""
    targets = tuple(
        {semantic: document.accessor(index).astype(np.float32) for semantic, index in target.items()}
        for target in primitive.get("targets", ())
    )
    for target in targets:
        if any(values.shape != (count, 3) for s, values in target.items() if s in MORPHED):
            raise MeshFileError(f"{document.path.name} is damaged: a morph target does not fit its vertices")
    return targets


def morphed(
    vertices: Vertices, targets: Sequence[Mapping[str, NDArray[np.float32]]], weights: Sequence[float]
) -> Vertices:
    """The vertices with morph targets at `weights` (glTF 3.7.2.2); normals follow."""
    positions, attributes = vertices.positions, dict(vertices.attributes)
    for weight, target in zip(weights, targets, strict=False):
        if not weight:
            continue
        if "NORMAL" in target and "NORMAL" in attributes:
            attributes["NORMAL"] = unit_rows(attributes["NORMAL"] + float(weight) * target["NORMAL"])
        if "POSITION" in target:
            positions = positions + float(weight) * target["POSITION"].astype(np.float64)
    return replace(vertices, positions=positions, attributes=attributes)


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
