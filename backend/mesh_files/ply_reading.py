# SPDX-License-Identifier: GPL-3.0-or-later
"""PLY files: ASCII and binary, polygons of any mix, vertex and face colours, texture coordinates.

Own code because trimesh's reader refuses binary files that mix triangles and polygons, which Blender
writes, and reorders the faces of those that it accepts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .color_space import srgb_to_linear
from .file_names import find_beside
from .image_files import read_texture
from .obj_parsing import as_text
from .polygon_surfaces import PolygonMesh, polygon_surfaces
from .scene import PointCloud, SourceScene
from .surface import Image, Looks

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
_COLOR_NAMES = (
    ("red", "green", "blue", "alpha"),
    ("diffuse_red", "diffuse_green", "diffuse_blue"),
    ("r", "g", "b", "a"),
)
_COLORS = {name for names in _COLOR_NAMES for name in names}
_VERTEX_NAMES = {"x", "y", "z", "nx", "ny", "nz", *_COLORS, *(name for pair in _UV_NAMES for name in pair)}
_FACE_NAMES = {*_CORNER_NAMES, *_COLORS, "texcoord", "texnumber"}
_HARMONIC = 0.28209479177387814
"""1 / (2 sqrt(pi)), the constant spherical harmonic."""


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
    """Read the faces of a PLY file, or its points where it has none."""
    data = path.read_bytes()
    elements, order, textures, start = _read_header(data)
    if order == "":
        _fill_from_text(elements, data[start:])
    else:
        _fill_from_binary(elements, memoryview(data)[start:], order)
    return _scene(elements, path, textures)


def _read_header(data: bytes) -> tuple[list[_Element], str, list[str], int]:
    """(elements, byte order or "" for ASCII, names of the texture files, where the data starts)."""
    end = data.find(b"end_header")
    if not data.startswith(b"ply") or end < 0:
        raise ValueError("no PLY header")
    start = data.index(b"\n", end) + 1 if b"\n" in data[end : end + 16] else end + len(b"end_header")
    elements: list[_Element] = []
    order: str | None = None
    textures: list[str] = []
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
                textures.append(as_text(line.partition("TextureFile")[2].strip().encode("latin-1")))
    if order is None:
        raise ValueError("no format line")
    if any(element.count < 0 for element in elements):
        raise ValueError("a negative number of rows")
    return elements, order, textures, start


def _fill_from_text(elements: list[_Element], text: bytes) -> None:
    """One element per line; values behind the last property are ignored."""
    lines = [line for line in text.splitlines() if line and not line.isspace()]
    for element in elements:
        rows, lines = lines[: element.count], lines[element.count :]
        if len(rows) < element.count:
            raise ValueError(f"truncated: {len(rows)} of {element.count} rows of element {element.name}")
        if any(item.count_dtype for item in element.properties):
            _fill_from_rows(element, rows)
        elif element.properties:
            _fill_columns(element, rows)


def _fill_columns(element: _Element, rows: list[bytes]) -> None:
    width = len(element.properties)
    words = [row.split(None, width)[:width] for row in rows]
    if any(len(row) < width for row in words):
        raise ValueError(f"a row of element {element.name} has less than {width} values")
    numbers = np.array(words, dtype=np.bytes_).reshape(len(rows), width).astype(np.float64)
    for column, item in enumerate(element.properties):
        element.columns[item.name] = numbers[:, column].astype(item.dtype)


def _fill_from_rows(element: _Element, rows: list[bytes]) -> None:
    values: list[list[bytes]] = [[] for _ in element.properties]
    sizes: list[list[int]] = [[] for _ in element.properties]
    for number, row in enumerate(rows):
        words = row.split()
        place = 0
        for column, item in enumerate(element.properties):
            size = 1
            if item.count_dtype and place < len(words):
                size, place = int(float(words[place])), place + 1
            end = place + size
            if end > len(words) or size < 0:
                raise ValueError(f"row {number} of element {element.name} is not as the header says")
            values[column] += words[place:end]
            sizes[column].append(size)
            place = end
    for column, item in enumerate(element.properties):
        numbers = np.array(values[column], dtype=np.bytes_).astype(np.float64).astype(item.dtype)
        if item.count_dtype is None:
            element.columns[item.name] = numbers
        else:
            element.lists[item.name] = np.array(sizes[column], dtype=np.int64), numbers


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


def _scene(elements: list[_Element], path: Path, textures: list[str]) -> SourceScene:
    by_name = {element.name: element for element in elements}
    vertex, face = by_name["vertex"], by_name.get("face")
    positions = np.column_stack([vertex.columns[axis] for axis in "xyz"]).astype(np.float64)
    corner_name = next((name for name in _CORNER_NAMES if face is not None and name in face.lists), None)
    if face is None or corner_name is None or not face.count:
        return SourceScene((), cloud=_cloud(positions, vertex.columns))
    sizes, corners = face.lists[corner_name]
    attributes, corner_attributes = _vertex_attributes(vertex), _corner_attributes(face, sizes)
    has_uv = "TEXCOORD_0" in attributes or any(name == "TEXCOORD_0" for name, _ in corner_attributes)
    looks, notes = _texture_looks(path, textures) if has_uv else (Looks(), ())
    materials = np.full(face.count, 0 if looks.materials else -1)
    if "texnumber" in face.columns and len(looks.materials) > 1:
        numbers = face.columns["texnumber"].astype(np.int64)
        materials = np.where(numbers < len(looks.materials), numbers, -1)
    mesh = PolygonMesh(positions, sizes, corners, attributes, corner_attributes, materials)
    unread = _unread(vertex, _VERTEX_NAMES) + _unread(face, _FACE_NAMES)
    return SourceScene(polygon_surfaces(mesh), looks, notes + unread)


def _unread(element: _Element, known: set[str]) -> tuple[str, ...]:
    """A note about properties that mean nothing to us."""
    names = [item.name for item in element.properties if item.name not in known]
    if not names:
        return ()
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return (f"properties of each {element.name} that are not written: {', '.join(names[:6])}{more}",)


def _cloud(positions: NDArray[np.float64], columns: Mapping[str, NDArray]) -> PointCloud:
    normals = _normals(columns)
    colors = _srgb_colors(columns)
    if colors is None and {"f_dc_0", "f_dc_1", "f_dc_2"} <= columns.keys():
        # Gaussian splats: the constant term of the colour's spherical harmonics.
        constant = np.column_stack([columns[f"f_dc_{channel}"] for channel in range(3)])
        colors = np.clip(0.5 + _HARMONIC * constant, 0, 1)
    return PointCloud(
        positions,
        None if normals is None or not normals.any() else normals,
        None if colors is None else colors[:, :3].astype(np.float32),
    )


def _normals(columns: Mapping[str, NDArray]) -> NDArray[np.float32] | None:
    if not {"nx", "ny", "nz"} <= columns.keys():
        return None
    return np.column_stack([columns[name] for name in ("nx", "ny", "nz")]).astype(np.float32)


def _vertex_attributes(vertex: _Element) -> dict[str, NDArray[np.float32]]:
    attributes = {}
    columns = vertex.columns
    normals = _normals(columns)
    if normals is not None:
        attributes["NORMAL"] = normals
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
    """The element's colours as linear ones, [n, 3], or [n, 4] with alpha."""
    colors = _srgb_colors(columns)
    if colors is None:
        return None
    return np.column_stack([srgb_to_linear(colors[:, :3]), colors[:, 3:]]).astype(np.float32)


def _srgb_colors(columns: Mapping[str, NDArray]) -> NDArray[np.float64] | None:
    """red, green, blue and, where it is there, alpha in [0, 1]; integers count to their type's maximum."""
    for names in _COLOR_NAMES:
        if set(names[:3]) <= columns.keys():
            channels = [columns[name] for name in names if name in columns]
            scales = [np.iinfo(c.dtype).max if c.dtype.kind in "iu" else 1 for c in channels]
            values = [channel / np.float64(scale) for channel, scale in zip(channels, scales, strict=True)]
            return np.clip(np.nan_to_num(np.column_stack(values)), 0, 1)
    return None


def _texture_looks(path: Path, textures: list[str]) -> tuple[Looks, tuple[str, ...]]:
    """One material for each texture file, in their order; one that cannot be read is left white."""
    images: list[Image] = []
    materials: list[dict[str, Any]] = []
    notes = []
    for name in textures:
        shading: dict[str, Any] = {"metallicFactor": 0.0, "roughnessFactor": 1.0}
        found = find_beside(path.parent, name)
        try:
            if found is None:
                raise FileNotFoundError(name)
            images.append(read_texture(found))
            shading["baseColorTexture"] = {"index": len(images) - 1}
        except OSError:
            notes.append(f"the texture {name!r} cannot be read")
        materials.append({"name": Path(name.replace("\\", "/")).stem, "pbrMetallicRoughness": shading})
    if not images:
        return Looks(), tuple(notes)
    sources = tuple({"source": index} for index in range(len(images)))
    return Looks(materials=tuple(materials), textures=sources, images=tuple(images)), tuple(notes)
