# SPDX-License-Identifier: GPL-3.0-or-later
"""A click in each crease region, with the region's size: the network is asked about what creases bound.

What the network makes of it is its own mask, which may differ from the region, or be none worth keeping.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .encoded_shape import EncodedShape

_DEPTH_OF = 16
"""Points of a region of which the deepest is clicked."""
_BESIDE = 3072
"""Points of the shape that depth is measured from."""


@dataclass(frozen=True)
class RegionClicks:
    """Prompts about R regions.

    clicks: float32 [R, 3], in the network's cube; sizes: float32 [R], shares of the surface
    members: bool [R, N], which points of the shape each region holds
    """

    clicks: Tensor
    sizes: Tensor
    members: Tensor

    def __len__(self) -> int:
        return len(self.sizes)


def region_clicks(shape: EncodedShape, most: int) -> RegionClicks | None:
    """A click in each of the `most` most salient regions that have points; None without regions."""
    regions = shape.regions
    if regions is None:
        return None
    points = shape.point_locations.points[0]
    members = regions.inside[:most, regions.of_points[0]]
    held = members.sum(dim=1)
    asked = ((held > 0) & (held < len(points))).nonzero()[:, 0]
    if not len(asked):
        return None
    members = members[asked]
    deepest = _deepest(points, members)
    return RegionClicks(points[deepest], regions.areas[asked], members)


def _deepest(points: Tensor, members: Tensor) -> Tensor:
    """Of the first few points of each region the one that is farthest from what lies outside, int64 [R]."""
    count = len(points)
    # Points come in random order, so that the first ones of a region are spread over it.
    turn = members * torch.arange(count, 0, -1, dtype=torch.int32, device=points.device)
    first = turn.topk(min(_DEPTH_OF, count), dim=1)
    beside = slice(0, _BESIDE)
    distances = torch.cdist(points[first.indices], points[None, beside])  # [R, few, beside]
    outside = ~members[:, None, beside]
    depth = torch.where(outside, distances, torch.inf).amin(dim=2)
    best = torch.where(first.values > 0, depth, -1.0).argmax(dim=1)
    return first.indices.gather(1, best[:, None])[:, 0]
