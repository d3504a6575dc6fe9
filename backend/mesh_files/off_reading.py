# SPDX-License-Identifier: GPL-3.0-or-later
"""OFF files in text form. Own code because trimesh's reader reorders the faces of polygon meshes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from ..errors import MeshFileError
from .polygons import fan_corners
from .scene import SourceScene, Surface
from .surface_colors import srgb_to_linear

_HEADER = re.compile(r"\s*(ST)?(C)?(N)?(4)?(n)?OFF\b(?P<binary>\s*BINARY)?", re.IGNORECASE)


def read_off(path: Path) -> SourceScene:
    """Read an OFF file; MeshFileError if it is damaged or not OFF. Face colours are ignored."""
    text = path.read_bytes().decode("latin-1")
    header = _HEADER.match(text)
    if header is None:
        raise MeshFileError(f"{path.name} is not an OFF file")
    colored, has_normals, four, any_dimension = (header[i] is not None for i in (2, 3, 4, 5))
    if header["binary"] or four or any_dimension:
        raise MeshFileError(f"{path.name}: only three-dimensional OFF files in text form can be read")
    try:
        return _scene(text[header.end() :], path.stem, colored=colored, has_normals=has_normals)
    except (ValueError, IndexError) as error:
        raise MeshFileError(f"{path.name} is a damaged or truncated OFF file") from error


def _scene(text: str, name: str, *, colored: bool, has_normals: bool) -> SourceScene:
    lines = [words for line in text.splitlines() if (words := line.partition("#")[0].split())]
    vertex_count, face_count = int(lines[0][0]), int(lines[0][1])
    if len(lines) < 1 + vertex_count + face_count or vertex_count < 0 or face_count < 0:
        raise ValueError("truncated")
    if not vertex_count or not face_count:
        return SourceScene(())
    rows = np.array(lines[1 : 1 + vertex_count], dtype=np.float64)
    attributes, column = {}, 3
    if has_normals:
        attributes["NORMAL"] = rows[:, column : column + 3].astype(np.float32)
        column += 3
    if colored and rows.shape[1] >= column + 3:
        srgb = rows[:, column : column + 3]
        srgb = srgb / 255 if srgb.max() > 1 else srgb
        attributes["COLOR_0"] = srgb_to_linear(np.clip(srgb, 0, 1)).astype(np.float32)
    faces = lines[1 + vertex_count : 1 + vertex_count + face_count]
    sizes = np.array([int(words[0]) for words in faces])
    corners = np.array([word for words in faces for word in words[1 : 1 + int(words[0])]], dtype=np.int64)
    if len(corners) != sizes.sum() or corners.min() < 0 or corners.max() >= vertex_count:
        raise ValueError("faces refer to vertices that are not there")
    triangles = corners[fan_corners(sizes)].astype(np.int32)
    return SourceScene((Surface(name, np.ascontiguousarray(rows[:, :3]), triangles, attributes),))
