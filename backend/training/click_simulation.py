# SPDX-License-Identifier: GPL-3.0-or-later
"""Simulated clicks during training: many masks at once, at fixed shapes, without waiting for the device.

The definition is that of the evaluation: the depth of a point in a region is its distance to the
nearest point outside; the first click goes to the middle of the part or anywhere in it, as people
click, every further one to the deepest point of the larger error region. The search is cheaper: a few
dozen random candidates of the region, and distances to a random subset of the points outside.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..network.interpolation import squared_distances


@dataclass(frozen=True)
class ClickConfig:
    """How thorough the search is, and how exact the clicks are.

    candidates: random points of a region that are compared
    others: points of the shape against which their depth is measured
    random: share of the corrections that go to a random candidate instead of the deepest
    random_first: the same for first clicks. People do not click into the middle, and segment-every-part
        asks at points that are spread evenly.
    """

    candidates: int = 32
    others: int = 1024
    random: float = 0.1
    random_first: float = 0.6


def first_clicks(points: Tensor, targets: Tensor, config: ClickConfig) -> Tensor:
    """A click on each part: near its middle, or anywhere.

    points: float32 [B, N, 3]; targets: bool [B, M, N]
    Returns int64 [B, M] indices into the points. An empty target gets an arbitrary point.
    """
    return deep_points(points, targets, config, random=config.random_first)


def clicks_anywhere(targets: Tensor, count: int) -> Tensor:
    """`count` random points of each part: int64 [B, M, count], for targets bool [B, M, N]."""
    return _random_members(targets, count)[0]


def corrective_clicks(
    points: Tensor, targets: Tensor, masks: Tensor, config: ClickConfig
) -> tuple[Tensor, Tensor]:
    """The next click for each mask, in the larger of its two error regions (by count).

    points: float32 [B, N, 3]; targets, masks: bool [B, M, N], wanted and present
    Returns int64 [B, M] point indices and int64 [B, M] labels (1 positive: a missed point; 0 negative:
    a wrongly taken one). A perfect mask gets a positive click inside its target.
    """
    missed, extra = targets & ~masks, masks & ~targets
    missed_count, extra_count = missed.sum(dim=2), extra.sum(dim=2)
    positive = missed_count >= extra_count
    regions = torch.where(positive[..., None], missed, extra)
    perfect = (missed_count + extra_count) == 0
    regions = torch.where(perfect[..., None], targets, regions)
    return deep_points(points, regions, config, random=config.random), positive.long()


def deep_points(points: Tensor, regions: Tensor, config: ClickConfig, *, random: float) -> Tensor:
    """Index of a deep point of each region: int64 [B, M], for points [B, N, 3] and regions bool [B, M, N].

    random: share of the regions of which any point is taken instead

    Candidates are the first of the region behind random starting points in a random order of all
    points; depth is the distance to the nearest sampled point that is not in the region.
    """
    candidates, inside = _random_members(regions, config.candidates)  # [B, M, K]
    others = _random_rows(points.shape[0], points.shape[1], config.others, points.device)  # [B, R]
    other_points = points.gather(1, others[..., None].expand(-1, -1, 3))
    sets = regions.shape[1]
    other_inside = regions.gather(2, others[:, None].expand(-1, sets, -1))  # [B, M, R]
    flat = candidates.flatten(1)
    start = points.gather(1, flat[..., None].expand(-1, -1, 3))  # [B, M * K, 3]
    distance = squared_distances(start, other_points)
    distance = distance.view(*candidates.shape, -1).masked_fill(other_inside[:, :, None], torch.inf)
    depth = torch.where(inside, distance.amin(dim=3), -1.0)
    draw = torch.rand(regions.shape[:2], device=points.device)[..., None] < random
    # Candidate 0 is a random member: for those clicks it outranks every depth.
    first = torch.arange(candidates.shape[2], device=points.device) == 0
    depth = torch.where(draw & first & inside, torch.inf, depth)
    best = depth.argmax(dim=2, keepdim=True)
    return candidates.gather(2, best).squeeze(2)


def _random_members(regions: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """`count` random members of each region, with repetition: int64 and validity bool [B, M, count].

    The r-th member is found by binary search in the running count of members; an empty region gives
    an arbitrary index and False.
    """
    running = regions.cumsum(dim=2, dtype=torch.int32)
    total = running[..., -1:]
    draw = torch.rand((*regions.shape[:2], count), device=regions.device)
    rank = torch.minimum((draw * total).int(), total - 1).clamp(min=0) + 1
    index = torch.searchsorted(running, rank).clamp(max=regions.shape[2] - 1)
    return index, (total > 0).expand_as(index)


def _random_rows(batch: int, total: int, count: int, device: torch.device) -> Tensor:
    """min(count, total) different random indices below `total` per batch entry, int64 [B, R]."""
    return torch.rand(batch, total, device=device).topk(min(count, total), dim=1).indices
