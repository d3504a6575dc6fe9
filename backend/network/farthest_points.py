# SPDX-License-Identifier: GPL-3.0-or-later
"""Farthest point sampling: the same choice on every device.

All ways compute float32 differences, squares and sums in the same order and without fused operations, and
of equally far points take the first.
"""

from __future__ import annotations

import functools
import logging

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..devices import runs_kernels

try:
    import triton
    import triton.language as tl
except ImportError:
    triton = None

logger = logging.getLogger(__name__)

_BLOCK = 4096
"""Points that one step of the kernel compares: four for each of its threads."""


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
    if runs_kernels(device) and kernel_works(device):
        chosen = _by_kernel(torch.from_numpy(axes).to(device)[None], distinct)[0].cpu().numpy()
    else:
        chosen = _on_cpu(axes, distinct)
    return np.resize(chosen, count)


def farthest_points(points: Tensor, count: int) -> Tensor:
    """The same for each of B sets of points [B, N, D], on their device: int64 [B, count], count <= N."""
    if runs_kernels(points.device.type) and kernel_works(points.device.type):
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


@functools.cache
def kernel_works(device: str) -> bool:
    """Whether the kernel can be compiled here and chooses as the CPU does: it takes a C compiler, too."""
    if triton is None:
        return False
    axes = np.random.default_rng(0).normal(size=(6, 9000)).astype(np.float32)
    try:
        found = _by_kernel(torch.from_numpy(axes).to(device)[None], 64)[0].cpu().numpy()
    except Exception as error:  # whatever a compiler may raise
        logger.warning("farthest points are sought on the CPU: %s", str(error)[:200])
        return False
    if not np.array_equal(found, _on_cpu(axes, 64)):
        logger.warning("farthest points are sought on the CPU: the kernel chooses differently")
        return False
    return True


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
    batch, dimensions, total = axes.shape
    chosen = torch.zeros(batch, count, dtype=torch.long, device=axes.device)
    distance = torch.full((batch, total), torch.inf, device=axes.device)
    _sample[(batch,)](
        axes, distance, chosen, total, count,
        BLOCK=_BLOCK, AXES=dimensions, num_warps=32, enable_fp_fusion=False,
    )  # fmt: skip
    return chosen


if triton is not None:

    @triton.jit(do_not_specialize=["count"])
    def _sample(axes, distance, chosen, total, count, BLOCK: tl.constexpr, AXES: tl.constexpr):  # type: ignore[no-untyped-def]
        """One program per set of points; each lane keeps the farthest of those that it sees."""
        own = tl.program_id(0)
        axes += own * total * AXES
        distance += own * total
        lane = tl.arange(0, BLOCK)
        last = 0
        for i in range(1, count):
            highest = tl.full([BLOCK], -2.0, tl.float32)
            farthest = tl.zeros([BLOCK], tl.int32)
            for start in range(0, total, BLOCK):
                row = start + lane
                inside = row < total
                squared = tl.zeros([BLOCK], tl.float32)
                for axis in tl.static_range(AXES):
                    here = tl.load(axes + axis * total + last)
                    step = tl.load(axes + axis * total + row, mask=inside, other=0.0) - here
                    squared += step * step
                near = tl.load(distance + row, mask=inside, other=-1.0)
                near = tl.minimum(near, squared)
                tl.store(distance + row, near, mask=inside)
                farther = near > highest
                farthest = tl.where(farther, row, farthest)
                highest = tl.where(farther, near, highest)
            most = tl.max(highest, axis=0)
            last = tl.min(tl.where(highest == most, farthest, total), axis=0)
            tl.store(chosen + own * count + i, last.to(tl.int64))
