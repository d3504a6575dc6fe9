# SPDX-License-Identifier: GPL-3.0-or-later
"""Farthest point sampling: the same choice on every device.

All ways compute float32 differences, squares and sums in the same order and without fused operations, and
of equally far points take the first.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..kernels import tested, tl, triton

_ALONE, _SHARED = (4096, 32), (2048, 16)
"""Points that one step of the kernel compares, and warps that do (four points for each thread), where one
program has a set for itself and where several share it."""

_MOST_PARTS = 16
"""Programs that share a set of points, each on a processor of its own. More have less to do each, but wait
longer for each other: 2,000 of 100,000 points on an H200 43 ms by one, 9.5 by 8, 6.4 by 16, 8.6 by 32."""


def farthest_point_sampling(
    points: NDArray[np.float32], count: int, *, device: str = "cpu"
) -> NDArray[np.int64]:
    """Indices int64 [count] of points [N, D], each farthest from those before it; starts at point 0.

    Of equally far points the first is taken. Where `count` exceeds the points, indices repeat from the start.
    device: where to look for them, if kernels run there; else the CPU, to which 512 of 16,384 points are
        10 ms: less than another device needs to be asked 512 times
    """
    distinct = min(count, len(points))
    axes = np.ascontiguousarray(np.asarray(points, dtype=np.float32).T)
    if kernel_works(device):
        chosen = _by_kernel(torch.from_numpy(axes).to(device)[None], distinct)[0].cpu().numpy()
    else:
        chosen = _on_cpu(axes, distinct)
    return np.resize(chosen, count)


def farthest_points(points: Tensor, count: int) -> Tensor:
    """The same for each of B sets of points [B, N, D], on their device: int64 [B, count], count <= N."""
    if kernel_works(points.device.type):
        return _by_kernel(points.float().transpose(1, 2).contiguous(), count)
    batch, total, _ = points.shape
    chosen = torch.zeros(batch, count, dtype=torch.long, device=points.device)
    distance = torch.full((batch, total), torch.inf, device=points.device)
    rows = torch.arange(batch, device=points.device)
    for i in range(1, count):
        last = points[rows, chosen[:, i - 1]].unsqueeze(1)
        distance = torch.minimum(distance, (points - last).square().sum(dim=2))
        chosen[:, i] = distance.argmax(dim=1)
    return chosen


def kernel_works(device: str) -> bool:
    """Whether the kernel can be compiled here and chooses as the CPU does: it takes a C compiler, too."""
    return tested("farthest points", _one_chooses_as_the_cpu, device)


def _parts_work(device: str) -> bool:
    """Whether several programs can share a set: they must all run at once."""
    return tested("farthest points by several programs", _several_choose_as_the_cpu, device)


def _one_chooses_as_the_cpu(device: str, *, parts: int = 1) -> bool:
    axes = np.random.default_rng(0).normal(size=(6, 9000)).astype(np.float32)
    found = _launched(torch.from_numpy(axes).to(device)[None], 64, parts)[0].cpu().numpy()
    return np.array_equal(found, _on_cpu(axes, 64))


def _several_choose_as_the_cpu(device: str) -> bool:
    return _one_chooses_as_the_cpu(device, parts=4)


def _on_cpu(axes: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """axes: [D, N]; a column at a time."""
    chosen = np.zeros(count, dtype=np.int64)
    nearest = np.full(axes.shape[1], np.inf, dtype=np.float32)
    squares = np.empty_like(axes)
    for i in range(1, count):
        np.subtract(axes, axes[:, chosen[i - 1], None], out=squares)
        np.multiply(squares, squares, out=squares)
        for axis in squares[1:]:
            squares[0] += axis
        np.minimum(nearest, squares[0], out=nearest)
        chosen[i] = nearest.argmax()
    return chosen


def _by_kernel(axes: Tensor, count: int) -> Tensor:
    """axes: float32 [B, D, N], contiguous. Returns int64 [B, count]."""
    batch, _, total = axes.shape
    if batch > 1:  # in training; there are sets for all processors
        return _launched(axes, count, 1)
    processors = torch.cuda.get_device_properties(axes.device).multi_processor_count
    parts = min(triton.cdiv(total, _SHARED[0]), processors, _MOST_PARTS)
    if parts < 2 or not _parts_work(axes.device.type):
        return _launched(axes, count, 1)
    return _launched(axes, count, 1 << (parts.bit_length() - 1))


def _launched(axes: Tensor, count: int, parts: int) -> Tensor:
    """`_by_kernel` with so many programs, a power of two, for each set."""
    batch, dimensions, total = axes.shape
    chosen = torch.zeros(batch, count, dtype=torch.long, device=axes.device)
    distance = torch.full((batch, total), torch.inf, device=axes.device)
    found = torch.zeros(batch, count, parts, dtype=torch.long, device=axes.device)
    block, warps = _SHARED if parts > 1 else _ALONE
    together = {"launch_cooperative_grid": True} if parts > 1 else {}
    _sample[(parts, batch)](
        axes, distance, found, chosen, total, count, triton.cdiv(total, parts),
        BLOCK=block, AXES=dimensions, PARTS=parts, num_warps=warps, enable_fp_fusion=False, **together,
    )  # fmt: skip
    return chosen


if triton is not None:

    @triton.jit(do_not_specialize=["total", "count", "share"])
    def _sample(  # type: ignore[no-untyped-def]
        axes, distance, found, chosen, total, count, share,
        BLOCK: tl.constexpr, AXES: tl.constexpr, PARTS: tl.constexpr,
    ):  # fmt: skip
        """PARTS programs for each set of points, with a share of them each; each lane keeps the farthest of
        those that it sees. Programs tell each other what they found by a number that is not 0 (distance, then
        the lowest row), so that it needs no other sign and no order of memory accesses."""
        own, batch = tl.program_id(0), tl.program_id(1)
        axes += batch * total * AXES
        distance += batch * total
        first = own * share
        lane, part = tl.arange(0, BLOCK), tl.arange(0, PARTS)
        last = 0
        for i in range(1, count):
            highest = tl.full([BLOCK], -2.0, tl.float32)
            farthest = tl.zeros([BLOCK], tl.int32) + total
            for start in range(0, share, BLOCK):
                row = first + start + lane
                inside = (start + lane < share) & (row < total)
                squared = tl.zeros([BLOCK], tl.float32)
                for axis in tl.static_range(AXES):
                    here = tl.load(axes + axis * total + last)
                    step = tl.load(axes + axis * total + row, mask=inside, other=0.0) - here
                    squared += step * step
                near = tl.load(distance + row, mask=inside, other=-1.0)
                near = tl.minimum(near, squared)
                tl.store(distance + row, near, mask=inside)
                farther = inside & (near > highest)
                farthest = tl.where(farther, row, farthest)
                highest = tl.where(farther, near, highest)
            most = tl.max(highest, axis=0)
            last = tl.min(tl.where(highest == most, farthest, total), axis=0)
            if PARTS > 1:
                bits = tl.maximum(most, 0.0).to(tl.int32, bitcast=True).to(tl.int64)
                slots = found + (batch * count + i) * PARTS
                tl.atomic_xchg(slots + own, (bits << 32) | (0x7FFFFFFF - last).to(tl.int64), sem="relaxed")
                theirs = tl.load(slots + part, volatile=True)
                tries = 0
                while (tl.min(theirs, axis=0) == 0) & (tries < 1 << 24):
                    theirs = tl.load(slots + part, volatile=True)
                    tries += 1
                last = 0x7FFFFFFF - (tl.max(theirs, axis=0) & 0x7FFFFFFF).to(tl.int32)
            tl.store(chosen + batch * count + i, last.to(tl.int64), mask=own == 0)
