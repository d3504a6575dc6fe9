# SPDX-License-Identifier: GPL-3.0-or-later
"""OFF files in text form. Own code because trimesh's reader reorders the faces of polygon meshes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import MeshFileError
from .color_space import srgb_to_linear
from .polygon_surfaces import PolygonMesh, polygon_surfaces
from .scene import PointCloud, SourceScene
from .surface import Surface

_HEADER = re.compile(
    r"(?:\s|#[^\n]*\n)*(ST)?(C)?(N)?(4)?(n)?OFF(?![A-Za-z])(?P<binary>\s*BINARY)?", re.IGNORECASE
)


def read_off(path: Path) -> SourceScene:
    """Read an OFF file with the colours of its vertices or faces."""
    text = path.read_bytes().decode("latin-1").removeprefix("\xef\xbb\xbf")
    header = _HEADER.match(text)
    if header is None:
        raise ValueError("no OFF header")
    textured, colored, has_normals, four, any_dimension = (header[i] is not None for i in (1, 2, 3, 4, 5))
    if header["binary"] or four or any_dimension:
        raise MeshFileError(f"{path.name}: only three-dimensional OFF files in text form can be read")
    lines = [words for line in text[header.end() :].splitlines() if (words := line.partition("#")[0].split())]
    vertex_count, face_count = int(lines[0][0]), int(lines[0][1])
    if len(lines) < 1 + vertex_count + face_count or vertex_count < 0 or face_count < 0:
        raise ValueError(f"truncated: {len(lines) - 1} of {vertex_count + face_count} lines")
    vertices, faces = lines[1 : 1 + vertex_count], lines[1 + vertex_count : 1 + vertex_count + face_count]
    normals = 3 if has_normals else 0
    positions = _numbers([row[:3] for row in vertices], 3)
    attributes: dict[str, NDArray[np.float32]] = {}
    if has_normals:
        attributes["NORMAL"] = _numbers([row[3:6] for row in vertices], 3).astype(np.float32)
    if colored:
        end = -2 if textured else None
        colors = _colors([row[3 + normals : end] for row in vertices])
        attributes |= {} if colors is None else {"COLOR_0": colors}
    if not faces:
        return SourceScene((), cloud=PointCloud(positions, attributes.get("NORMAL")))
    return SourceScene(_surfaces(positions, faces, attributes))


def _surfaces(
    positions: NDArray[np.float64], faces: list[list[str]], attributes: dict[str, NDArray[np.float32]]
) -> tuple[Surface, ...]:
    sizes = np.array([int(words[0]) for words in faces])
    corners = np.array([word for words in faces for word in words[1 : 1 + int(words[0])]], dtype=np.int64)
    colors = None
    if "COLOR_0" not in attributes:
        colors = _colors([words[1 + size :] for words, size in zip(faces, sizes.tolist(), strict=True)])
    of_corner = [] if colors is None else [("COLOR_0", np.repeat(colors, sizes, axis=0))]
    return polygon_surfaces(PolygonMesh(positions, sizes, corners, attributes, of_corner))


def _numbers(rows: list[list[str]], width: int) -> NDArray[np.float64]:
    return np.array(rows, dtype=np.float64).reshape(-1, width)


def _colors(rows: list[list[str]]) -> NDArray[np.float32] | None:
    """Linear colours [n, 3 or 4] of rows with 0, 3 or 4 values, in bytes or shares; None if none has any.

    A single number is an index into a table that is not in the file.
    """
    widths = np.array([len(row) if len(row) >= 3 else 0 for row in rows])
    if not widths.any():
        return None
    white = ["255" if any("." not in row[0] for row in rows if len(row) >= 3) else "1"]
    has_alpha = (widths >= 4).any()
    full = [(row[:4] if len(row) >= 3 else white * 3) + white for row in rows]
    colors = np.array([row[: 4 if has_alpha else 3] for row in full], dtype=np.float64)
    colors = np.clip(colors / 255 if colors.max() > 1 else colors, 0, 1)
    colors[:, :3] = srgb_to_linear(colors[:, :3])
    return colors.astype(np.float32)
