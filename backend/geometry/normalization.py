# SPDX-License-Identifier: GPL-3.0-or-later
"""The map from the caller's units into the network's cube."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from ..errors import MeshError
from .mesh import FloatArray
from .rows import bounds

CUBE_SIDE = 1.8
"""Longest side of a normalised shape: the published network's input convention."""


@dataclass(frozen=True)
class Normalization:
    """Shift, right-angle turn and uniform scale: network = turn (world - center) scale.

    center: float64 [3], in the caller's units
    scale: network units per caller's unit
    turn: float64 [3, 3], a signed permutation: turned by right angles, perhaps mirrored
    """

    center: FloatArray
    scale: float
    turn: FloatArray = field(default_factory=lambda: np.eye(3))

    @classmethod
    def of_points(cls, points: FloatArray, turn: FloatArray | None = None) -> Normalization:
        """Map the bounding box of `points` [N, 3] to centre 0 and longest side 1.8; not turned if None.

        The published procedure normalises by the mesh's box, samples, and normalises by the points'
        box. Sampling is area-uniform and so does not see the first step: the second alone is the same map.
        """
        low, high = bounds(points)
        extent = float((high - low).max())
        if not np.isfinite(extent) or extent <= 0:
            raise MeshError("the points span no volume; at least two different finite points are needed")
        center = (low.astype(np.float64) + high) / 2
        return cls(center, CUBE_SIDE / extent, np.eye(3) if turn is None else turn)

    def turned(self, turn: FloatArray) -> Normalization:
        """The same cube turned (or mirrored) by a signed permutation [3, 3]."""
        return replace(self, turn=turn @ self.turn)

    def apply(self, points: FloatArray) -> FloatArray:
        """Points [..., 3] of the caller in the network's cube, float32."""
        offsets = np.asarray(points, dtype=np.float64) - self.center
        return (self._along_cube(offsets) * self.scale).astype(np.float32)

    def directions(self, vectors: FloatArray) -> FloatArray:
        """Directions [..., 3] of the caller, such as normals, as they are in the cube."""
        return self._along_cube(np.asarray(vectors))

    def invert(self, cube: FloatArray) -> FloatArray:
        """Places [..., 3] of the cube in the caller's units, float64."""
        offsets = np.asarray(cube, dtype=np.float64)
        places = offsets[..., np.abs(self.turn).argmax(axis=0)] * self.turn.sum(axis=0)
        return places / self.scale + self.center

    def _along_cube(self, vectors: FloatArray) -> FloatArray:
        """Vectors [..., 3] along the cube's axes: columns taken and signed, which rounds nothing."""
        signs = self.turn.sum(axis=1).astype(vectors.dtype)
        turned: FloatArray = vectors[..., np.abs(self.turn).argmax(axis=1)] * signs
        return turned
