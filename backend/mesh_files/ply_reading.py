# SPDX-License-Identifier: GPL-3.0-or-later
"""PLY files: ASCII and binary, polygons of any mix, vertex and face colours, texture coordinates.

Own code because trimesh's reader refuses binary files that mix triangles and polygons, which Blender
writes, and reorders the faces of those that it accepts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import MeshFileError
from .image_files import read_texture
from .polygons import fan_corners, split_vertices
from .scene import Looks, SourceScene, Surface
from .surface_colors import srgb_to_linear

_TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}
_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_UV_NAMES = (("s", "t"), ("u", "v"), ("texture_u", "texture_v"))
_CORNER_NAMES = ("vertex_indices", "vertex_index")


@dataclass(frozen=True)
class _Property:
    name: str
    dtype: str
    count_dtype: str | None = None


@dataclass
class _Element:
    """An element of the header, then its data.

    columns: scalar property -> values [count]
    lists: list property -> (sizes [count], values flat)
    """

    name: str
    count: int
    properties: list[_Property] = field(default_factory=list)
    columns: dict[str, NDArray] = field(default_factory=dict)
    lists: dict[str, tuple[NDArray, NDArray]] = field(default_factory=dict)


def read_ply(path: Path) -> SourceScene:
    """Read the faces of a PLY file; MeshFileError if it is damaged or not PLY."""
    data = path.read_bytes()
    try:
        elements, order, texture, start = _read_header(data)
        if order == "":
            _fill_from_text(elements, data[start:])
        else:
            _fill_from_binary(elements, memoryview(data)[start:], order)
        return _scene(elements, path, texture)
    except (LookupError, ValueError) as error:
        raise MeshFileError(f"{path.name} is not a PLY file, or truncated ({error})") from error


def _read_header(data: bytes) -> tuple[list[_Element], str, str | None, int]:
    """(elements, byte order or "" for ASCII, name of the texture file, where the data starts)."""
    end = data.find(b"end_header")
    if not data.startswith(b"ply") or end < 0:
        raise ValueError("no PLY header")
    start = data.index(b"\n", end) + 1 if b"\n" in data[end : end + 16] else end + len(b"end_header")
    elements: list[_Element] = []
    order, texture = None, None
    for line in data[:end].decode("latin-1").splitlines()[1:]:
        words = line.split()
        match words:
            case ["format", kind, *_]:
                order = _ORDERS[kind]
            case ["element", name, count]:
                elements.append(_Element(name, int(count)))
            case ["property", "list", count_type, value_type, name]:
                elements[-1].properties.append(_Property(name, _TYPES[value_type], _TYPES[count_type]))
            case ["property", value_type, name]:
                elements[-1].properties.append(_Property(name, _TYPES[value_type]))
            case ["comment", "TextureFile", *_]:
                texture = line.partition("TextureFile")[2].strip()
    if order is None:
        raise ValueError("no format line")
    return elements, order, texture, start


def _fill_from_text(elements: list[_Element], text: bytes) -> None:
    numbers = np.array(text.split(), dtype=np.float64)
    position = 0
    for element in elements:
        position += _fill_from_numbers(element, numbers[position:])


def _fill_from_numbers(element: _Element, numbers: NDArray[np.float64]) -> int:
    """Distribute a stream of numbers over the element's properties; returns how many it used."""
    widths = np.ones((element.count, len(element.properties)), dtype=np.int64)
    lists = [index for index, item in enumerate(element.properties) if item.count_dtype]
    if lists and element.count:
        position = 0
        for row in range(element.count):
            for index, item in enumerate(element.properties):
                if item.count_dtype:
                    widths[row, index] += int(numbers[position])
                position += widths[row, index]
    ends = np.cumsum(widths)
    used = int(ends[-1]) if len(ends) else 0
    if used > len(numbers):
        raise ValueError(f"{len(numbers)} of {used} numbers of element {element.name}")
    starts = (ends - widths.reshape(-1)).reshape(widths.shape)
    for index, item in enumerate(element.properties):
        if item.count_dtype is None:
            element.columns[item.name] = numbers[starts[:, index]].astype(item.dtype)
        else:
            sizes = widths[:, index] - 1
            element.lists[item.name] = sizes, numbers[_ranges(starts[:, index] + 1, sizes)].astype(item.dtype)
    return used


def _ranges(starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """start, start + 1 ... start + size - 1 for each pair, joined."""
    before = np.cumsum(sizes) - sizes
    return np.repeat(starts - before, sizes) + np.arange(sizes.sum())


def _fill_from_binary(elements: list[_Element], data: memoryview, order: str) -> None:
    for element in elements:
        used = _fill_uniform(element, data, order)
        if used is None:
            used = _fill_row_by_row(element, data, order)
        data = data[used:]


def _fill_uniform(element: _Element, data: memoryview, order: str) -> int | None:
    """Read an element whose lists all have the size of the first row's; None if they have not."""
    fields: list[tuple] = []
    for item in element.properties:
        if item.count_dtype is None:
            fields.append((item.name, order + item.dtype))
            continue
        fields.append((f"{item.name} count", order + item.count_dtype))
        so_far = np.dtype(fields)
        if so_far.itemsize > len(data) or not element.count:
            return None if element.count else 0
        first = np.frombuffer(data, so_far, 1)[f"{item.name} count"][0]
        fields.append((item.name, order + item.dtype, (int(first),)))
    row = np.dtype(fields)
    has_lists = any(item.count_dtype for item in element.properties)
    if row.itemsize * element.count > len(data):
        if has_lists:
            return None
        raise ValueError(f"{len(data)} of {row.itemsize * element.count} bytes of element {element.name}")
    rows = np.frombuffer(data, row, element.count)
    lists = [item for item in element.properties if item.count_dtype]
    if any((rows[f"{item.name} count"] != row[item.name].shape[0]).any() for item in lists):
        return None
    for item in element.properties:
        if item.count_dtype is None:
            element.columns[item.name] = rows[item.name]
        else:
            sizes = rows[f"{item.name} count"].astype(np.int64)
            element.lists[item.name] = sizes, rows[item.name].reshape(-1)
    return row.itemsize * element.count


def _fill_row_by_row(element: _Element, data: memoryview, order: str) -> int:
    """Read an element whose lists differ in size: walk over the counts, then gather."""
    plan = [
        (np.dtype(order + item.dtype), np.dtype(order + item.count_dtype) if item.count_dtype else None)
        for item in element.properties
    ]
    byte_order: Literal["little", "big"] = "little" if order == "<" else "big"
    starts = np.zeros((element.count, len(plan)), dtype=np.int64)
    sizes = np.zeros_like(starts)
    position = 0
    for row in range(element.count):
        for column, (dtype, count_dtype) in enumerate(plan):
            size = 1
            if count_dtype is not None:
                size = int.from_bytes(data[position : position + count_dtype.itemsize], byte_order)
                position += count_dtype.itemsize
            starts[row, column], sizes[row, column] = position, size
            position += size * dtype.itemsize
        if position > len(data):
            raise ValueError(f"the file ends in row {row} of element {element.name}")
    raw = np.frombuffer(data, np.uint8)
    for column, (item, (dtype, _)) in enumerate(zip(element.properties, plan, strict=True)):
        places = _ranges(starts[:, column], sizes[:, column] * dtype.itemsize)
        values = raw[places].view(dtype)
        if item.count_dtype is None:
            element.columns[item.name] = values
        else:
            element.lists[item.name] = sizes[:, column], values
    return position


def _scene(elements: list[_Element], path: Path, texture: str | None) -> SourceScene:
    by_name = {element.name: element for element in elements}
    vertex, face = by_name["vertex"], by_name.get("face")
    corner_name = next((name for name in _CORNER_NAMES if face is not None and name in face.lists), None)
    if face is None or corner_name is None or not face.count:
        return SourceScene(())
    positions = np.column_stack([vertex.columns[axis] for axis in "xyz"]).astype(np.float64)
    sizes, corners = face.lists[corner_name]
    corners = corners.astype(np.int64)
    if len(corners) and (corners.min() < 0 or corners.max() >= len(positions)):
        raise ValueError("faces refer to vertices that are not there")
    attributes = _vertex_attributes(vertex)
    for name, values in _corner_attributes(face, sizes):
        corners, kept, attributes[name] = split_vertices(corners, values)
        positions = positions[kept]
        attributes = {other: data if other == name else data[kept] for other, data in attributes.items()}
    looks, notes = _texture_looks(path, texture) if "TEXCOORD_0" in attributes else (Looks(), ())
    triangles = corners[fan_corners(sizes)].astype(np.int32)
    material = 0 if looks.materials else None
    return SourceScene((Surface(path.stem, positions, triangles, attributes, material),), looks, notes)


def _vertex_attributes(vertex: _Element) -> dict[str, NDArray[np.float32]]:
    attributes = {}
    columns = vertex.columns
    if {"nx", "ny", "nz"} <= columns.keys():
        normals = np.column_stack([columns[name] for name in ("nx", "ny", "nz")])
        attributes["NORMAL"] = normals.astype(np.float32)
    for u, v in _UV_NAMES:
        if u in columns and v in columns:
            attributes["TEXCOORD_0"] = np.column_stack([columns[u], 1 - columns[v]]).astype(np.float32)
            break
    colors = _linear_colors(columns)
    if colors is not None:
        attributes["COLOR_0"] = colors
    return attributes


def _corner_attributes(face: _Element, sizes: NDArray[np.int64]) -> list[tuple[str, NDArray[np.float32]]]:
    """What differs between the faces at a vertex: (semantic, values per corner [C, n])."""
    found = []
    if "texcoord" in face.lists:
        uv_sizes, uv = face.lists["texcoord"]
        if (uv_sizes == 2 * sizes).all():
            uv = uv.reshape(-1, 2).astype(np.float32)
            found.append(("TEXCOORD_0", np.column_stack([uv[:, 0], 1 - uv[:, 1]])))
    colors = _linear_colors(face.columns)
    if colors is not None:
        found.append(("COLOR_0", np.repeat(colors, sizes, axis=0)))
    return found


def _linear_colors(columns: Mapping[str, NDArray]) -> NDArray[np.float32] | None:
    """The element's red, green, blue as linear colours [n, 3]; integers count to their type's maximum."""
    if not {"red", "green", "blue"} <= columns.keys():
        return None
    channels = [columns[name] for name in ("red", "green", "blue")]
    scales = [np.iinfo(c.dtype).max if c.dtype.kind in "iu" else 1 for c in channels]
    srgb = np.column_stack([c / np.float64(scale) for c, scale in zip(channels, scales, strict=True)])
    return srgb_to_linear(np.clip(srgb, 0, 1)).astype(np.float32)


def _texture_looks(path: Path, texture: str | None) -> tuple[Looks, tuple[str, ...]]:
    if texture is None:
        return Looks(), ()
    try:
        image = read_texture(path.parent / texture)
    except OSError:
        return Looks(), (f"the texture {texture!r} cannot be read",)
    slot = {"baseColorTexture": {"index": 0}, "metallicFactor": 0.0, "roughnessFactor": 1.0}
    material = {"name": Path(texture).stem, "pbrMetallicRoughness": slot}
    return Looks(materials=(material,), textures=({"source": 0},), images=(image,)), ()
