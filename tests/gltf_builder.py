# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds small glTF files for tests, so that each says exactly what it contains."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

_COMPONENTS = {"i1": 5120, "u1": 5121, "i2": 5122, "u2": 5123, "u4": 5125, "f4": 5126}
_KINDS = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}


class GltfBuilder:
    """A JSON tree that the test fills in, and the binary chunk behind it."""

    def __init__(self) -> None:
        self.tree: dict[str, Any] = {"asset": {"version": "2.0"}, "accessors": [], "bufferViews": []}
        self.binary = b""

    def view(self, data: bytes) -> int:
        """Append bytes; returns the index of their buffer view."""
        view = {"buffer": 0, "byteOffset": len(self.binary), "byteLength": len(data)}
        self.tree["bufferViews"].append(view)
        self.binary += data + b"\0" * (-len(data) % 4)
        return len(self.tree["bufferViews"]) - 1

    def accessor(self, values: Any, dtype: str = "f4", **extra: Any) -> int:
        """Append an array [n] or [n, width]; returns the index of its accessor."""
        array = np.asarray(values, dtype=f"<{dtype}")
        array = array.reshape(len(array), -1)
        self.tree["accessors"].append(
            {
                "bufferView": self.view(array.tobytes()),
                "componentType": _COMPONENTS[dtype],
                "count": len(array),
                "type": _KINDS[array.shape[1]],
                **extra,
            }
        )
        return len(self.tree["accessors"]) - 1

    def single_mesh(self, primitive: dict[str, Any], **node: Any) -> None:
        """Make the scene one node with one mesh of one primitive."""
        self.tree["meshes"] = [{"primitives": [primitive]}]
        self.tree["nodes"] = [{"mesh": 0, **node}]
        self.tree["scenes"] = [{"nodes": [0]}]

    def glb(self) -> bytes:
        """The bytes of the GLB file."""
        tree = {key: value for key, value in self.tree.items() if value != []}
        if self.binary:
            tree["buffers"] = [{"byteLength": len(self.binary)}]
        text = json.dumps(tree).encode()
        text += b" " * (-len(text) % 4)
        chunks = struct.pack("<II", len(text), 0x4E4F534A) + text
        if self.binary:
            chunks += struct.pack("<II", len(self.binary), 0x004E4942) + self.binary
        return struct.pack("<III", 0x46546C67, 2, 12 + len(chunks)) + chunks

    def save(self, path: Path) -> Path:
        """Write the GLB file."""
        path.write_bytes(self.glb())
        return path


def glb_tree(path: Path) -> dict[str, Any]:
    """The JSON tree of a GLB file."""
    data = path.read_bytes()
    (length,) = struct.unpack_from("<I", data, 12)
    return json.loads(data[20 : 20 + length])
