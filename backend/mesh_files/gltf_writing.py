# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts to a GLB file: one named node per part, with the looks that the source file had."""

from __future__ import annotations

import json
import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MeshFileError
from .atomic import atomic_writer
from .gltf_document import CHUNK_BIN, CHUNK_JSON, GLB_MAGIC
from .palette import part_materials
from .scene import Image, Looks, SourceScene, Surface

_FLOAT, _UINT16, _UINT32 = 5126, 5123, 5125
_VERTEX_DATA, _INDEX_DATA = 34962, 34963
_LARGEST_GLB = 2**32 - 1

_FLOAT32_STEP = 2.0**-24
_UNIT_TOLERANCE = 1e-4
"""Normals whose length is this near to 1 stay bit for bit; the validator allows 5e-4."""
_TOLERANCE = 1e-6
"""Share of the scene's size by which storing positions as float32 may move them."""


@dataclass(frozen=True)
class _Piece:
    """The triangles of one part that share a material and a set of attributes: a glTF primitive."""

    positions: NDArray[np.float32]
    triangles: NDArray[np.int64]
    attributes: Mapping[str, NDArray[np.float32]]
    material: int | None


@dataclass(frozen=True)
class Groups:
    """What parts lie in: of_part, the group of each part; of_group, the group around each, None for none."""

    of_part: Sequence[int]
    of_group: Sequence[int | None]


def write_parts(
    path: Path,
    scene: SourceScene,
    labels: NDArray[np.integer],
    *,
    part_colors: bool | None = None,
    groups: Groups | None = None,
) -> None:
    """Write a scene, split by face labels, as a GLB file; complete or not at all.

    labels: int [F] in the scene's face order, 0..P-1. Part p becomes the p-th node, named by `part_names`,
        whose mesh has one primitive per source material; materials, textures, UVs, normals, vertex colours
        and the source's extras are kept. Where float32 would round positions far from the origin, the
        nodes carry a translation
    part_colors: True gives each part one distinct colour instead; None does so only if the scene has
        neither materials nor vertex colours
    groups: nodes to nest the parts' nodes in; they follow after those

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
    offset = _offset(scene)
    builder = _GlbBuilder(looks, scene.asset, offset)
    sources = main_sources(scene, labels, part_count)
    names = part_names(scene, sources)
    # Attributes may hold NaN, or numbers beyond float32; they are written as 0.
    with np.errstate(invalid="ignore", over="ignore"):
        for label, pieces in enumerate(_pieces_of_parts(scene, labels, part_count, offset)):
            if part_colors:
                pieces = [_recolored(piece, label) for piece in pieces]
            extras = dict(scene.surfaces[sources[label]].extras) if sources[label] >= 0 else {}
            builder.add_part(names[label], pieces, extras)
    if groups is not None:
        builder.nest(groups)
    builder.write(path)


def main_sources(scene: SourceScene, labels: NDArray[np.integer], part_count: int) -> NDArray[np.int64]:
    """The surface from which most faces of each part come, int64 [part_count]; -1 for parts without faces."""
    surface_of = np.repeat(np.arange(len(scene.surfaces)), np.diff(scene.face_offsets))
    pairs, counts = np.unique(
        np.asarray(labels, dtype=np.int64) * len(scene.surfaces) + surface_of, return_counts=True
    )
    order = np.lexsort([-pairs, counts])  # of equals the first surface comes last, and stays
    sources = np.full(part_count, -1, dtype=np.int64)
    sources[pairs[order] // len(scene.surfaces)] = pairs[order] % len(scene.surfaces)
    return sources


def part_names(scene: SourceScene, sources: NDArray[np.integer]) -> list[str]:
    """What each part is called, from the surface that it mostly comes from (-1: none), distinct.

    The only part of the object Body is `Body`; several are `Body.Part 1`, `Body.Part 2`; parts of objects
    without a name are `part_03`, numbered as in the labels.
    """
    origins = [scene.surfaces[source].name if source >= 0 else "" for source in sources]
    total, so_far = Counter(origins), Counter[str]()
    names: list[str] = []
    taken = set(origins)
    for label, origin in enumerate(origins):
        name = origin or part_name(label, len(origins))
        while origin and total[origin] > 1:
            so_far[origin] += 1
            name = f"{origin}.Part {so_far[origin]}"
            if name not in taken:
                break
        names.append(name)
    return names


def _offset(scene: SourceScene) -> NDArray[np.float64] | None:
    """float64 [3] from which positions are counted, so that float32 holds them; None where it does anyway."""
    low = np.min([surface.positions.min(axis=0) for surface in scene.surfaces], axis=0)
    high = np.max([surface.positions.max(axis=0) for surface in scene.surfaces], axis=0)
    farthest = max(np.abs(low).max(), np.abs(high).max())
    if not np.isfinite(farthest) or farthest * _FLOAT32_STEP <= _TOLERANCE * (high - low).max():
        return None
    # Readers hold the translation as float32, too: it must be one.
    return ((low + high) / 2).astype(np.float32).astype(np.float64)


def write_labels(path: Path, labels: NDArray[np.integer]) -> None:
    """Write face labels as a .npy file of int32 [F]; complete or not at all."""
    with atomic_writer(path) as file:
        np.save(file, np.asarray(labels, dtype=np.int32), allow_pickle=False)


def part_name(label: int, part_count: int) -> str:
    """`part_03`: with as many digits as the largest of `part_count` labels needs, at least two."""
    return f"part_{label:0{max(2, len(str(part_count - 1)))}d}"


def _pieces_of_parts(
    scene: SourceScene, labels: NDArray[np.integer], part_count: int, offset: NDArray[np.float64] | None
) -> Iterator[list[_Piece]]:
    """For each part its pieces, those of one material and one set of attributes joined."""
    offsets = scene.face_offsets
    of_part: list[list[tuple[Surface, NDArray[np.int64]]]] = [[] for _ in range(part_count)]
    for index, surface in enumerate(scene.surfaces):
        own = labels[offsets[index] : offsets[index + 1]]
        # A stable sort keeps the source's face order within each part.
        order = np.argsort(own, kind="stable")
        present, starts = np.unique(own[order], return_index=True)
        for label, chosen in zip(present.tolist(), np.split(order, starts[1:]), strict=True):
            of_part[label].append((surface, chosen))
    for pairs in of_part:
        groups: dict[tuple, list[_Piece]] = {}
        for surface, chosen in pairs:
            piece = _cut_out(surface, chosen, offset)
            widths = tuple((name, values.shape[1]) for name, values in piece.attributes.items())
            groups.setdefault((surface.material, widths), []).append(piece)
        yield [_joined(group) for group in groups.values()]


def _cut_out(surface: Surface, chosen: NDArray[np.int64], offset: NDArray[np.float64] | None) -> _Piece:
    """The chosen triangles of a surface with the vertices that they use."""
    used, triangles = np.unique(surface.triangles[chosen], return_inverse=True)
    positions = surface.positions[used] - (0.0 if offset is None else offset)
    return _Piece(
        positions.astype(np.float32),
        triangles.reshape(-1, 3),
        {name: values[used] for name, values in sorted(surface.attributes.items())},
        surface.material,
    )


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

    def __init__(
        self, looks: Looks, asset: Mapping[str, Any], translation: NDArray[np.float64] | None
    ) -> None:
        self._blobs: list[bytes] = []
        self._length = 0
        self._views: list[dict[str, Any]] = []
        self._accessors: list[dict[str, Any]] = []
        self._meshes: list[dict[str, Any]] = []
        self._nodes: list[dict[str, Any]] = []
        self._roots: list[int] | None = None
        self._looks = looks
        self._asset = asset
        self._translation = translation
        self._images = [self._image(image) for image in looks.images]

    def add_part(self, name: str, pieces: list[_Piece], extras: dict[str, Any]) -> None:
        """Append a node `name`; a part without faces gets an empty node, so that numbers stay aligned."""
        node: dict[str, Any] = {"name": name}
        if extras:
            node["extras"] = extras
        if pieces:
            if self._translation is not None:
                node["translation"] = self._translation.tolist()
            node["mesh"] = len(self._meshes)
            self._meshes.append({"name": name, "primitives": [self._primitive(piece) for piece in pieces]})
        self._nodes.append(node)

    def nest(self, groups: Groups) -> None:
        """Append the groups' nodes and put every node so far into its own."""
        parts = len(self._nodes)
        children: list[list[int]] = [[] for _ in groups.of_group]
        for node, group in enumerate(groups.of_part):
            children[group].append(node)
        for number, around in enumerate(groups.of_group):
            if around is not None:
                children[around].append(parts + number)
        for number, inside in enumerate(children):
            self._nodes.append({"name": f"group_{number:02d}", "children": inside})
        self._roots = [parts + number for number, around in enumerate(groups.of_group) if around is None]

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
        # What extensions add to nodes and primitives is not carried over: those are not declared either.
        written = set(_extensions([looks.materials, looks.textures, looks.samplers]))
        used = [name for name in looks.extensions_used if name in written]
        required = [name for name in looks.extensions_required if name in written]
        tree: dict[str, Any] = {
            "asset": {"version": "2.0", "generator": "PartSAM for Blender", **self._asset},
            "extensionsUsed": used,
            "extensionsRequired": required,
            "scene": 0,
            "scenes": [{"nodes": list(range(len(self._nodes))) if self._roots is None else self._roots}],
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
            attributes[name] = self._vertex_accessor(_unit(name, values, piece))
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


def _unit(semantic: str, values: NDArray[np.float32], piece: _Piece) -> NDArray[np.float32]:
    """Normals and tangents at length 1, as glTF asks for; other attributes as they are.

    Vertices without a normal get one of their faces, without a tangent any one.
    """
    if semantic not in ("NORMAL", "TANGENT"):
        return values
    rows = np.nan_to_num(values[:, :3].astype(np.float64), posinf=0, neginf=0)
    length = np.linalg.norm(rows, axis=1)
    if (np.abs(length - 1) < _UNIT_TOLERANCE).all():
        return values
    missing = length < 1e-12
    instead = np.tile([0.0, 0.0, 1.0], (len(rows), 1))
    if semantic == "NORMAL" and missing.any():
        corners = piece.positions.astype(np.float64)[piece.triangles]
        cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        size = np.linalg.norm(cross, axis=1, keepdims=True)
        instead[piece.triangles] = np.where(size > 0, cross / np.where(size > 0, size, 1), [0, 0, 1])[:, None]
    unit = np.where(missing[:, None], instead, rows / np.where(missing, 1, length)[:, None])
    signs = np.where(values[:, 3:] < 0, -1, 1) if semantic == "TANGENT" else values[:, 3:]
    return np.column_stack([unit, signs]).astype(np.float32)


def _extensions(tree: Any) -> Iterator[str]:
    """Names of the extensions anywhere in a JSON tree."""
    if isinstance(tree, Mapping):
        yield from tree.get("extensions", {})
        tree = tree.values()
    if isinstance(tree, Iterable) and not isinstance(tree, str):
        for item in tree:
            yield from _extensions(item)
