# SPDX-License-Identifier: GPL-3.0-or-later
"""Wavefront OBJ with MTL materials, through trimesh's parser."""

from __future__ import annotations

import io
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MeshFileError
from .image_files import read_texture
from .polygons import fan_corners
from .scene import Image, Looks, SourceScene, Surface
from .surface_colors import srgb_to_linear

_LIBRARY = re.compile(rb"^mtllib[ \t]+([^\r\n]+)", re.MULTILINE)
_MATERIAL = re.compile(rb"^[ \t]*newmtl[ \t]+([^\r\n]+)", re.MULTILINE)
_TEXTURE = re.compile(rb"^[ \t]*map_Kd[ \t]+([^\r\n]+)", re.MULTILINE | re.IGNORECASE)
_RELATIVE = re.compile(rb"^f[^\n]*[ \t/]-\d", re.MULTILINE)


def read_obj(path: Path) -> SourceScene:
    """Read an OBJ file with its materials; MeshFileError if it is damaged or not OBJ.

    Polygons of an evenly sized run come from the parser whole and are split here, since
    trimesh's own splitting reorders the faces.
    """
    data = path.read_bytes()
    if _RELATIVE.search(data):
        data = _with_absolute_indices(data)
    library, notes = _library(data, path.parent)
    try:
        chunks = _chunks(data, path)
        looks, index_of = _looks([chunk["visual"] for chunk in chunks], path, _names(_MATERIAL, library))
        surfaces = [_surface(chunk, path.stem, index_of) for chunk in chunks]
    except (ValueError, LookupError, TypeError, AttributeError, DeprecationWarning) as error:
        raise MeshFileError(f"{path.name} is not an OBJ file, or damaged") from error
    return SourceScene(tuple(surfaces), looks, notes)


def _chunks(data: bytes, path: Path) -> list[dict[str, Any]]:
    """The parser's arrays of each run of `usemtl`, in file order: grouped by material, faces would move."""
    from trimesh.exchange.obj import load_obj
    from trimesh.resolvers import FilePathResolver

    with warnings.catch_warnings():
        # numpy reports text that is not numbers by a DeprecationWarning and a shortened array.
        warnings.simplefilter("error", DeprecationWarning)
        loaded = load_obj(
            io.StringIO(data.decode("utf-8", "replace")),
            resolver=FilePathResolver(str(path)),
            group_material=False,
        )
    # The parser works through its list from the end.
    return list(loaded.get("geometry", {}).values())[::-1]


def _surface(chunk: dict[str, Any], name: str, index_of: dict[str, int]) -> Surface:
    polygons = np.asarray(chunk["faces"])
    corners = fan_corners(np.full(len(polygons), polygons.shape[1]))
    attributes: dict[str, NDArray[np.float32]] = {}
    if "vertex_normals" in chunk:
        attributes["NORMAL"] = np.asarray(chunk["vertex_normals"], dtype=np.float32)
    if "vertex_colors" in chunk:
        srgb = np.asarray(chunk["vertex_colors"], dtype=np.float64)[:, :3]
        srgb = srgb / 255 if srgb.max(initial=0) > 1 else srgb
        attributes["COLOR_0"] = srgb_to_linear(np.clip(srgb, 0, 1)).astype(np.float32)
    visual = chunk["visual"]
    material = None
    if visual is not None:
        material = index_of.get(visual.material.name)
        if visual.uv is not None and len(visual.uv) == len(chunk["vertices"]):
            uv = np.asarray(visual.uv, dtype=np.float64)
            attributes["TEXCOORD_0"] = np.column_stack([uv[:, 0], 1 - uv[:, 1]]).astype(np.float32)
    return Surface(
        name=name,
        positions=np.asarray(chunk["vertices"], dtype=np.float64),
        triangles=polygons.reshape(-1)[corners].astype(np.int32),
        attributes=attributes,
        material=material,
    )


def _looks(visuals: list[Any], path: Path, declared: list[str]) -> tuple[Looks, dict[str, int]]:
    """(materials in use, index of each by name). Undeclared ones are stopgaps of the parser."""
    materials: list[dict[str, Any]] = []
    images: dict[str, Image] = {}
    index_of: dict[str, int] = {}
    for visual in visuals:
        material = getattr(visual, "material", None)
        if material is None or material.name not in declared or material.name in index_of:
            continue
        source = None
        if material.image is not None:
            texture = material.image.info["file_path"]
            if texture not in images:
                images[texture] = _texture(path.parent, texture)
            source = list(images).index(texture)
        index_of[material.name] = len(materials)
        materials.append(_material(material, source))
    textures = tuple({"source": index} for index in range(len(images)))
    looks = Looks(materials=tuple(materials), textures=textures, images=tuple(images.values()))
    return looks, index_of


def _texture(folder: Path, name: str) -> Image:
    """A texture that the parser opened: at the place that the MTL names, or beside it."""
    try:
        return read_texture(folder / name)
    except OSError:
        return read_texture(folder / Path(name).name)


def _library(data: bytes, folder: Path) -> tuple[bytes, tuple[str, ...]]:
    """(text of the MTL files, notes about files that are named but not there: the parser ignores them)."""
    names = _names(_LIBRARY, data)
    present = [folder / name for name in names if (folder / name).is_file()]
    library = b"\n".join(path.read_bytes() for path in present)
    notes = [f"the material file {name!r} is missing" for name in names if folder / name not in present]
    notes += [
        f"the texture {name!r} is missing"
        for name in _names(_TEXTURE, library)
        if not (folder / name).is_file() and not (folder / Path(name).name).is_file()
    ]
    return library, tuple(notes)


def _names(pattern: re.Pattern[bytes], text: bytes) -> list[str]:
    """The distinct names that `pattern` finds, in order."""
    return list(dict.fromkeys(name.decode("utf-8", "replace").strip() for name in pattern.findall(text)))


def _material(material: Any, texture: int | None) -> dict[str, Any]:
    """A glTF material with the diffuse colour or texture, the opacity and the name of an MTL one."""
    color = [float(channel) / 255 for channel in material.diffuse[:3]]
    alpha = float(material.kwargs.get("d", [1.0])[0])
    metallic: dict[str, Any] = {"metallicFactor": 0.0, "roughnessFactor": 0.8}
    if texture is not None:
        # Exporters write any Kd beside a texture; readers let the texture replace it.
        color = [1.0, 1.0, 1.0]
        metallic["baseColorTexture"] = {"index": texture}
    metallic["baseColorFactor"] = [*color, alpha]
    result = {"name": material.name, "pbrMetallicRoughness": metallic, "doubleSided": True}
    return result | ({"alphaMode": "BLEND"} if alpha < 1 else {})


def _with_absolute_indices(data: bytes) -> bytes:
    """Rewrite relative face indices: the parser counts them from the file's end, OBJ from the line."""
    counts = {b"v": 0, b"vt": 0, b"vn": 0}
    order = (b"v", b"vt", b"vn")
    lines = data.replace(b"\\\n", b"").splitlines()
    for number, line in enumerate(lines):
        keyword, _, rest = line.strip().partition(b" ")
        if keyword in counts:
            counts[keyword] += 1
        elif keyword == b"f" and b"-" in rest:
            corners = [
                b"/".join(
                    b"%d" % (int(word) + 1 + counts[kind]) if word.startswith(b"-") else word
                    for word, kind in zip(corner.split(b"/"), order, strict=False)
                )
                for corner in rest.split()
            ]
            lines[number] = b"f " + b" ".join(corners)
    return b"\n".join(lines)
