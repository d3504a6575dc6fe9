# SPDX-License-Identifier: GPL-3.0-or-later
"""glTF 2.0 files (.glb, .gltf) to surfaces in world space."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MeshFileError
from .gltf_document import GltfDocument, read_document, read_uri
from .scene import Image, Looks, SourceScene, Surface

_TRIANGLES, _STRIP, _FAN = 4, 5, 6

_COMPRESSION = {"KHR_draco_mesh_compression", "EXT_meshopt_compression", "KHR_meshopt_compression"}
"""Extensions that replace vertex data; files that only *use* one carry the plain data, too."""

_INSTANCING = {"EXT_mesh_gpu_instancing"}


def read_gltf(path: Path) -> SourceScene:
    """Read all triangles of the default scene of a .glb or .gltf file, in the order of its nodes."""
    document = read_document(path)
    try:
        _refuse_unreadable(document)
        # Infinite coordinates are for `validate_mesh` to report, not for numpy to warn about.
        with np.errstate(invalid="ignore", over="ignore"):
            surfaces = tuple(
                surface
                for node, matrix in _placed_nodes(document)
                for surface in _node_surfaces(document, node, matrix)
            )
        looks, notes = _looks(document)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise MeshFileError(f"{path.name} is damaged: its glTF structure does not fit together") from error
    if document.items("skins") or document.items("animations"):
        notes += ("skeleton and animations are not written: the parts are in the rest pose",)
    return SourceScene(surfaces, looks, notes)


def _refuse_unreadable(document: GltfDocument) -> None:
    needed = _COMPRESSION.intersection(document.tree.get("extensionsRequired", []))
    needed |= _INSTANCING.intersection(document.tree.get("extensionsUsed", []))
    if needed:
        raise MeshFileError(
            f"{document.path.name} needs {', '.join(sorted(needed))}, which cannot be read; "
            "export it again without compression or instancing"
        )


def _placed_nodes(document: GltfDocument) -> Iterator[tuple[dict[str, Any], NDArray[np.float64]]]:
    """The nodes of the default scene with their world matrices, depth first in file order."""
    for index, matrix in _world_matrices(document).items():
        node = document.items("nodes")[index]
        if "mesh" in node:
            yield node, matrix


def _world_matrices(document: GltfDocument) -> dict[int, NDArray[np.float64]]:
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


def _local_matrix(node: dict[str, Any]) -> NDArray[np.float64]:
    if "matrix" in node:
        return np.array(node["matrix"], dtype=np.float64).reshape(4, 4).T
    x, y, z, w = np.array(node.get("rotation", (0, 0, 0, 1)), dtype=np.float64)
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * np.array(node.get("scale", (1, 1, 1)), dtype=np.float64)
    matrix[:3, 3] = node.get("translation", (0, 0, 0))
    return matrix


def _node_surfaces(
    document: GltfDocument, node: dict[str, Any], matrix: NDArray[np.float64]
) -> Iterator[Surface]:
    mesh = document.items("meshes")[node["mesh"]]
    for primitive in mesh["primitives"]:
        if primitive.get("mode", _TRIANGLES) not in (_TRIANGLES, _STRIP, _FAN):
            continue
        positions = document.accessor(primitive["attributes"]["POSITION"])
        matrices = matrix
        if "skin" in node and "JOINTS_0" in primitive["attributes"]:
            matrices = _skin_matrices(document, node["skin"], primitive)
        name = node.get("name") or mesh.get("name") or ""
        yield _placed_surface(document, primitive, positions, matrices, name=name)


def _placed_surface(
    document: GltfDocument,
    primitive: dict[str, Any],
    positions: NDArray,
    matrices: NDArray[np.float64],
    *,
    name: str,
) -> Surface:
    """One primitive in world space. `matrices`: [4, 4], or [V, 4, 4] where a skin moves each vertex."""
    triangles = _triangles(document, primitive, len(positions))
    linear = matrices[..., :3, :3]
    mirrored = bool(np.median(np.linalg.det(linear)) < 0)
    if mirrored:
        triangles = triangles[:, ::-1]
    attributes = {}
    for semantic, index in primitive["attributes"].items():
        if semantic == "POSITION" or semantic.startswith(("JOINTS_", "WEIGHTS_")):
            continue
        values = document.accessor(index).astype(np.float32)
        if len(values) != len(positions):
            raise MeshFileError(f"{document.path.name} is damaged: {semantic} does not fit its vertices")
        attributes[semantic] = _placed_attribute(semantic, values, linear, mirrored=mirrored)
    return Surface(
        name=name,
        positions=_apply(linear, positions.astype(np.float64)) + matrices[..., :3, 3],
        triangles=np.ascontiguousarray(triangles, dtype=np.int32),
        attributes=attributes,
        material=primitive.get("material"),
    )


def _placed_attribute(
    semantic: str, values: NDArray[np.float32], linear: NDArray[np.float64], *, mirrored: bool
) -> NDArray[np.float32]:
    if linear.ndim == 2 and (linear == np.eye(3)).all():
        return values
    if semantic == "NORMAL":
        # The cofactor matrix is the inverse transpose up to scale, and exists for flat matrices, too.
        return _unit_rows(_apply(_cofactors(linear), values) * (-1 if mirrored else 1))
    if semantic == "TANGENT":
        tangent = _unit_rows(_apply(linear, values[:, :3]))
        return np.column_stack([tangent, values[:, 3:] * np.float32(-1 if mirrored else 1)])
    return values


def _apply(linear: NDArray[np.float64], rows: NDArray) -> NDArray[np.float64]:
    """Rows [V, 3] under one matrix [3, 3] or one each [V, 3, 3]."""
    if linear.ndim == 2:
        return rows @ linear.T
    return np.einsum("vij,vj->vi", linear, rows)


def _cofactors(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cofactor matrices [..., 3, 3]; transforms normals like det(M) * inverse(M).T."""
    rows = [np.cross(linear[..., (i + 1) % 3, :], linear[..., (i + 2) % 3, :]) for i in range(3)]
    return np.stack(rows, axis=-2)


def _unit_rows(rows: NDArray) -> NDArray[np.float32]:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, length, out=np.zeros_like(rows), where=length > 0).astype(np.float32)


def _skin_matrices(document: GltfDocument, skin_index: int, primitive: dict[str, Any]) -> NDArray[np.float64]:
    """Per-vertex matrices of a skin in the pose of the file's nodes, float64 [V, 4, 4] (glTF 3.7.3.2)."""
    skin, worlds = document.items("skins")[skin_index], _world_matrices(document)
    joints = np.stack([worlds[joint] for joint in skin["joints"]])
    if "inverseBindMatrices" in skin:
        inverse = document.accessor(skin["inverseBindMatrices"]).reshape(-1, 4, 4)
        joints = joints @ inverse.transpose(0, 2, 1)[: len(joints)].astype(np.float64)
    indices = document.accessor(primitive["attributes"]["JOINTS_0"])
    weights = document.accessor(primitive["attributes"]["WEIGHTS_0"]).astype(np.float64)
    total = weights.sum(axis=1, keepdims=True)
    weights = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
    matrices = np.einsum("vk,vkij->vij", weights, joints[indices])
    matrices[total[:, 0] <= 0] = np.eye(4)
    return matrices


def _triangles(document: GltfDocument, primitive: dict[str, Any], vertex_count: int) -> NDArray[np.int64]:
    """Corner indices [F, 3] of a primitive of mode triangles, strip or fan."""
    if "indices" in primitive:
        corners = document.accessor(primitive["indices"])[:, 0].astype(np.int64)
    else:
        corners = np.arange(vertex_count)
    if len(corners) and corners.max() >= vertex_count:
        raise MeshFileError(
            f"{document.path.name} is damaged: triangles refer to vertices that are not there"
        )
    mode = primitive.get("mode", _TRIANGLES)
    if mode == _TRIANGLES:
        return corners[: len(corners) // 3 * 3].reshape(-1, 3)
    if len(corners) < 3:
        return np.zeros((0, 3), dtype=np.int64)
    first, second, third = corners[:-2], corners[1:-1], corners[2:]
    if mode == _FAN:
        return np.column_stack([np.full(len(third), corners[0]), second, third])
    odd = np.arange(len(third)) % 2 == 1
    return np.column_stack([first, np.where(odd, third, second), np.where(odd, second, third)])


def _looks(document: GltfDocument) -> tuple[Looks, tuple[str, ...]]:
    images, missing = [], []
    for image in document.items("images"):
        data, uri = _image_data(document, image)
        if data is None:
            missing.append(uri)
        images.append(Image(_mime_type(image, data), data, image.get("name", ""), uri))
    notes = tuple(f"the texture {uri!r} cannot be read" for uri in missing)
    looks = Looks(
        materials=tuple(document.items("materials")),
        textures=tuple(document.items("textures")),
        samplers=tuple(document.items("samplers")),
        images=tuple(images),
        extensions_used=tuple(document.tree.get("extensionsUsed", [])),
        extensions_required=tuple(document.tree.get("extensionsRequired", [])),
    )
    return looks, notes


def _image_data(document: GltfDocument, image: dict[str, Any]) -> tuple[bytes | None, str]:
    """The bytes of an image (None if its file cannot be read) and the URI to name it by."""
    if "bufferView" in image:
        return bytes(document.view(image["bufferView"])), ""
    uri = image["uri"]
    try:
        return read_uri(uri, document.path.parent), "" if uri.startswith("data:") else uri
    except OSError:
        return None, uri[:80]


def _mime_type(image: dict[str, Any], data: bytes | None) -> str:
    if "mimeType" in image:
        return image["mimeType"]
    if data is not None and data[:3] == b"\xff\xd8\xff":
        return "image/jpeg"
    if data is not None and data[8:12] == b"WEBP":
        return "image/webp"
    return "image/png"
