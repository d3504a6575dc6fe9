# SPDX-License-Identifier: GPL-3.0-or-later
"""Nearest neighbours as a device likes them: exact, by blocks of places that lie together, without a tree."""

from __future__ import annotations

import torch
from torch import Tensor

from . import nearest_kernel

_BLOCK = 32
_NEAR_BLOCKS = 16
"""So many blocks are looked at first; four times as many for what is not certain then, and so on."""
_AT_ONCE = 1 << 23
"""Pairs compared at once: 64 MiB for each intermediate."""


def nearest_of_ordered(places: Tensor, queries: Tensor) -> Tensor:
    """Index int64 [Q] of the nearest of places [S, D] to each of queries [Q, D], both float64, S > 0.

    The closer to each other the places and queries lie that follow each other, the less is compared; an
    order along a space-filling curve is a good one.
    """
    if nearest_kernel.works(places.device.type):
        return nearest_kernel.nearest_few(places, queries, 1)[1][:, 0]
    blocks = _blocks(places)
    low, high = blocks.amin(dim=1), blocks.amax(dim=1)
    found = torch.zeros(len(queries), dtype=torch.long, device=places.device)
    rows, count = torch.arange(len(queries), device=places.device), _NEAR_BLOCKS
    while len(rows):
        count = min(count, len(blocks))
        asked = _blocks(queries[rows])
        step = max(1, _AT_ONCE // max(_BLOCK * _BLOCK * count, len(blocks)))
        parts = [_among_nearest(part, blocks, low, high, count) for part in asked.split(step)]
        nearest, certain = (torch.cat(tensors).flatten()[: len(rows)] for tensors in zip(*parts, strict=True))
        found[rows] = nearest.clamp(max=len(places) - 1)
        rows = rows[~certain]
        count *= 4
    return found


def _among_nearest(
    queries: Tensor, blocks: Tensor, low: Tensor, high: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    """For queries [G, _BLOCK, D] the nearest place of the `count` blocks that are nearest to all queries of a
    row, int64 [G, _BLOCK], and whether no other block can have a nearer one, bool.

    blocks: [B, _BLOCK, D], from low to high [B, D]
    """
    own_low, own_high = queries.amin(dim=1), queries.amax(dim=1)
    between = queries.new_zeros(len(queries), len(blocks))
    for axis in range(queries.shape[2]):
        gap = torch.maximum(
            low[:, axis] - own_high[:, None, axis], own_low[:, None, axis] - high[:, axis]
        ).clamp_(min=0)
        between += gap.square_()
    distance, near = between.topk(min(count + 1, len(blocks)), dim=1, largest=False)
    near = near[:, :count]
    total: Tensor | None = None
    for axis in range(queries.shape[2]):
        theirs = blocks[:, :, axis][near].flatten(1)  # [G, count * _BLOCK]
        step = (queries[:, :, None, axis] - theirs[:, None]).square_()
        total = step if total is None else total.add_(step)
    assert total is not None
    squared, which = total.min(dim=2)
    nearest = near.gather(1, which // _BLOCK) * _BLOCK + which % _BLOCK
    if count == len(blocks):
        return nearest, torch.ones_like(squared, dtype=torch.bool)
    return nearest, squared <= distance[:, count:]


def _blocks(rows: Tensor) -> Tensor:
    """Rows [N, D] as [ceil(N / _BLOCK), _BLOCK, D]; the last one repeats where there are too few."""
    count = -(-len(rows) // _BLOCK) * _BLOCK
    index = torch.arange(count, device=rows.device).clamp_(max=len(rows) - 1)
    return rows[index].view(-1, _BLOCK, rows.shape[1])
