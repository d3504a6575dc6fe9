# SPDX-License-Identifier: GPL-3.0-or-later
"""The map from the caller's units into the network's cube."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import MeshError
from .mesh import FloatArray
from .rows import bounds

CUBE_SIDE = 1.8
"""Longest side of a normalised shape: the published network's input convention."""


@dataclass(frozen=True)
class Normalization:
    """Uniform scale and shift: network = (world - center) * scale.

    center: float64 [3], in the caller's units
    scale: network units per caller's unit
    """

    center: FloatArray
    scale: float

    @classmethod
    def of_points(cls, points: FloatArray) -> Normalization:
        """Map the bounding box of `points` [N, 3] to centre 0 and longest side 1.8.

        The published procedure normalises by the mesh's box, samples, and normalises by the points'
        box. Sampling is area-uniform and so does not see the first step: the second alone is the same map.
        """
        low, high = bounds(points)
        extent = float((high - low).max())
        if not np.isfinite(extent) or extent <= 0:
            raise MeshError("the points span no volume; at least two different finite points are needed")
        return cls(center=(low.astype(np.float64) + high) / 2, scale=CUBE_SIDE / extent)

    def apply(self, points: FloatArray) -> FloatArray:
        """Points [..., 3] of the caller in the network's cube, float32."""
        return ((np.asarray(points, dtype=np.float64) - self.center) * self.scale).astype(np.float32)

    def invert(self, cube: FloatArray) -> FloatArray:
        """Places [..., 3] of the cube in the caller's units, float64."""
        return np.asarray(cube, dtype=np.float64) / self.scale + self.center
