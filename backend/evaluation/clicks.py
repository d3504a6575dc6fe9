# SPDX-License-Identifier: GPL-3.0-or-later
"""Simulated clicks: where a person would click to get, or to correct, a mask.

The depth of a point in a region is its distance to the nearest point outside. The first click goes to the
deepest point of the part; every further click to the deepest point of the larger error region
(missed or wrongly taken points, by count). Training uses the same definition over fewer candidates.
"""

from __future__ import annotations

import torch
from torch import Tensor

DEFAULT_CANDIDATES = 512
"""Regions of at most this many points are searched exactly, larger ones over as many of their points."""

_CHUNK_ELEMENTS = 1 << 22
"""Distances held at once (16 MiB in float32)."""


def deepest_points(
    points: Tensor, regions: Tensor, *, generator: torch.Generator, candidates: int = DEFAULT_CANDIDATES
) -> Tensor:
    """Index of the deepest point of each region.

    points: float [N, 3]
    regions: bool [M, N], none of them empty
    generator: on the points' device; draws the candidates of regions with more than `candidates` points
    Returns int64 [M]. A region that leaves no point outside has no depth; any of its points is returned.
    """
    draw = torch.rand(regions.shape, device=points.device, generator=generator)
    draw = torch.where(regions, draw, -1.0)
    count = min(candidates, int(regions.sum(dim=1).max()))
    keys, chosen = draw.topk(count, dim=1)  # [M, K]; entries outside of the region have key -1
    # Ascending indices: equal depths are then decided by the points' order, not by the draw.
    chosen, order = chosen.sort(dim=1)
    valid = keys.gather(1, order) >= 0
    depth = torch.full(chosen.shape, -1.0, device=points.device)
    depth[valid] = _squared_depth(points, chosen[valid], valid.nonzero()[:, 0], regions)
    return chosen.gather(1, depth.argmax(dim=1, keepdim=True)).squeeze(1)


def random_points(regions: Tensor, generator: torch.Generator, count: int = 1) -> Tensor:
    """Random points of regions bool [M, N], none of them empty: int64 [M], or [M, count] if count > 1.

    Distinct, except in regions of fewer points, which repeat theirs.
    """
    draw = torch.rand(regions.shape, device=regions.device, generator=generator)
    keys, chosen = torch.where(regions, draw, -1.0).topk(min(count, regions.shape[1]), dim=1)
    chosen = torch.where(keys >= 0, chosen, chosen[:, :1])
    return chosen[:, 0] if count == 1 else chosen


def corrective_clicks(
    points: Tensor,
    targets: Tensor,
    masks: Tensor,
    *,
    generator: torch.Generator,
    candidates: int = DEFAULT_CANDIDATES,
) -> tuple[Tensor, Tensor]:
    """The next click for each mask: deepest point of the larger error region.

    points: float [N, 3]; targets, masks: bool [M, N], wanted and present
    Returns int64 [M] point indices and int64 [M] labels (1 positive, 0 negative). A perfect mask gets a
    positive click in the middle of its target. On equal counts the missed region wins.
    """
    missed, extra = targets & ~masks, masks & ~targets
    positive = missed.sum(dim=1) >= extra.sum(dim=1)
    regions = torch.where(positive[:, None], missed, extra)
    perfect = ~regions.any(dim=1)
    regions = torch.where(perfect[:, None], targets, regions)
    index = deepest_points(points, regions, generator=generator, candidates=candidates)
    return index, positive.long()


def mask_ious(masks: Tensor, targets: Tensor) -> Tensor:
    """IoU of bool masks [..., N] with targets [..., N]; 0 where both are empty. float32 [...]."""
    shared = (masks & targets).sum(dim=-1)
    union = (masks | targets).sum(dim=-1)
    return shared / union.clamp(min=1)


def _squared_depth(points: Tensor, chosen: Tensor, row: Tensor, regions: Tensor) -> Tensor:
    """Squared distance from points[chosen] [K] to the nearest point outside regions[row] [K], float [K]."""
    nearest = []
    step = max(1, _CHUNK_ELEMENTS // len(points))
    for index, region in zip(chosen.split(step), row.split(step), strict=True):
        start = points[index]
        distance = (start[:, None, 0] - points[:, 0]).square_()
        for axis in (1, 2):
            distance += (start[:, None, axis] - points[:, axis]).square_()
        nearest.append(distance.masked_fill_(regions[region], torch.inf).amin(dim=1))
    return torch.cat(nearest)
