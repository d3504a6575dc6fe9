# SPDX-License-Identifier: GPL-3.0-or-later
"""Simulated clicks: where a person would click to get, or to correct, a mask.

The depth of a point in a region is its distance to the nearest point outside. The first click goes to the
deepest point of the part, or, as people click, anywhere in it; every further one to the deepest point of the
larger error region (missed or wrongly taken points, by count).

The evaluation searches thoroughly (`deepest_points`) and draws from a generator, so that results can be
repeated. Training searches cheaply (`deep_points`): a few dozen random candidates against a random subset of
the points outside, many regions at once, at fixed shapes and without waiting for the device.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .network.interpolation import squared_distances

DEFAULT_CANDIDATES = 512
"""Regions of at most this many points are searched exactly, larger ones over as many of their points."""

_CHUNK_ELEMENTS = 1 << 22
"""Distances held at once (16 MiB in float32)."""


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


def corrective_clicks(
    targets: Tensor, masks: Tensor, deepest: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """The next click for each mask, in the larger of its two error regions (by count).

    targets, masks: bool [..., N], wanted and present
    deepest: finds a deep point, int64 [...], of each of regions bool [..., N]
    Returns int64 [...] point indices and int64 [...] labels (1 positive: a missed point; 0 negative: a
    wrongly taken one). A perfect mask gets a positive click inside its target. On equal counts the missed
    region wins.
    """
    missed, extra = targets & ~masks, masks & ~targets
    missed_count, extra_count = missed.sum(dim=-1), extra.sum(dim=-1)
    positive = missed_count >= extra_count
    regions = torch.where(positive[..., None], missed, extra)
    perfect = (missed_count + extra_count) == 0
    regions = torch.where(perfect[..., None], targets, regions)
    return deepest(regions), positive.long()


def mask_ious(masks: Tensor, targets: Tensor) -> Tensor:
    """IoU of bool masks [..., N] with targets [..., N]; 0 where both are empty. float32 [...]."""
    shared = (masks & targets).sum(dim=-1)
    union = (masks | targets).sum(dim=-1)
    return shared / union.clamp(min=1)


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


def first_clicks(points: Tensor, targets: Tensor, config: ClickConfig) -> Tensor:
    """A click on each part: near its middle, or anywhere.

    points: float32 [B, N, 3]; targets: bool [B, M, N]
    Returns int64 [B, M] indices into the points. An empty target gets an arbitrary point.
    """
    return deep_points(points, targets, config, random=config.random_first)


def clicks_anywhere(targets: Tensor, count: int) -> Tensor:
    """`count` random points of each part: int64 [B, M, count], for targets bool [B, M, N]."""
    return _random_members(targets, count)[0]


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
