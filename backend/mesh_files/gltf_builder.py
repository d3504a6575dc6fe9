# SPDX-License-Identifier: GPL-3.0-or-later
"""Collects the JSON tree and the binary chunk of a GLB file, and writes it."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MeshFileError
from .atomic import atomic_writer
from .gltf_document import CHUNK_BIN, CHUNK_JSON, COMPONENTS, GLB_MAGIC
from .surface import Image, Looks

VERTEX_DATA, INDEX_DATA = 34962, 34963
_LARGEST_GLB = 2**32 - 1
_NUMBERS = {np.dtype(dtype): number for number, dtype in COMPONENTS.items()}
_KINDS = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}
_SECTIONS = (
    "nodes", "meshes", "skins", "animations", "cameras", "materials", "textures", "samplers", "images",
    "accessors", "bufferViews",
)  # fmt: skip


class GlbBuilder:
    """The top-level arrays of a glTF file, to which entries are added, and the bytes behind them."""

    def __init__(self, looks: Looks, asset: Mapping[str, Any]) -> None:
        self._blobs: list[bytes] = []
        self._length = 0
        self._sections: dict[str, list[dict[str, Any]]] = {name: [] for name in _SECTIONS}
        self._asset, self._used, self._required = asset, looks.extensions_used, looks.extensions_required
        for name in ("materials", "textures", "samplers"):
            self._sections[name] = list(getattr(looks, name))
        for image in looks.images:
            self.add("images", self._image(image))
        self.scene: dict[str, Any] = {}
        self.extensions: dict[str, Any] = {}

    @property
    def nodes(self) -> list[dict[str, Any]]:
        """The nodes so far; they may still be changed."""
        return self._sections["nodes"]

    @property
    def skins(self) -> list[dict[str, Any]]:
        """The skins so far; they may still be changed."""
        return self._sections["skins"]

    def add(self, section: str, entry: dict[str, Any]) -> int:
        """Append to a top-level array; the entry's number."""
        self._sections[section].append(entry)
        return len(self._sections[section]) - 1

    def accessor(self, values: NDArray, *, target: int | None = None, bounds: bool = False) -> int:
        """Append an array [n] or [n, width] of a type that glTF has; its number. NaN becomes 0."""
        rows = np.ascontiguousarray(values.reshape(len(values), -1))
        if rows.dtype.kind == "f":
            rows = np.nan_to_num(rows.astype("<f4", copy=False))
        entry = {
            "bufferView": self.view(rows.tobytes(), target),
            "componentType": _NUMBERS[rows.dtype],
            "count": len(rows),
            "type": _KINDS[rows.shape[1]],
        }
        if bounds:
            entry |= {"min": rows.min(axis=0).tolist(), "max": rows.max(axis=0).tolist()}
        return self.add("accessors", entry)

    def view(self, data: bytes, target: int | None = None) -> int:
        """Append bytes; the number of their buffer view."""
        view = {"buffer": 0, "byteOffset": self._length, "byteLength": len(data)}
        padded = data + b"\0" * (-len(data) % 4)
        self._blobs.append(padded)
        self._length += len(padded)
        return self.add("bufferViews", view if target is None else view | {"target": target})

    def write(self, path: Path, roots: list[int]) -> None:
        """Write the file; MeshFileError if it would pass GLB's 4 GiB or cannot be written."""
        text = json.dumps(self._tree(roots), separators=(",", ":"), ensure_ascii=False).encode()
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

    def _tree(self, roots: list[int]) -> dict[str, Any]:
        # Only what is written is declared: extensions of primitives, say, are not carried over.
        holders = [self._sections[name] for name in _SECTIONS if name not in ("accessors", "bufferViews")]
        written = {*_extensions(holders), *self.extensions}
        tree: dict[str, Any] = {
            "asset": {"version": "2.0", "generator": "PartSAM for Blender", **self._asset},
            "extensionsUsed": [name for name in self._used if name in written],
            "extensionsRequired": [name for name in self._required if name in written],
            "extensions": self.extensions,
            "scene": 0,
            "scenes": [{**self.scene, "nodes": roots}],
            **self._sections,
            "buffers": [{"byteLength": self._length}],
        }
        return {key: value for key, value in tree.items() if value not in ([], {})}

    def _image(self, image: Image) -> dict[str, Any]:
        entry: dict[str, Any] = {"name": image.name} if image.name else {}
        if image.data is None:
            return entry | {"uri": image.uri}
        return entry | {"mimeType": image.mime_type, "bufferView": self.view(image.data)}


def _extensions(tree: Any) -> Iterator[str]:
    """Names of the extensions anywhere in a JSON tree."""
    if isinstance(tree, Mapping):
        yield from tree.get("extensions", {})
        tree = tree.values()
    if isinstance(tree, Iterable) and not isinstance(tree, str):
        for item in tree:
            yield from _extensions(item)
