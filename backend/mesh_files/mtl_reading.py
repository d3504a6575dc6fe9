# SPDX-License-Identifier: GPL-3.0-or-later
"""MTL material libraries to glTF materials, with the maps for physically based shading that they may have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .file_names import find_beside
from .image_files import check_picture, is_grey, packed_maps, read_texture, with_opacity
from .obj_parsing import as_text, distinct
from .surface import Image, Looks

_OPTION_VALUES = {
    b"-blendu": 1, b"-blendv": 1, b"-boost": 1, b"-bm": 1, b"-cc": 1, b"-clamp": 1, b"-imfchan": 1,
    b"-mm": 2, b"-o": 3, b"-s": 3, b"-t": 3, b"-texres": 1, b"-type": 1, b"-colorspace": 1,
}  # fmt: skip
"""Options before the name of a map, and how many values each has at most."""

_SPELLINGS = {
    b"bump": b"map_bump",
    b"norm": b"norm",
    b"map_norm": b"norm",
    b"map_kn": b"norm",
    b"map_ns": b"",
    b"map_tr": b"map_d",
}
_KEPT_AS_THEY_ARE = (b"map_kd", b"map_ke")
_CLAMP = 33071

Statements = dict[bytes, list[bytes]]
"""keyword in lower case -> the words behind it"""


class MaterialLibrary:
    """The materials of all MTL files that an OBJ file names, as glTF describes them, built on demand."""

    def __init__(self, folder: Path, libraries: Sequence[bytes]) -> None:
        self._folder = folder
        self.notes: list[str] = []
        self._declared: dict[bytes, Statements] = {}
        self._numbers: dict[bytes, int] = {}
        self._materials: list[dict[str, Any]] = []
        self._textures: list[dict[str, Any]] = []
        self._images: dict[object, tuple[int, Image]] = {}
        for path in self._paths(libraries):
            for name, statements in _statements(path.read_bytes()).items():
                self._declared.setdefault(name, statements)

    def number(self, name: bytes) -> int | None:
        """Index of a material in `looks`; one that no library declares is grey and keeps its name."""
        if not name:
            return None
        if name not in self._numbers:
            self._numbers[name] = len(self._materials)
            declared = self._declared.get(name) or self._of_any_case(name)
            material = _STOPGAP if declared is None else self._material(declared)
            self._materials.append({"name": as_text(name), **material})
        return self._numbers[name]

    def looks(self) -> Looks:
        """All that was asked for."""
        used = {name for material in self._materials for name in _extensions(material)}
        return Looks(
            materials=tuple(self._materials),
            textures=tuple(self._textures),
            samplers=({"wrapS": _CLAMP, "wrapT": _CLAMP},)
            if any("sampler" in t for t in self._textures)
            else (),
            images=tuple(image for _, image in self._images.values()),
            extensions_used=tuple(sorted(used)),
        )

    def _paths(self, libraries: Sequence[bytes]) -> list[Path]:
        paths = []
        for line in distinct(libraries):
            whole = find_beside(self._folder, as_text(line))
            names = [line] if whole else [word + b".mtl" for word in line.split(b".mtl") if word.strip()]
            for name in [line] if len(names) < 2 else names:
                path = whole or find_beside(self._folder, as_text(name))
                if path is None:
                    self.notes.append(f"the material file {as_text(name.strip())!r} is missing")
                else:
                    paths.append(path)
        return list(dict.fromkeys(paths))

    def _of_any_case(self, name: bytes) -> Statements | None:
        return next((s for other, s in self._declared.items() if other.lower() == name.lower()), None)

    def _material(self, said: Statements) -> dict[str, Any]:
        color, alpha = _floats(said, b"kd", [0.8, 0.8, 0.8]), _opacity(said)
        base = self._base_color_slot(said)
        if base is not None:
            # Exporters write any Kd beside a texture; readers let the texture replace it.
            color = [1.0, 1.0, 1.0]
        shading: dict[str, Any] = {
            "baseColorFactor": [*(min(max(channel, 0.0), 1.0) for channel in (color * 3)[:3]), alpha],
            "metallicFactor": min(_floats(said, b"pm", [0.0])[0], 1.0),
            "roughnessFactor": min(_floats(said, b"pr", [0.8])[0], 1.0),
        }
        if base is not None:
            shading["baseColorTexture"] = base
        shading |= self._metal_and_roughness(said)
        material: dict[str, Any] = {"pbrMetallicRoughness": shading, "doubleSided": True}
        if alpha < 1 or b"map_d" in said:
            material["alphaMode"] = "BLEND"
        return material | self._emission(said) | self._normals(said)

    def _base_color_slot(self, said: Statements) -> dict[str, Any] | None:
        color = self._picture(said, b"map_kd")
        opacity = self._picture(said, b"map_d")
        if opacity is None:
            return self._slot(said, b"map_kd", color)
        key = ("opacity", color and color.name, opacity.name)
        return self._slot(said, b"map_kd" if color else b"map_d", with_opacity(color, opacity), key=key)

    def _metal_and_roughness(self, said: Statements) -> dict[str, Any]:
        roughness, metal = self._picture(said, b"map_pr"), self._picture(said, b"map_pm")
        if roughness is None and metal is None:
            return {}
        key = ("packed", roughness and roughness.name, metal and metal.name)
        kind = b"map_pr" if roughness else b"map_pm"
        result: dict[str, Any] = {}
        slot = self._slot(said, kind, packed_maps(roughness=roughness, metal=metal), key=key)
        if roughness is not None:
            result["roughnessFactor"] = 1.0
        if metal is not None:
            result["metallicFactor"] = 1.0
        return result | {"metallicRoughnessTexture": slot}

    def _emission(self, said: Statements) -> dict[str, Any]:
        factor = (_floats(said, b"ke", [0.0, 0.0, 0.0]) * 3)[:3]
        slot = self._slot(said, b"map_ke", self._picture(said, b"map_ke"))
        if slot is not None and max(factor) <= 0:
            factor = [1.0, 1.0, 1.0]
        if max(factor) <= 0:
            return {}
        strength = max(1.0, *factor)
        result: dict[str, Any] = {"emissiveFactor": [max(value, 0.0) / strength for value in factor]}
        if strength > 1:
            result["extensions"] = {"KHR_materials_emissive_strength": {"emissiveStrength": strength}}
        return result | ({} if slot is None else {"emissiveTexture": slot})

    def _normals(self, said: Statements) -> dict[str, Any]:
        kind = b"norm" if b"norm" in said else b"map_bump"
        picture = self._picture(said, kind)
        if picture is None:
            return {}
        if is_grey(picture):
            self.notes.append(f"the bump map {picture.name!r} shows heights, not normals, and is not written")
            return {}
        slot = self._slot(said, kind, picture) or {}
        options, _ = _map_words(said[kind])
        return {"normalTexture": slot | ({"scale": options[b"-bm"][0]} if options.get(b"-bm") else {})}

    def _picture(self, said: Statements, kind: bytes) -> Image | None:
        if kind not in said:
            return None
        name = as_text(_map_words(said[kind])[1])
        path = find_beside(self._folder, name)
        try:
            if path is not None:
                picture = read_texture(path)
                if kind not in _KEPT_AS_THEY_ARE or b"map_d" in said:
                    check_picture(picture)
                return picture
        except OSError:
            pass
        note = f"the texture {name!r} is missing" if path is None else f"the texture {name!r} cannot be read"
        if note not in self.notes:
            self.notes.append(note)
        return None

    def _slot(
        self, said: Statements, kind: bytes, picture: Image | None, *, key: object = None
    ) -> dict[str, Any] | None:
        """A reference to a texture, with the map's scale and offset."""
        if picture is None:
            return None
        options, name = _map_words(said[kind])
        if (key or name) not in self._images:
            self._images[key or name] = (len(self._images), picture)
        texture = {"source": self._images[key or name][0]} | ({"sampler": 0} if b"-clamp" in options else {})
        if texture not in self._textures:
            self._textures.append(texture)
        slot: dict[str, Any] = {"index": self._textures.index(texture)}
        scale = (
            (*options.get(b"-s", []), 1.0, 1.0)[:2] if len(options.get(b"-s", [])) < 2 else options[b"-s"][:2]
        )
        offset = (*options.get(b"-o", []), 0.0, 0.0)[:2]
        if tuple(scale) != (1.0, 1.0) or tuple(offset) != (0.0, 0.0):
            # MTL counts v upwards, glTF downwards.
            placed = {"scale": list(scale), "offset": [offset[0], 1.0 - scale[1] - offset[1]]}
            slot["extensions"] = {"KHR_texture_transform": placed}
        return slot


_STOPGAP = {
    "pbrMetallicRoughness": {
        "baseColorFactor": [0.527115, 0.527115, 0.527115, 1.0],
        "metallicFactor": 0.0,
        "roughnessFactor": 0.8,
    },
    "doubleSided": True,
}
"""A material that is named and not described: the neutral grey of surfaces without colour, linear."""


def _statements(data: bytes) -> dict[bytes, Statements]:
    """What an MTL file says of each material."""
    found: dict[bytes, Statements] = {}
    current: Statements = {}
    for line in data.removeprefix(b"\xef\xbb\xbf").splitlines():
        words = line.strip().split(None, 1)
        if len(words) < 2 or words[0].startswith(b"#"):
            continue
        keyword = _SPELLINGS.get(words[0].lower(), words[0].lower())
        if keyword == b"newmtl":
            current = found.setdefault(words[1].strip(), {})
        else:
            current[keyword] = (
                words[1].split(b" ") if keyword.startswith((b"map_", b"norm")) else words[1].split()
            )
    return found


def _map_words(words: list[bytes]) -> tuple[dict[bytes, list[float]], bytes]:
    """(options with their numbers, name of the file, which may contain spaces)."""
    options: dict[bytes, list[float]] = {}
    words = [word for word in words if word]
    while words and words[0].lower() in _OPTION_VALUES:
        option, words = words[0].lower(), words[1:]
        if option == b"-clamp" and words[:1] == [b"off"]:
            words = words[1:]
            continue
        values: list[float] = []
        for _ in range(_OPTION_VALUES[option]):
            number = _number(words[0]) if len(words) > 1 else None
            if number is None:
                break
            values, words = [*values, number], words[1:]
        if not values and len(words) > 1:
            words = words[1:]  # a word: `-imfchan m`, `-clamp on`
        options[option] = values
    return options, b" ".join(words)


def _number(word: bytes) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None


def _floats(said: Statements, keyword: bytes, otherwise: list[float]) -> list[float]:
    numbers = [_number(word) for word in said.get(keyword, [])]
    usable = [number for number in numbers if number is not None]
    return usable or otherwise


def _opacity(said: Statements) -> float:
    """`d` is opacity and `Tr` its opposite; where both stand, `d` counts."""
    alpha = _floats(said, b"d", [1.0 - _floats(said, b"tr", [0.0])[0]])[0]
    return min(max(alpha, 0.0), 1.0)


def _extensions(tree: object) -> list[str]:
    """Names of the glTF extensions anywhere in a material."""
    if not isinstance(tree, dict):
        return []
    nested = [name for value in tree.values() for name in _extensions(value)]
    return [*tree.get("extensions", {}), *nested]
