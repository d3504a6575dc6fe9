# SPDX-License-Identifier: GPL-3.0-or-later
"""Buffer views that EXT_meshopt_compression (or its KHR successor) holds, through meshopt."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

from ..errors import MeshFileError
from .gltf_document import GltfDocument
from .optional import optional_module

_NAMES = ("EXT_meshopt_compression", "KHR_meshopt_compression")
_MOST_BYTES = 1 << 32
"""Of a view: a damaged count must not fill the memory."""


def without_meshopt(document: GltfDocument) -> GltfDocument:
    """The document with plain buffer views; itself where it has plain data, as files that need not be
    decompressed do. Raises MeshFileError without meshopt or on damage."""
    required = [name for name in document.tree.get("extensionsRequired", []) if name in _NAMES]
    if not required:
        return document
    views = [dict(view) for view in document.items("bufferViews")]
    buffers = list(document.buffers)
    for view in views:
        packed = next(filter(None, (view.get("extensions", {}).get(name) for name in _NAMES)), None)
        if packed is not None:
            data = _decoded(document, packed)
            view |= {"buffer": len(buffers), "byteOffset": 0, "byteLength": len(data)}
            buffers.append(memoryview(data))
    left = [name for name in document.tree["extensionsRequired"] if name not in _NAMES]
    tree = document.tree | {"bufferViews": views, "extensionsRequired": left}
    return replace(document, tree=tree, buffers=tuple(buffers))


def _decoded(document: GltfDocument, packed: dict[str, Any]) -> bytes:
    name = document.path.name
    newer = "" if sys.version_info >= (3, 12) else " (with Python 3.12 or newer)"
    meshopt = optional_module("meshopt", f"{name} is compressed with meshopt; reading it{newer}")
    start, count, stride = packed.get("byteOffset", 0), packed["count"], packed["byteStride"]
    data = document.buffers[packed["buffer"]][start : start + packed["byteLength"]]
    if len(data) < packed["byteLength"] or not 0 <= count * stride <= _MOST_BYTES:
        raise MeshFileError(f"{name} is damaged: its meshopt data reaches past its buffer")
    try:
        rows = meshopt.decode_gltf_buffer(bytes(data), count, stride, packed["mode"], packed.get("filter"))
    except (ValueError, RuntimeError) as error:
        raise MeshFileError(f"{name} is damaged: its meshopt data cannot be decoded") from error
    return bytes(rows.tobytes())
