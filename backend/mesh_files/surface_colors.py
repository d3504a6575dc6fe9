# SPDX-License-Identifier: GPL-3.0-or-later
"""The colour of each face, from textures, vertex colours and material factors."""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry.mesh import NEUTRAL_GREY
from .color_space import linear_to_srgb, srgb_to_linear
from .surface import Looks, Surface

logger = logging.getLogger(__name__)

_LARGEST_TEXTURE = 2048
"""Textures are averaged down to this side: a face is coloured as a whole, not per texel."""

_BARYCENTRIC = np.array([[1, 1, 1], [4, 1, 1], [1, 4, 1], [1, 1, 4]]) / [[3], [6], [6], [6]]
"""Where a face is sampled: its centroid, and half-way from there to each corner."""

_CLAMP, _MIRROR = 33071, 33648


def face_colors(surfaces: Sequence[Surface], looks: Looks) -> NDArray[np.float32] | None:
    """sRGB colours of the faces of all surfaces in order, float32 [F, 3] in [0, 1].

    Grey where they are unknown; None if that is everywhere.
    """
    pictures: dict[int, NDArray[np.uint8] | None] = {}
    colors = [_surface_colors(surface, looks, pictures) for surface in surfaces]
    if all(color is None for color in colors):
        return None
    filled = [
        np.full((len(surface.triangles), 3), NEUTRAL_GREY, dtype=np.float32) if color is None else color
        for surface, color in zip(surfaces, colors, strict=True)
    ]
    return np.concatenate(filled)


_LINEAR_OF_BYTE = srgb_to_linear(np.arange(256) / 255)
"""All that a texel can be; a table spares millions of powers."""


def _surface_colors(
    surface: Surface, looks: Looks, pictures: dict[int, NDArray[np.uint8] | None]
) -> NDArray[np.float32] | None:
    """Colours [F, 3] of one surface; None if its material says nothing. `pictures` holds decoded images."""
    vertex_colors = surface.attributes.get("COLOR_0")
    if surface.material is None and vertex_colors is None:
        return None
    linear = np.ones((len(surface.triangles), 3))
    if surface.material is not None:
        material = looks.materials[surface.material]
        slot, factor = _base_color(material)
        linear *= factor[:3]
        if slot is not None:
            texels = _texture_colors(surface, looks, slot, pictures)
            if texels is None and vertex_colors is None:
                return None
            linear *= 1.0 if texels is None else texels
    if vertex_colors is not None:
        linear *= vertex_colors[:, :3][surface.triangles].mean(axis=1)
    return linear_to_srgb(np.clip(np.nan_to_num(linear), 0, 1)).astype(np.float32)


def _base_color(material: dict[str, Any]) -> tuple[dict[str, Any] | None, NDArray[np.float64]]:
    """The texture slot and the linear RGBA factor that give a material its colour."""
    glossy = material.get("extensions", {}).get("KHR_materials_pbrSpecularGlossiness")
    if glossy is not None:
        return glossy.get("diffuseTexture"), np.array(glossy.get("diffuseFactor", (1, 1, 1, 1)), float)
    metallic = material.get("pbrMetallicRoughness", {})
    return metallic.get("baseColorTexture"), np.array(metallic.get("baseColorFactor", (1, 1, 1, 1)), float)


def _texture_colors(
    surface: Surface, looks: Looks, slot: dict[str, Any], pictures: dict[int, NDArray[np.uint8] | None]
) -> NDArray[np.float64] | None:
    """Linear colours [F, 3] that a texture slot shows on each face; None if it cannot be looked up."""
    texture = looks.textures[slot["index"]]
    webp = texture.get("extensions", {}).get("EXT_texture_webp", {})
    image = webp.get("source", texture.get("source"))
    transform = slot.get("extensions", {}).get("KHR_texture_transform", {})
    uv = surface.attributes.get(f"TEXCOORD_{transform.get('texCoord', slot.get('texCoord', 0))}")
    if image is None or uv is None:
        return None
    if image not in pictures:
        pictures[image] = _decode(looks.images[image].data)
    picture = pictures[image]
    if picture is None:
        return None
    sampler = looks.samplers[texture["sampler"]] if "sampler" in texture else {}
    corners = _transformed(uv.astype(np.float64), transform)[surface.triangles]
    samples = np.einsum("sc,fcu->fsu", _BARYCENTRIC, corners)
    columns = _texel(samples[..., 0], picture.shape[1], sampler.get("wrapS"))
    rows = _texel(samples[..., 1], picture.shape[0], sampler.get("wrapT"))
    return _LINEAR_OF_BYTE[picture[rows, columns]].mean(axis=1)


def _transformed(uv: NDArray[np.float64], transform: dict[str, Any]) -> NDArray[np.float64]:
    """Texture coordinates [V, 2] under KHR_texture_transform: scale, then rotate, then offset."""
    if not transform:
        return uv
    angle = transform.get("rotation", 0.0)
    rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return (uv * transform.get("scale", (1, 1))) @ rotation.T + transform.get("offset", (0, 0))


def _texel(coordinate: NDArray[np.float64], size: int, wrap: int | None) -> NDArray[np.int64]:
    """Nearest texel index in [0, size) under a glTF wrap mode (repeat unless said otherwise)."""
    coordinate = np.nan_to_num(coordinate, posinf=0, neginf=0)
    if wrap == _CLAMP:
        unit = np.clip(coordinate, 0, 1)
    elif wrap == _MIRROR:
        unit = 1 - np.abs(coordinate % 2 - 1)
    else:
        unit = coordinate % 1
    return np.minimum((unit * size).astype(np.int64), size - 1)


def _decode(data: bytes | None) -> NDArray[np.uint8] | None:
    """RGB pixels [height, width, 3] of an image file; None, with a log entry, if it cannot be decoded."""
    if data is None:
        return None
    import PIL.Image

    try:
        with PIL.Image.open(io.BytesIO(data)) as picture:
            factor = -(-max(picture.size) // _LARGEST_TEXTURE)
            small = picture.convert("RGB")
        return np.asarray(small.reduce(factor) if factor > 1 else small)
    except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError) as error:
        logger.warning("a texture cannot be decoded (%s); its faces are taken as grey", error)
        return None
