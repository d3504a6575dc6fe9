# SPDX-License-Identifier: GPL-3.0-or-later
"""STL files, text or binary. Own code: readers take a damaged binary file for text and find nothing in it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import MeshFileError
from .obj_parsing import as_text
from .scene import SourceScene
from .surface import Surface

_HEADER_BYTES = 84
_TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
_SOLID = re.compile(rb"^[ \t]*solid\b[ \t]*([^\r\n]*)", re.MULTILINE | re.IGNORECASE)
_VERTEX = re.compile(rb"\bvertex[ \t]+(\S+)[ \t]+(\S+)[ \t]+(\S+)", re.IGNORECASE)


def read_stl(path: Path) -> SourceScene:
    """Read an STL file, one surface per solid; a text file's last solid may lack its end."""
    data = path.read_bytes()
    if _is_text(data):
        return SourceScene(tuple(_solids(data)))
    return _binary(data, path.name)


def _is_text(data: bytes) -> bool:
    """Whether a file is text. Binary ones may begin with `solid`, too, but hold zero bytes and no `facet`."""
    start = data[:2048].lstrip(b"\xef\xbb\xbf \t\r\n")
    return (
        start[:5].lower() == b"solid"
        and (b"\0" not in start or len(data) < _HEADER_BYTES)
        and (b"facet" in start.lower() or b"endsolid" in start.lower())
    )


def _solids(data: bytes) -> list[Surface]:
    heads = list(_SOLID.finditer(data))
    ends = [head.start() for head in heads[1:]] + [len(data)]
    surfaces = []
    for head, end in zip(heads, ends, strict=True):
        words = [match.groups() for match in _VERTEX.finditer(data, head.end(), end)]
        rows = np.array(words, dtype=np.bytes_).reshape(-1, 3).astype(np.float64)
        # A file that was cut off ends within a triangle.
        corners = rows[: len(rows) // 3 * 3].reshape(-1, 3, 3)
        surfaces.append(_surface(as_text(head[1].strip()), corners))
    return surfaces


def _binary(data: bytes, name: str) -> SourceScene:
    if len(data) < _HEADER_BYTES:
        raise ValueError("neither text nor long enough for a binary file")
    count = int.from_bytes(data[80:84], "little")
    there = (len(data) - _HEADER_BYTES) // _TRIANGLE.itemsize
    if count == 0 and there:
        raise MeshFileError(f"{name} is damaged: its header says 0 triangles, its length {there:,}")
    if count > there:
        raise MeshFileError(
            f"{name} is truncated, or not an STL file: {there:,} of {count:,} triangles are there"
        )
    triangles = np.frombuffer(data, _TRIANGLE, count, _HEADER_BYTES)
    return SourceScene((_surface("", triangles["corners"].astype(np.float64)),))


def _surface(name: str, corners: NDArray[np.float64]) -> Surface:
    """A surface of triangles [F, 3, 3]; corners at equal positions become one vertex."""
    rows = np.ascontiguousarray(corners.reshape(-1, 3)) + 0.0  # so that -0 is 0
    keys = rows.view(np.dtype((np.void, 24))).reshape(-1)
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    return Surface(name, rows[first], inverse.reshape(-1, 3).astype(np.int32))
