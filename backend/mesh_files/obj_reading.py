# SPDX-License-Identifier: GPL-3.0-or-later
"""Wavefront OBJ with MTL materials."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..geometry.mesh import FloatArray, IntArray
from .color_space import srgb_to_linear
from .mtl_reading import MaterialLibrary
from .obj_parsing import ObjText, as_text, parse_obj
from .polygons import triangulate
from .scene import PointCloud, SourceScene
from .surface import Surface


def read_obj(path: Path) -> SourceScene:
    """Read an OBJ file with its materials: one surface per run of faces of one object and material."""
    text = parse_obj(path.read_bytes())
    library = MaterialLibrary(path.parent, text.libraries)
    if not len(text.sizes):
        colors = None if text.colors is None else _linear(text.colors)
        return SourceScene((), cloud=PointCloud.of_pieces([text.vertices], [None], [colors]))
    notes = []
    if text.others:
        notes.append(f"{text.others} lines, points or curves are not read")
    surfaces = _surfaces(text, library)
    return SourceScene(surfaces, library.looks(), (*library.notes, *notes))


def _surfaces(text: ObjText, library: MaterialLibrary) -> tuple[Surface, ...]:
    used, vertex_of = _distinct_rows(text.corners)
    attributes = _attributes(text, used)
    corner_ends = np.concatenate([[0], np.cumsum(text.sizes)])
    places = triangulate(text.vertices, text.corners[:, 0], text.sizes)
    triangle_ends = np.concatenate([[0], np.cumsum(np.maximum(text.sizes - 2, 0))])
    face_ends = [*text.runs[1:, 0], len(text.sizes)]
    surfaces = []
    for (start, material, name), end in zip(text.runs.tolist(), face_ends, strict=True):
        rows = places[triangle_ends[start] : triangle_ends[end]]
        own, triangles = np.unique(vertex_of[rows], return_inverse=True)
        corners = text.corners[corner_ends[start] : corner_ends[end]]
        surfaces.append(
            Surface(
                name=as_text(text.objects[name]),
                positions=text.vertices[used[own, 0]],
                triangles=triangles.reshape(-1, 3).astype(np.int32),
                attributes={
                    semantic: values[own]
                    for semantic, (column, values) in attributes.items()
                    if (corners[:, column] >= 0).any()
                },
                material=library.number(text.materials[material]),
            )
        )
    return tuple(surfaces)


def _distinct_rows(corners: IntArray) -> tuple[IntArray, IntArray]:
    """(distinct corners [U, 3], which one each corner is [C])."""
    shifted = corners + 1
    spans = shifted.max(axis=0, initial=0) + 1
    # One number each sorts a hundred times faster than rows; three 2**21 tables fit into it.
    if float(spans[0]) * float(spans[1]) * float(spans[2]) >= 2**63:
        used, inverse = np.unique(corners, axis=0, return_inverse=True)
        return used, inverse.reshape(-1)
    keys = (shifted[:, 0] * spans[1] + shifted[:, 1]) * spans[2] + shifted[:, 2]
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    return corners[first], inverse.reshape(-1)


def _attributes(text: ObjText, used: IntArray) -> dict[str, tuple[int, NDArray[np.float32]]]:
    """semantic -> (column of a corner that refers to it, values [U, n]); zeros where a corner has none."""
    attributes: dict[str, tuple[int, NDArray[np.float32]]] = {}
    if len(text.normals):
        attributes["NORMAL"] = 2, _rows(text.normals, used[:, 2])
    if len(text.uvs):
        uv = _rows(text.uvs, used[:, 1])
        attributes["TEXCOORD_0"] = 1, np.column_stack([uv[:, 0], np.where(used[:, 1] < 0, 0, 1 - uv[:, 1])])
    if text.colors is not None:
        attributes["COLOR_0"] = 0, _rows(_linear(text.colors), used[:, 0])
    return attributes


def _rows(table: FloatArray, index: IntArray) -> NDArray[np.float32]:
    return np.where(index[:, None] < 0, 0, table[index]).astype(np.float32)


def _linear(colors: FloatArray) -> FloatArray:
    """Colours as written, in bytes or shares, to linear ones; vertices without one are white."""
    known = np.where(np.isnan(colors), np.inf, colors)
    largest = known[np.isfinite(known)].max(initial=0)
    shares = np.clip(known / 255 if largest > 1 else known, 0, 1)
    shares[:, :3] = srgb_to_linear(shares[:, :3])
    return shares
