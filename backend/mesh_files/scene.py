# SPDX-License-Identifier: GPL-3.0-or-later
"""A mesh file in memory: its surfaces in world space, its looks, and the one mesh that is segmented."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import Mesh
from ..geometry.mesh import FloatArray, IntArray


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
    """

    name: str
    positions: FloatArray
    triangles: IntArray
    attributes: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    material: int | None = None
    extras: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PointCloud:
    """Points without faces: a scan, or the centers of Gaussian splats.

    positions: float64 [N, 3]; normals: float32 [N, 3], or None
    colors: float32 [N, 3] sRGB in [0, 1], or None
    """

    positions: FloatArray
    normals: NDArray[np.float32] | None = None
    colors: NDArray[np.float32] | None = None

    @classmethod
    def of_pieces(
        cls,
        positions: Sequence[FloatArray],
        normals: Sequence[NDArray | None],
        linear_colors: Sequence[NDArray | None],
    ) -> PointCloud:
        """Join pieces; normals and colours stay if every piece has them."""
        from .surface_colors import linear_to_srgb

        def joined(rows: Sequence[NDArray | None]) -> NDArray | None:
            known = [row[:, :3] for row in rows if row is not None]
            return np.concatenate(known).astype(np.float32) if len(known) == len(rows) else None

        colors = joined(linear_colors)
        return cls(
            np.concatenate(list(positions)),
            joined(normals),
            None if colors is None else linear_to_srgb(np.clip(colors, 0, 1)).astype(np.float32),
        )


@dataclass(frozen=True)
class SourceScene:
    """Everything read from a mesh file that is needed to segment it and to write it back.

    Faces are numbered over all surfaces in the file's order: surface 0's triangles, then surface 1's ...
    `notes` are one-line remarks for the user about what could not be read or will not be written.
    `asset` is what glTF's `asset` object says of the author: copyright, extras. `cloud` are the points of
    a file without faces.
    """

    surfaces: tuple[Surface, ...]
    looks: Looks = field(default_factory=Looks)
    notes: tuple[str, ...] = ()
    asset: Mapping[str, Any] = field(default_factory=dict)
    cloud: PointCloud | None = None

    @property
    def face_offsets(self) -> NDArray[np.int64]:
        """int64 [S + 1]: surface s owns the faces face_offsets[s]:face_offsets[s + 1]."""
        counts = [len(surface.triangles) for surface in self.surfaces]
        return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])

    @cached_property
    def mesh(self) -> Mesh:
        """All surfaces as one triangle mesh, with the colour of each face where any is known."""
        from .surface_colors import scene_face_colors

        vertex_counts = [len(surface.positions) for surface in self.surfaces]
        starts = np.concatenate([[0], np.cumsum(vertex_counts)])
        return Mesh(
            np.concatenate([surface.positions for surface in self.surfaces]),
            np.concatenate(
                [surface.triangles + start for surface, start in zip(self.surfaces, starts, strict=False)]
            ),
            scene_face_colors(self),
        )
