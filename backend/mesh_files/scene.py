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
from ..geometry.mesh import FloatArray
from .color_space import linear_to_srgb
from .scene_graph import SceneGraph
from .surface import Looks, Surface
from .surface_colors import face_colors


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
    a file without faces. `graph` is what a glTF scene holds beside its meshes, None where it holds no more.
    """

    surfaces: tuple[Surface, ...]
    looks: Looks = field(default_factory=Looks)
    notes: tuple[str, ...] = ()
    asset: Mapping[str, Any] = field(default_factory=dict)
    cloud: PointCloud | None = None
    graph: SceneGraph | None = None

    @property
    def face_offsets(self) -> NDArray[np.int64]:
        """int64 [S + 1]: surface s owns the faces face_offsets[s]:face_offsets[s + 1]."""
        counts = [len(surface.triangles) for surface in self.surfaces]
        return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])

    @cached_property
    def mesh(self) -> Mesh:
        """All surfaces as one triangle mesh, with the colour of each face where any is known."""
        vertex_counts = [len(surface.positions) for surface in self.surfaces]
        starts = np.concatenate([[0], np.cumsum(vertex_counts)])
        return Mesh(
            np.concatenate([surface.positions for surface in self.surfaces]),
            np.concatenate(
                [surface.triangles + start for surface, start in zip(self.surfaces, starts, strict=False)]
            ),
            face_colors(self.surfaces, self.looks),
        )
