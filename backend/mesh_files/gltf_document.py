# SPDX-License-Identifier: GPL-3.0-or-later
"""glTF 2.0 containers: the JSON tree, its buffers, and accessors as numpy arrays.

Written against the Khronos glTF 2.0 specification (sections 3.6 and 4). trimesh's reader is not used
because it leaves out what real files contain: sparse and normalised accessors, further UV sets,
texture transforms, samplers, material extensions, the order of nodes.
"""

from __future__ import annotations

import base64
import binascii
import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from ..errors import MeshFileError

GLB_MAGIC = 0x46546C67
CHUNK_JSON = 0x4E4F534A
CHUNK_BIN = 0x004E4942

COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
_MOST_ZEROS = 100_000_000
"""Rows of an accessor without data: no byte of the file stands for them, a damaged count could be any."""


@dataclass(frozen=True)
class GltfDocument:
    """A parsed glTF file.

    path: where it lies; relative URIs start from its folder
    tree: the JSON object
    buffers: the bytes of each entry of tree["buffers"]
    """

    path: Path
    tree: dict[str, Any]
    buffers: tuple[memoryview, ...]

    def items(self, key: str) -> list[dict[str, Any]]:
        """The top-level array `key` of the tree; empty if there is none."""
        return self.tree.get(key, [])

    def view(self, index: int) -> memoryview:
        """The bytes of buffer view `index`."""
        view = self.items("bufferViews")[index]
        buffer = self.buffers[view["buffer"]]
        start = view.get("byteOffset", 0)
        end = start + view["byteLength"]
        if start < 0 or end > len(buffer):
            raise MeshFileError(f"{self.path.name} is truncated: a buffer ends before its data")
        return buffer[start:end]

    def accessor(self, index: int) -> NDArray:
        """Accessor `index` as an array [count, width]; normalised integers become float32."""
        accessor = self.items("accessors")[index]
        count, width = accessor["count"], _WIDTHS[accessor["type"]]
        dtype = np.dtype(COMPONENTS[accessor["componentType"]])
        if "bufferView" in accessor:
            values = self._rows(
                accessor["bufferView"], accessor.get("byteOffset", 0), dtype, count=count, width=width
            )
        else:
            if not 0 <= count <= _MOST_ZEROS:
                raise MeshFileError(
                    f"{self.path.name} is damaged: an accessor has {count:,} rows without data"
                )
            values = np.zeros((count, width), dtype=dtype)
        if "sparse" in accessor:
            values = self._with_sparse(values, accessor["sparse"], dtype)
        return normalized_integers(values) if accessor.get("normalized") else values

    def _rows(self, view_index: int, offset: int, dtype: np.dtype, *, count: int, width: int) -> NDArray:
        data = self.view(view_index)
        row = dtype.itemsize * width
        stride = self.items("bufferViews")[view_index].get("byteStride") or row
        needed = offset + (count - 1) * stride + row if count else 0
        if count < 0 or stride < row or needed > len(data):
            raise MeshFileError(f"{self.path.name} is damaged: an accessor reaches past its buffer")
        return np.ndarray((count, width), dtype, data, offset, (stride, dtype.itemsize))

    def _with_sparse(self, base: NDArray, sparse: dict[str, Any], dtype: np.dtype) -> NDArray:
        count = sparse["count"]
        where, what = sparse["indices"], sparse["values"]
        index_type = np.dtype(COMPONENTS[where["componentType"]])
        rows = self._rows(where["bufferView"], where.get("byteOffset", 0), index_type, count=count, width=1)
        values = self._rows(
            what["bufferView"], what.get("byteOffset", 0), dtype, count=count, width=base.shape[1]
        )
        result = base.copy()
        result[rows[:, 0]] = values
        return result


def normalized_integers(values: NDArray) -> NDArray:
    """Integers as shares of their type's largest, float32 in [-1, 1]; other values as they are."""
    if values.dtype.kind not in "iu":
        return values
    return np.maximum(values.astype(np.float32) / np.float32(np.iinfo(values.dtype).max), np.float32(-1))


def read_document(path: Path) -> GltfDocument:
    """Parse a .glb or .gltf file. Raises MeshFileError for anything that is not glTF 2.0 or incomplete."""
    data = path.read_bytes()
    if data[:4] == b"glTF":
        text, binary = _split_glb(data, path.name)
    else:
        text, binary = memoryview(data), None
    try:
        tree = json.loads(bytes(text).decode("utf-8-sig"))
        version = str(tree["asset"]["version"])
    except (UnicodeDecodeError, ValueError, LookupError, TypeError) as error:
        raise MeshFileError(f"{path.name} is not a glTF file") from error
    if not isinstance(tree, dict) or not version.startswith("2."):
        raise MeshFileError(f"{path.name} is glTF {version[:20]}; only glTF 2.0 can be read")
    buffers = tuple(
        _buffer_bytes(buffer, binary if index == 0 else None, path)
        for index, buffer in enumerate(tree.get("buffers", []))
    )
    return GltfDocument(path, tree, buffers)


def read_uri(uri: str, folder: Path) -> bytes:
    """The bytes behind a URI in a glTF file: a data: URI or a file next to it (OSError if absent)."""
    if uri.startswith("data:"):
        try:
            return base64.b64decode(uri.partition(",")[2], validate=True)
        except binascii.Error as error:
            raise OSError("damaged data URI") from error
    return (folder / unquote(uri)).read_bytes()


def _split_glb(data: bytes, name: str) -> tuple[memoryview, memoryview | None]:
    """The JSON chunk and the binary chunk, if any, of a GLB file."""
    if len(data) < 20:
        raise MeshFileError(f"{name} is truncated: it ends within the GLB header")
    _, version, length = struct.unpack_from("<III", data)
    if version != 2:
        raise MeshFileError(f"{name} is GLB version {version}; only version 2 can be read")
    if len(data) < length:
        raise MeshFileError(f"{name} is truncated: {len(data):,} of {length:,} bytes are there")
    chunks: dict[int, memoryview] = {}
    position = 12
    while position + 8 <= length:
        size, kind = struct.unpack_from("<II", data, position)
        if position + 8 + size > length:
            raise MeshFileError(f"{name} is truncated: a chunk ends past the file")
        chunks.setdefault(kind, memoryview(data)[position + 8 : position + 8 + size])
        position += 8 + size
    if CHUNK_JSON not in chunks:
        raise MeshFileError(f"{name} is not a GLB file: it has no JSON chunk")
    return chunks[CHUNK_JSON], chunks.get(CHUNK_BIN)


def _buffer_bytes(buffer: dict[str, Any], binary: memoryview | None, path: Path) -> memoryview:
    if "uri" in buffer:
        try:
            data = memoryview(read_uri(buffer["uri"], path.parent))
        except OSError as error:
            raise MeshFileError(
                f"{path.name} needs the file {buffer['uri'][:80]!r}, which cannot be read; "
                "keep both in one folder"
            ) from error
    elif binary is not None:
        data = binary
    else:
        # Compression extensions declare buffers without any bytes; reading from one reports the rest.
        data = memoryview(b"")
    if "uri" in buffer and len(data) < buffer.get("byteLength", 0):
        raise MeshFileError(f"{path.name}: its buffer {buffer['uri'][:80]!r} is truncated")
    return data
