# SPDX-License-Identifier: GPL-3.0-or-later
"""FBX and Collada through Assimp, an optional library."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .color_space import srgb_to_linear
from .file_names import find_beside
from .gltf_transforms import apply_linear, cofactors, unit_rows
from .image_files import read_texture
from .optional import optional_module
from .scene import SourceScene
from .surface import Image, Looks, Surface

_SLOTS = {"baseColorTexture": "DIFFUSE", "normalTexture": "NORMALS", "emissiveTexture": "EMISSIVE"}


def read_with_assimp(path: Path) -> SourceScene:
    """Read a file that Assimp knows. Raises MeshFileError where Assimp is not installed."""
    assimp = optional_module("assimp_py", f"reading {path.suffix} files")
    with path.open("rb"):  # Assimp does not say why it cannot open a file
        pass
    loaded = assimp.import_file(
        str(path),
        assimp.Process_Triangulate | assimp.Process_JoinIdenticalVertices | assimp.Process_GlobalScale,
    )
    looks, notes = _looks(loaded.materials, path.parent, assimp)
    surfaces = [
        _surface(loaded.meshes[index], node.name, matrix)
        for node, matrix in _placed_nodes(loaded.root_node)
        for index in node.mesh_indices
    ]
    notes += ("of this format, skeletons, animations, cameras and lights are not read",)
    return SourceScene(tuple(surface for surface in surfaces if surface is not None), looks, notes)


def _placed_nodes(root: Any) -> Iterator[tuple[Any, NDArray[np.float64]]]:
    """The nodes with their world matrices [4, 4], depth first."""
    stack = [(root, np.eye(4))]
    while stack:
        node, parent = stack.pop()
        matrix = parent @ np.array(node.transformation, dtype=np.float64)
        yield node, matrix
        stack += [(child, matrix) for child in reversed(node.children or ())]


def _surface(mesh: Any, name: str, matrix: NDArray[np.float64]) -> Surface | None:
    """A mesh in the world; None if it is made of points or lines."""
    if not mesh.num_faces or mesh.num_indices != 3 * mesh.num_faces:
        return None
    linear = matrix[:3, :3]
    triangles = np.asarray(mesh.indices, dtype=np.int64).reshape(-1, 3)
    mirrored = bool(np.linalg.det(linear) < 0)
    attributes: dict[str, NDArray[np.float32]] = {}
    if mesh.normals is not None:
        normals = np.asarray(mesh.normals, dtype=np.float64).reshape(-1, 3)
        attributes["NORMAL"] = unit_rows(apply_linear(cofactors(linear), normals) * (-1 if mirrored else 1))
    for number, (values, width) in enumerate(
        zip(mesh.texcoords or (), mesh.num_uv_components or (), strict=False)
    ):
        uv = np.asarray(values, dtype=np.float32).reshape(mesh.num_vertices, width)
        attributes[f"TEXCOORD_{number}"] = np.column_stack([uv[:, 0], 1 - uv[:, 1]])
    for number, values in enumerate(mesh.colors or ()):
        colors = np.clip(np.asarray(values, dtype=np.float64).reshape(mesh.num_vertices, -1), 0, 1)
        linear_colors = np.column_stack([srgb_to_linear(colors[:, :3]), colors[:, 3:]])
        attributes[f"COLOR_{number}"] = linear_colors.astype(np.float32)
    return Surface(
        name=name or mesh.name,
        positions=apply_linear(linear, np.asarray(mesh.vertices, dtype=np.float64).reshape(-1, 3))
        + matrix[:3, 3],
        triangles=np.ascontiguousarray(triangles[:, ::-1] if mirrored else triangles, dtype=np.int32),
        attributes=attributes,
        material=int(mesh.material_index),
    )


def _looks(materials: list[dict[str, Any]], folder: Path, assimp: Any) -> tuple[Looks, tuple[str, ...]]:
    images: dict[str, tuple[int, Image]] = {}
    notes: list[str] = []

    def slot(textures: dict[int, list[str]], kind: str) -> dict[str, int] | None:
        names = textures.get(getattr(assimp, f"TextureType_{kind}"), [])
        if not names:
            return None
        name = names[0]
        if name not in images:
            found = find_beside(folder, name)
            try:
                if found is None:
                    raise FileNotFoundError(name)
                images[name] = len(images), read_texture(found)
            except OSError:
                notes.append(f"the texture {name!r} cannot be read")
                return None
        return {"index": images[name][0]}

    found = [
        _material(entry, {key: slot(entry.get("TEXTURES", {}), kind) for key, kind in _SLOTS.items()})
        for entry in materials
    ]
    textures = tuple({"source": index} for index in range(len(images)))
    looks = Looks(
        materials=tuple(found), textures=textures, images=tuple(image for _, image in images.values())
    )
    return looks, tuple(dict.fromkeys(notes))


def _material(entry: dict[str, Any], slots: dict[str, dict[str, int] | None]) -> dict[str, Any]:
    base = slots["baseColorTexture"]
    diffuse = [float(value) for value in entry.get("COLOR_DIFFUSE", (1.0, 1.0, 1.0))[:3]]
    alpha = float(entry.get("OPACITY", 1.0))
    shading: dict[str, Any] = {
        "baseColorFactor": [
            *np.clip([1.0] * 3 if base else diffuse, 0, 1).tolist(),
            min(max(alpha, 0.0), 1.0),
        ],
        "metallicFactor": 0.0,
        "roughnessFactor": 0.8,
    }
    if base:
        shading["baseColorTexture"] = base
    material: dict[str, Any] = {"name": str(entry.get("NAME", "")), "pbrMetallicRoughness": shading}
    material |= {key: value for key, value in slots.items() if value and key != "baseColorTexture"}
    emissive = [float(value) for value in entry.get("COLOR_EMISSIVE", (0.0, 0.0, 0.0))[:3]]
    if slots["emissiveTexture"] or max(emissive) > 0:
        material["emissiveFactor"] = np.clip(emissive if max(emissive) > 0 else [1.0] * 3, 0, 1).tolist()
    return material | ({"alphaMode": "BLEND"} if alpha < 1 else {})
