# SPDX-License-Identifier: GPL-3.0-or-later
"""Surfaces as all formats are read into, and the looks that they refer to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry.mesh import FloatArray, IntArray
from .scene_graph import Rest


@dataclass(frozen=True)
class Image:
    """A picture as its file holds it. `data` is None where the file that `uri` names was not found."""

    mime_type: str
    data: bytes | None
    name: str = ""
    uri: str = ""


@dataclass(frozen=True)
class Looks:
    """Materials as glTF 2.0 describes them; every format is read into this one form.

    `materials`, `textures` and `samplers` are glTF's JSON objects and refer to each other by index.
    Keeping them verbatim keeps what we do not interpret: extensions, sampler modes, names, extras.
    """

    materials: tuple[dict[str, Any], ...] = ()
    textures: tuple[dict[str, Any], ...] = ()
    samplers: tuple[dict[str, Any], ...] = ()
    images: tuple[Image, ...] = ()
    extensions_used: tuple[str, ...] = ()
    extensions_required: tuple[str, ...] = ()


@dataclass(frozen=True)
class Surface:
    """Triangles that share one material; a glTF primitive placed in the world.

    name: of the node or object that it came from, "" if that has none
    positions: float64 [V, 3], world space
    triangles: int32 [F, 3]
    attributes: glTF semantic (NORMAL, TANGENT, TEXCOORD_0, COLOR_0, ...) -> float32 [V, n]; as in
        glTF, v of texture coordinates points down and vertex colours are linear
    material: index into `Looks.materials`, or None
    extras: what the source's application stored with that node, as JSON
    rest: the same as stored, where a skin, an animation or morph targets can move it
    """

    name: str
    positions: FloatArray
    triangles: IntArray
    attributes: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    material: int | None = None
    extras: Mapping[str, Any] = field(default_factory=dict)
    rest: Rest | None = None
