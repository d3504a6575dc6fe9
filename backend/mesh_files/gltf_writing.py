# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts to a GLB file: one named node per part, with the looks that the source file had."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MeshFileError
from .atomic import atomic_writer
from .gltf_document import CHUNK_BIN, CHUNK_JSON, GLB_MAGIC
from .palette import part_materials
from .scene import Image, Looks, SourceScene

_FLOAT, _UINT16, _UINT32 = 5126, 5123, 5125
_VERTEX_DATA, _INDEX_DATA = 34962, 34963
_LARGEST_GLB = 2**32 - 1

_WITHOUT_COUNTERPART = {
    # What these add to nodes and primitives is not carried over, so they are not declared either.
    "KHR_draco_mesh_compression",
    "EXT_meshopt_compression",
    "KHR_meshopt_compression",
    "KHR_mesh_quantization",
    "KHR_lights_punctual",
    "KHR_materials_variants",
    "KHR_animation_pointer",
}


@dataclass(frozen=True)
class _Piece:
    """The triangles of one part that share a material and a set of attributes: a glTF primitive."""

    positions: NDArray[np.float32]
    triangles: NDArray[np.int64]
    attributes: Mapping[str, NDArray[np.float32]]
    material: int | None


def write_parts(
    path: Path, scene: SourceScene, labels: NDArray[np.integer], *, part_colors: bool | None = None
) -> None:
    """Write a scene, split by face labels, as a GLB file; complete or not at all.

    labels: int [F] in the scene's face order, 0..P-1. Part p becomes the node `part_<p>`, whose mesh has
        one primitive per source material; materials, textures, UVs, normals and vertex colours are kept
    part_colors: True gives each part one distinct colour instead; None does so only if the scene has
        neither materials nor vertex colours

    Raises MeshFileError if the file cannot be written.
    """
    labels = np.asarray(labels)
    if labels.shape != (scene.face_offsets[-1],):
        raise ValueError(f"{labels.shape} labels for {scene.face_offsets[-1]} faces")
    part_count = int(labels.max()) + 1
    if part_colors is None:
        part_colors = not scene.looks.materials and not any(
            "COLOR_0" in surface.attributes for surface in scene.surfaces
        )
    looks = Looks(materials=part_materials(part_count)) if part_colors else scene.looks
    builder = _GlbBuilder(looks)
    for label, pieces in enumerate(_pieces_of_parts(scene, labels, part_count)):
        if part_colors:
            pieces = [_recolored(piece, label) for piece in pieces]
        builder.add_part(part_name(label, part_count), pieces)
    builder.write(path)


def write_labels(path: Path, labels: NDArray[np.integer]) -> None:
    """Write face labels as a .npy file of int32 [F]; complete or not at all."""
    with atomic_writer(path) as file:
        np.save(file, np.asarray(labels, dtype=np.int32), allow_pickle=False)


def part_name(label: int, part_count: int) -> str:
    """`part_03`: with as many digits as the largest of `part_count` labels needs, at least two."""
    return f"part_{label:0{max(2, len(str(part_count - 1)))}d}"


def _pieces_of_parts(
    scene: SourceScene, labels: NDArray[np.integer], part_count: int
) -> Iterator[list[_Piece]]:
    """For each part its pieces, those of one material and one set of attributes joined."""
    offsets = scene.face_offsets
    orders, bounds = [], []
    for index in range(len(scene.surfaces)):
        own = labels[offsets[index] : offsets[index + 1]]
        # A stable sort keeps the source's face order within each part.
        order = np.argsort(own, kind="stable")
        orders.append(order)
        bounds.append(np.searchsorted(own[order], np.arange(part_count + 1)))
    for label in range(part_count):
        groups: dict[tuple, list[_Piece]] = {}
        for surface, order, bound in zip(scene.surfaces, orders, bounds, strict=True):
            chosen = order[bound[label] : bound[label + 1]]
            if len(chosen) == 0:
                continue
            used, triangles = np.unique(surface.triangles[chosen], return_inverse=True)
            piece = _Piece(
                surface.positions[used].astype(np.float32),
                triangles.reshape(-1, 3),
                {name: values[used] for name, values in sorted(surface.attributes.items())},
                surface.material,
            )
            widths = tuple((name, values.shape[1]) for name, values in piece.attributes.items())
            groups.setdefault((surface.material, widths), []).append(piece)
        yield [_joined(group) for group in groups.values()]


def _joined(pieces: list[_Piece]) -> _Piece:
    if len(pieces) == 1:
        return pieces[0]
    starts = np.cumsum([0] + [len(piece.positions) for piece in pieces[:-1]])
    return _Piece(
        np.concatenate([piece.positions for piece in pieces]),
        np.concatenate([piece.triangles + start for piece, start in zip(pieces, starts, strict=True)]),
        {name: np.concatenate([piece.attributes[name] for piece in pieces]) for name in pieces[0].attributes},
        pieces[0].material,
    )


def _recolored(piece: _Piece, label: int) -> _Piece:
    """The piece with the colour of its part alone: vertex colours would tint it."""
    kept = {name: values for name, values in piece.attributes.items() if not name.startswith("COLOR_")}
    return replace(piece, attributes=kept, material=label)


class _GlbBuilder:
    """Collects the JSON tree and the binary chunk of a GLB file."""

    def __init__(self, looks: Looks) -> None:
        self._blobs: list[bytes] = []
        self._length = 0
        self._views: list[dict[str, Any]] = []
        self._accessors: list[dict[str, Any]] = []
        self._meshes: list[dict[str, Any]] = []
        self._nodes: list[dict[str, Any]] = []
        self._looks = looks
        self._images = [self._image(image) for image in looks.images]

    def add_part(self, name: str, pieces: list[_Piece]) -> None:
        """Append a node `name`; a part without faces gets an empty node, so that numbers stay aligned."""
        node: dict[str, Any] = {"name": name}
        if pieces:
            node["mesh"] = len(self._meshes)
            self._meshes.append({"name": name, "primitives": [self._primitive(piece) for piece in pieces]})
        self._nodes.append(node)

    def write(self, path: Path) -> None:
        """Write the file; MeshFileError if it would pass GLB's 4 GiB or cannot be written."""
        text = json.dumps(self._tree(), separators=(",", ":"), ensure_ascii=False).encode()
        text += b" " * (-len(text) % 4)
        total = 12 + 8 + len(text) + 8 + self._length
        if total > _LARGEST_GLB:
            raise MeshFileError(f"{path.name} would be {total / 2**30:.1f} GiB; a GLB file holds less than 4")
        with atomic_writer(path) as file:
            file.write(struct.pack("<III", GLB_MAGIC, 2, total))
            file.write(struct.pack("<II", len(text), CHUNK_JSON) + text)
            file.write(struct.pack("<II", self._length, CHUNK_BIN))
            for blob in self._blobs:
                file.write(blob)

    def _tree(self) -> dict[str, Any]:
        looks = self._looks
        used = [name for name in looks.extensions_used if name not in _WITHOUT_COUNTERPART]
        required = [name for name in looks.extensions_required if name not in _WITHOUT_COUNTERPART]
        tree: dict[str, Any] = {
            "asset": {"version": "2.0", "generator": "PartSAM for Blender"},
            "extensionsUsed": used,
            "extensionsRequired": required,
            "scene": 0,
            "scenes": [{"nodes": list(range(len(self._nodes)))}],
            "nodes": self._nodes,
            "meshes": self._meshes,
            "materials": list(looks.materials),
            "textures": list(looks.textures),
            "samplers": list(looks.samplers),
            "images": self._images,
            "accessors": self._accessors,
            "bufferViews": self._views,
            "buffers": [{"byteLength": self._length}],
        }
        return {key: value for key, value in tree.items() if value not in ([], {})}

    def _primitive(self, piece: _Piece) -> dict[str, Any]:
        vertex_count = len(piece.positions)
        attributes = {"POSITION": self._vertex_accessor(piece.positions, with_bounds=True)}
        for name, values in piece.attributes.items():
            attributes[name] = self._vertex_accessor(values)
        short = vertex_count < 2**16 - 1
        indices = piece.triangles.astype("<u2" if short else "<u4").reshape(-1)
        primitive: dict[str, Any] = {
            "attributes": attributes,
            "indices": self._accessor(
                self._view(indices.tobytes(), _INDEX_DATA), _UINT16 if short else _UINT32, len(indices), 1
            ),
            "mode": 4,
        }
        if piece.material is not None:
            primitive["material"] = piece.material
        return primitive

    def _vertex_accessor(self, values: NDArray[np.float32], *, with_bounds: bool = False) -> int:
        finite = np.nan_to_num(values.astype("<f4", copy=False))
        index = self._accessor(
            self._view(finite.tobytes(), _VERTEX_DATA), _FLOAT, len(finite), finite.shape[1]
        )
        if with_bounds:
            self._accessors[index] |= {"min": finite.min(axis=0).tolist(), "max": finite.max(axis=0).tolist()}
        return index

    def _accessor(self, view: int, component: int, count: int, width: int) -> int:
        kind = "SCALAR" if width == 1 else f"VEC{width}"
        self._accessors.append({"bufferView": view, "componentType": component, "count": count, "type": kind})
        return len(self._accessors) - 1

    def _view(self, data: bytes, target: int | None = None) -> int:
        view = {"buffer": 0, "byteOffset": self._length, "byteLength": len(data)}
        self._views.append(view if target is None else view | {"target": target})
        padded = data + b"\0" * (-len(data) % 4)
        self._blobs.append(padded)
        self._length += len(padded)
        return len(self._views) - 1

    def _image(self, image: Image) -> dict[str, Any]:
        entry: dict[str, Any] = {"name": image.name} if image.name else {}
        if image.data is None:
            return entry | {"uri": image.uri}
        return entry | {"mimeType": image.mime_type, "bufferView": self._view(image.data)}
