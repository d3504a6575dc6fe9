# SPDX-License-Identifier: GPL-3.0-or-later
"""glTF 2.0 files (.glb, .gltf) to surfaces in world space."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MeshFileError
from .gltf_document import GltfDocument, read_document, read_uri
from .gltf_graph import GraphReader
from .gltf_meshopt import without_meshopt
from .gltf_notes import notes_of
from .gltf_primitives import (
    POINTS,
    TRIANGLE_MODES,
    Vertices,
    morphed,
    read_targets,
    read_triangles,
    read_vertices,
)
from .gltf_transforms import (
    apply_linear,
    cofactors,
    instance_matrices,
    skin_matrices,
    unit_rows,
    world_matrices,
)
from .scene import PointCloud, SourceScene
from .scene_graph import Rest
from .surface import Image, Looks, Surface

_MOST_TRIANGLES = 500_000_000
"""Instances multiply what a file holds: a small damaged one must not fill the memory."""


def read_gltf(path: Path) -> SourceScene:
    """Read all triangles of the default scene of a .glb or .gltf file, in the order of its nodes."""
    document = without_meshopt(read_document(path))
    worlds = world_matrices(document)
    reader = GraphReader(document, worlds)
    graph, graph_notes = reader.read()
    surfaces = tuple(_surfaces(document, reader, keep_rest=graph is not None))
    looks, notes = _looks(document)
    return SourceScene(
        surfaces,
        looks,
        (*notes, *graph_notes, *notes_of(document)),
        {key: value for key, value in document.tree["asset"].items() if key in ("copyright", "extras")},
        None if surfaces else _cloud(document, worlds),
        graph,
    )


def _placed_nodes(
    document: GltfDocument, worlds: Mapping[int, NDArray[np.float64]]
) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """The nodes with meshes of the default scene and their world matrices, depth first in file order.

    A node that EXT_mesh_gpu_instancing multiplies comes once for each instance.
    """
    for index, matrix in worlds.items():
        node = document.items("nodes")[index]
        if "mesh" in node:
            for instance in instance_matrices(document, node):
                yield index, matrix @ instance


def _surfaces(document: GltfDocument, reader: GraphReader, *, keep_rest: bool) -> Iterator[Surface]:
    total = 0
    for index, matrix in _placed_nodes(document, reader.worlds):
        for surface in _node_surfaces(document, reader, index, matrix, keep_rest=keep_rest):
            total += len(surface.triangles)
            if total > _MOST_TRIANGLES:
                raise MeshFileError(f"{document.path.name} places more than {_MOST_TRIANGLES:,} triangles")
            yield surface


def _node_surfaces(
    document: GltfDocument,
    reader: GraphReader,
    index: int,
    matrix: NDArray[np.float64],
    *,
    keep_rest: bool,
) -> Iterator[Surface]:
    node = document.items("nodes")[index]
    mesh = document.items("meshes")[node["mesh"]]
    weights = tuple(node.get("weights", mesh.get("weights", ())))
    extras = {**_dictionary(mesh.get("extras")), **_dictionary(node.get("extras"))}
    extras.pop("targetNames", None)  # of morph targets: they stay with the mesh
    for primitive in mesh["primitives"]:
        if primitive.get("mode", 4) not in TRIANGLE_MODES or "POSITION" not in primitive["attributes"]:
            continue
        stored = read_vertices(document, primitive)
        if not len(stored.positions):
            continue
        targets = read_targets(document, primitive, len(stored.positions))
        vertices = morphed(stored, targets, weights)
        skinned = "skin" in node and "JOINTS_0" in stored.attributes
        matrices = (
            skin_matrices(document, node["skin"], stored.attributes, reader.worlds) if skinned else matrix
        )
        triangles = read_triangles(document, primitive, stored)
        rest = None
        if keep_rest and reader.is_kept(index) and (skinned or targets or reader.moves(index)):
            rest = Rest(
                index, matrix, node["skin"] if skinned else None, stored.positions,
                np.ascontiguousarray(triangles, dtype=np.int32), _rest_attributes(stored, skinned=skinned),
                targets, weights, _target_names(mesh),
            )  # fmt: skip
        surface = _placed(vertices, triangles, matrices)
        name = node.get("name") or mesh.get("name") or ""
        material = _material(document, primitive)
        yield replace(surface, name=str(name), material=material, extras=extras, rest=rest)


def _rest_attributes(stored: Vertices, *, skinned: bool) -> dict[str, NDArray]:
    """Attributes as they are written: float32, and the numbers of joints uint16."""
    return {
        semantic: values.astype(np.uint16 if semantic.startswith("JOINTS_") else np.float32)
        for semantic, values in stored.attributes.items()
        if skinned or not semantic.startswith(("JOINTS_", "WEIGHTS_"))
    }


def _target_names(mesh: dict[str, Any]) -> tuple[str, ...]:
    names = _dictionary(mesh.get("extras")).get("targetNames")
    return tuple(map(str, names)) if isinstance(names, list) else ()


def _dictionary(extras: Any) -> dict[str, Any]:
    return extras if isinstance(extras, dict) else {}


def _placed(vertices: Vertices, triangles: NDArray[np.int64], matrices: NDArray[np.float64]) -> Surface:
    """A primitive in world space. `matrices`: [4, 4], or [V, 4, 4] where a skin moves each vertex."""
    linear = matrices[..., :3, :3]
    mirrored = bool(np.median(np.linalg.det(linear)) < 0)
    if mirrored:
        triangles = triangles[:, ::-1]
    return Surface(
        name="",
        positions=apply_linear(linear, vertices.positions) + matrices[..., :3, 3],
        triangles=np.ascontiguousarray(triangles, dtype=np.int32),
        attributes={
            semantic: _placed_attribute(semantic, values.astype(np.float32), linear, mirrored=mirrored)
            for semantic, values in vertices.attributes.items()
            if not semantic.startswith(("JOINTS_", "WEIGHTS_"))
        },
    )


def _material(document: GltfDocument, primitive: dict[str, Any]) -> int | None:
    number = primitive.get("material")
    if number is not None and number not in range(len(document.items("materials"))):
        raise MeshFileError(f"{document.path.name} is damaged: its materials do not fit together")
    return number


def _placed_attribute(
    semantic: str, values: NDArray[np.float32], linear: NDArray[np.float64], *, mirrored: bool
) -> NDArray[np.float32]:
    if linear.ndim == 2 and (linear == np.eye(3)).all():
        return values
    if semantic == "NORMAL":
        # The cofactor matrix is the inverse transpose up to scale, and exists for flat matrices, too.
        return unit_rows(apply_linear(cofactors(linear), values) * (-1 if mirrored else 1))
    if semantic == "TANGENT":
        tangent = unit_rows(apply_linear(linear, values[:, :3]))
        return np.column_stack([tangent, values[:, 3:] * np.float32(-1 if mirrored else 1)])
    return values


def _cloud(document: GltfDocument, worlds: Mapping[int, NDArray[np.float64]]) -> PointCloud | None:
    """The points of a file that has no triangles."""
    positions, normals, colors = [], [], []
    for index, matrix in _placed_nodes(document, worlds):
        mesh = document.items("meshes")[document.items("nodes")[index]["mesh"]]
        for primitive in mesh["primitives"]:
            if primitive.get("mode", 4) != POINTS or "POSITION" not in primitive["attributes"]:
                continue
            vertices = read_vertices(document, primitive)
            positions.append(apply_linear(matrix[:3, :3], vertices.positions) + matrix[:3, 3])
            normals.append(vertices.attributes.get("NORMAL"))
            colors.append(vertices.attributes.get("COLOR_0"))
    if not positions:
        return None
    return PointCloud.of_pieces(positions, normals, colors)


def _looks(document: GltfDocument) -> tuple[Looks, tuple[str, ...]]:
    images, missing = [], []
    for image in document.items("images"):
        data, uri = _image_data(document, image)
        if data is None:
            missing.append(uri)
        images.append(Image(_mime_type(image, data), data, image.get("name", ""), uri))
    notes = tuple(f"the texture {_shortened(uri)!r} cannot be read" for uri in missing)
    looks = Looks(
        materials=tuple(document.items("materials")),
        textures=tuple(document.items("textures")),
        samplers=tuple(document.items("samplers")),
        images=tuple(images),
        extensions_used=_strings(document.tree.get("extensionsUsed")),
        extensions_required=_strings(document.tree.get("extensionsRequired")),
    )
    return looks, notes


def _strings(items: Any) -> tuple[str, ...]:
    return tuple(item for item in items or () if isinstance(item, str))


def _shortened(uri: str) -> str:
    """A URI for a message of one line; one with embedded data is long."""
    return uri if len(uri) <= 200 else f"{uri[:80]}...{uri[-80:]}"


def _image_data(document: GltfDocument, image: dict[str, Any]) -> tuple[bytes | None, str]:
    """The bytes of an image (None if its file cannot be read) and the URI to name it by."""
    if "bufferView" in image:
        return bytes(document.view(image["bufferView"])), ""
    uri = image["uri"]
    try:
        return read_uri(uri, document.path.parent), "" if uri.startswith("data:") else uri
    except (OSError, ValueError):  # ValueError: a zero byte in the name
        return None, uri


def _mime_type(image: dict[str, Any], data: bytes | None) -> str:
    if "mimeType" in image:
        return image["mimeType"]
    if data is not None and data[:3] == b"\xff\xd8\xff":
        return "image/jpeg"
    if data is not None and data[8:12] == b"WEBP":
        return "image/webp"
    if data is not None and data[1:7] == b"KTX 20":
        return "image/ktx2"
    return "image/png"
