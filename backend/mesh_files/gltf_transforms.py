# SPDX-License-Identifier: GPL-3.0-or-later
"""Where glTF's nodes, instances and skins put vertices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MeshFileError
from .gltf_document import GltfDocument

INSTANCING = "EXT_mesh_gpu_instancing"


def world_matrices(document: GltfDocument) -> dict[int, NDArray[np.float64]]:
    """World matrix of each node of the default scene, float64 [4, 4]; depth first in file order."""
    nodes, scenes = document.items("nodes"), document.items("scenes")
    if scenes:
        roots = scenes[document.tree.get("scene", 0)].get("nodes", [])
    else:
        children = {child for node in nodes for child in node.get("children", [])}
        roots = [index for index in range(len(nodes)) if index not in children]
    worlds: dict[int, NDArray[np.float64]] = {}
    stack = [(index, np.eye(4)) for index in reversed(roots)]
    while stack:
        index, parent = stack.pop()
        if index in worlds:
            raise MeshFileError(f"{document.path.name} is damaged: node {index} has several parents")
        worlds[index] = parent @ _local_matrix(nodes[index])
        stack += [(child, worlds[index]) for child in reversed(nodes[index].get("children", []))]
    return worlds


def is_unit_rotation(node: Mapping[str, Any]) -> bool:
    """Whether a node's quaternion has the length 1 that glTF asks for."""
    return bool(abs(np.linalg.norm(np.array(node.get("rotation", (0, 0, 0, 1)), float)) - 1) < 1e-3)


def _local_matrix(node: Mapping[str, Any]) -> NDArray[np.float64]:
    if "matrix" in node:
        return np.array(node["matrix"], dtype=np.float64).reshape(4, 4).T
    rotation = np.array([node.get("rotation", (0, 0, 0, 1))], dtype=np.float64)
    scale = np.array([node.get("scale", (1, 1, 1))], dtype=np.float64)
    translation = np.array([node.get("translation", (0, 0, 0))], dtype=np.float64)
    return _matrices(translation, rotation, scale)[0]


def _matrices(
    translation: NDArray[np.float64], rotation: NDArray[np.float64], scale: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Matrices [n, 4, 4] of translations [n, 3], quaternions xyzw [n, 4] of any length, scales [n, 3]."""
    length = np.linalg.norm(rotation, axis=1, keepdims=True)
    unit = np.divide(rotation, length, out=np.tile([0.0, 0, 0, 1], (len(rotation), 1)), where=length > 0)
    x, y, z, w = unit.T
    turned = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    ).transpose(2, 0, 1)
    matrices = np.tile(np.eye(4), (len(unit), 1, 1))
    matrices[:, :3, :3] = turned * scale[:, None, :]
    matrices[:, :3, 3] = translation
    return matrices


def instance_matrices(document: GltfDocument, node: Mapping[str, Any]) -> NDArray[np.float64]:
    """Matrices [n, 4, 4] of a node's instances; one identity without EXT_mesh_gpu_instancing."""
    instancing = node.get("extensions", {}).get(INSTANCING)
    if instancing is None:
        return np.eye(4)[None]
    found = {
        kind: document.accessor(index).astype(np.float64)
        for kind, index in instancing.get("attributes", {}).items()
        if kind in ("TRANSLATION", "ROTATION", "SCALE")
    }
    count = max((len(rows) for rows in found.values()), default=1)
    rest = {"TRANSLATION": (0.0, 0.0, 0.0), "ROTATION": (0.0, 0.0, 0.0, 1.0), "SCALE": (1.0, 1.0, 1.0)}
    rows = {kind: found.get(kind, np.tile(value, (count, 1))) for kind, value in rest.items()}
    return _matrices(rows["TRANSLATION"], rows["ROTATION"], rows["SCALE"])


def skin_matrices(
    document: GltfDocument,
    skin_index: int,
    attributes: Mapping[str, NDArray],
    worlds: Mapping[int, NDArray[np.float64]],
) -> NDArray[np.float64]:
    """Per-vertex matrices of a skin with the nodes at `worlds`, float64 [V, 4, 4] (glTF 3.7.3.2)."""
    skin = document.items("skins")[skin_index]
    joints = np.stack([worlds[joint] for joint in skin["joints"]])
    if "inverseBindMatrices" in skin:
        inverse = document.accessor(skin["inverseBindMatrices"]).reshape(-1, 4, 4)
        joints = joints @ inverse.transpose(0, 2, 1)[: len(joints)].astype(np.float64)
    sets = sum(f"JOINTS_{number}" in attributes for number in range(8))
    indices = np.concatenate([attributes[f"JOINTS_{number}"] for number in range(sets)], axis=1)
    weights = np.concatenate([attributes[f"WEIGHTS_{number}"] for number in range(sets)], axis=1)
    total = weights.sum(axis=1, keepdims=True, dtype=np.float64)
    weights = np.divide(weights, total, out=np.zeros(weights.shape), where=total > 0)
    matrices = np.zeros((len(weights), 4, 4))
    for column in range(weights.shape[1]):
        matrices += weights[:, column, None, None] * joints[indices[:, column].astype(np.int64)]
    matrices[total[:, 0] <= 0] = np.eye(4)
    return matrices


def apply_linear(linear: NDArray[np.float64], rows: NDArray) -> NDArray[np.float64]:
    """Rows [V, 3] under one matrix [3, 3] or one each [V, 3, 3]."""
    if linear.ndim == 2:
        return rows @ linear.T
    return np.einsum("vij,vj->vi", linear, rows)


def cofactors(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cofactor matrices [..., 3, 3]; transforms normals like det(M) * inverse(M).T."""
    rows = [np.cross(linear[..., (i + 1) % 3, :], linear[..., (i + 2) % 3, :]) for i in range(3)]
    return np.stack(rows, axis=-2)


def unit_rows(rows: NDArray) -> NDArray[np.float32]:
    """Rows [V, 3] at length 1; zeros stay zeros."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, length, out=np.zeros(rows.shape), where=length > 0).astype(np.float32)
