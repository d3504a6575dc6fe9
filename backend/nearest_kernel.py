# SPDX-License-Identifier: GPL-3.0-or-later
"""Nearest places by kernels of a graphics card: exact, in double precision, without a tree."""

from __future__ import annotations

import torch
from torch import Tensor

from .kernels import tested, tl, triton

MOST = 3
"""So many are found at most."""

_BLOCK = 32
"""Places that are left out together, and queries that a program answers together."""

_GROUP = 64
"""Places of which at first only the nearest one counts."""


def works(device: str) -> bool:
    """Whether the kernel can be compiled here and finds what comparing all pairs does."""
    return tested("nearest places", _finds_all, device)


def nearest_few(places: Tensor, queries: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Squared distances float64 and indices int64 [Q, count] of the nearest of places [S, D] to each of
    queries [Q, D], both float64, nearest first; count <= MOST, count <= S.

    Blocks of places that are farther from all queries of a block than what was found are left out. The closer
    to each other the places and queries lie that follow each other, the more these are.
    """
    squared = torch.empty(len(queries), count, dtype=torch.float64, device=places.device)
    index = torch.empty(len(queries), count, dtype=torch.int64, device=places.device)
    if len(queries) == 0:
        return squared, index
    (low, high), (own_low, own_high) = _boxes(places), _boxes(queries)
    _nearest[(own_low.shape[1],)](
        places.T.contiguous(), queries.T.contiguous(), low, high, own_low, own_high, squared, index,
        len(places), len(queries), low.shape[1],
        AXES=places.shape[1], COUNT=count, BLOCK=_BLOCK, num_warps=1, enable_fp_fusion=False,
    )  # fmt: skip
    return squared, index


def nearest_many(places: Tensor, queries: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """`nearest_few` of any number, count <= S. Those lie in as many groups of places, the ones whose nearest
    place is nearest; only within them is anything sorted."""
    groups = triton.cdiv(len(places), _GROUP)
    where, asked = places.T.contiguous(), queries.T.contiguous()
    least = torch.empty(len(queries), groups, dtype=torch.float64, device=places.device)
    if least.numel():
        _least_of_groups[(groups, triton.cdiv(len(queries), _BLOCK))](
            where, asked, least, len(places), len(queries), groups,
            AXES=places.shape[1], BLOCK=_BLOCK, GROUP=_GROUP, num_warps=1, enable_fp_fusion=False,
        )  # fmt: skip
    nearest = least.topk(min(count, groups), dim=1, largest=False, sorted=False).indices
    which = (nearest[:, :, None] * _GROUP + torch.arange(_GROUP, device=places.device)).flatten(1)
    rows = which.clamp(max=len(places) - 1)
    total = torch.zeros(rows.shape, dtype=torch.float64, device=places.device)
    for own, theirs in zip(asked, where, strict=True):
        total += (own[:, None] - theirs[rows]).square_()
    squared, at = total.masked_fill_(which >= len(places), torch.inf).topk(count, dim=1, largest=False)
    return squared, which.gather(1, at)


def _boxes(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Around each block of rows [N, D], N > 0: lowest and highest, [D, ceil(N / _BLOCK)]."""
    missing = -len(rows) % _BLOCK
    filled = torch.cat([rows, rows[-1:].expand(missing, -1)]) if missing else rows
    low, high = filled.view(-1, _BLOCK, rows.shape[1]).aminmax(dim=1)
    return low.T.contiguous(), high.T.contiguous()


def _finds_all(device: str) -> bool:
    generator = torch.Generator().manual_seed(0)
    places, queries = (
        torch.rand(rows, 3, generator=generator, dtype=torch.float64).to(device) for rows in (100, 70)
    )
    expected = (queries[:, None] - places).square().sum(dim=2).topk(MOST, dim=1, largest=False)
    squared, index = nearest_few(places, queries, MOST)
    single, many = nearest_few(places, queries, 1)[1], nearest_many(places, queries, MOST)[1]
    return (
        torch.equal(index, expected.indices)
        and torch.equal(many, expected.indices)
        and torch.equal(single, index[:, :1])
        and torch.allclose(squared, expected.values, rtol=1e-12)
    )


if triton is not None:

    @triton.jit(do_not_specialize=["count", "asked", "blocks"])
    def _nearest(  # type: ignore[no-untyped-def]
        places, queries, low, high, own_low, own_high, squared, index, count, asked, blocks,
        AXES: tl.constexpr, COUNT: tl.constexpr, BLOCK: tl.constexpr,
    ):  # fmt: skip
        """A program for each block of queries, one for each lane. Blocks of places come by how far they are
        along the order from where the queries are: the nearest ones early."""
        own, programs = tl.program_id(0), tl.num_programs(0)
        middle = (own.to(tl.int64) * blocks // programs).to(tl.int32)  # the product can exceed 32 bits
        row = tl.minimum(own * BLOCK + tl.arange(0, BLOCK), asked - 1)
        first = tl.full([BLOCK], float("inf"), tl.float64)
        second, third, farthest = first, first, first
        at_first = tl.zeros([BLOCK], tl.int32)
        at_second, at_third = at_first, at_first
        for turn in range(0, blocks):
            away = (turn + 1) // 2
            block = (middle + tl.where(turn % 2 == 1, away, blocks - away)) % blocks
            between = 0.0
            for axis in tl.static_range(AXES):
                above = tl.load(low + axis * blocks + block) - tl.load(own_high + axis * programs + own)
                below = tl.load(own_low + axis * programs + own) - tl.load(high + axis * blocks + block)
                gap = tl.maximum(tl.maximum(above, below), 0.0)
                between += gap * gap
            if between < tl.max(farthest, axis=0):
                for place in range(block * BLOCK, tl.minimum(block * BLOCK + BLOCK, count)):
                    total = tl.zeros([BLOCK], tl.float64)
                    for axis in tl.static_range(AXES):
                        step = tl.load(queries + axis * asked + row) - tl.load(places + axis * count + place)
                        total += step * step
                    before_first, before_second = total < first, total < second
                    if COUNT > 2:
                        at_third = tl.where(total < third, place, at_third)
                        at_third = tl.where(before_second, at_second, at_third)
                        third = tl.where(before_second, second, tl.minimum(total, third))
                    if COUNT > 1:
                        at_second = tl.where(before_second, place, at_second)
                        at_second = tl.where(before_first, at_first, at_second)
                        second = tl.where(before_first, first, tl.minimum(total, second))
                    at_first = tl.where(before_first, place, at_first)
                    first = tl.minimum(total, first)
                farthest = first
                if COUNT == 2:
                    farthest = second
                if COUNT == 3:
                    farthest = third
        tl.store(squared + row * COUNT, first)
        tl.store(index + row * COUNT, at_first.to(tl.int64))
        if COUNT > 1:
            tl.store(squared + row * COUNT + 1, second)
            tl.store(index + row * COUNT + 1, at_second.to(tl.int64))
        if COUNT > 2:
            tl.store(squared + row * COUNT + 2, third)
            tl.store(index + row * COUNT + 2, at_third.to(tl.int64))

    @triton.jit(do_not_specialize=["count", "asked", "groups"])
    def _least_of_groups(  # type: ignore[no-untyped-def]
        places, queries, least, count, asked, groups,
        AXES: tl.constexpr, BLOCK: tl.constexpr, GROUP: tl.constexpr,
    ):  # fmt: skip
        """The smallest squared distance of each query to a group of places; a program for each block of
        queries and each group."""
        group = tl.program_id(0)
        row = tl.minimum(tl.program_id(1) * BLOCK + tl.arange(0, BLOCK), asked - 1)
        lowest = tl.full([BLOCK], float("inf"), tl.float64)
        for place in range(group * GROUP, tl.minimum(group * GROUP + GROUP, count)):
            total = tl.zeros([BLOCK], tl.float64)
            for axis in tl.static_range(AXES):
                step = tl.load(queries + axis * asked + row) - tl.load(places + axis * count + place)
                total += step * step
            lowest = tl.minimum(lowest, total)
        tl.store(least + row.to(tl.int64) * groups + group, lowest)
