# SPDX-License-Identifier: GPL-3.0-or-later
"""Patches of whole batches on the training device, without waiting for it.

The same definitions as `backend.network.neighbors`, which serves single shapes on the CPU. Here
distance matrices are fine: a few hundred patches, a few thousand points, and memory to spare.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..network import NetworkConfig, PatchGeometry
from ..network.interpolation import squared_distances
from ..network.neighbors import INTERPOLATION_CENTERS
from ..network.patches import gather_rows

try:
    import triton
    import triton.language as tl
except ImportError:
    triton = None

_NEIGHBOR_CHUNK = 1 << 28
"""Distances held at once while looking for neighbours."""


def batch_patch_space(points: Tensor, normals: Tensor, config: NetworkConfig) -> Tensor:
    """As `backend.network.patch_space`, for points and normals [B, N, 3]."""
    if not config.normal_distance:
        return points
    return torch.cat([points, config.normal_distance * normals], dim=2)


def batch_patch_geometry(points: Tensor, config: NetworkConfig) -> PatchGeometry:
    """points: float32 [B, N, D] of the patch space, in random order; a previous mask is read at the first."""
    centers = farthest_points(points, config.patches)
    center_points = gather_rows(points, centers)
    wanted = min(config.mask_prompt_points or points.shape[1], points.shape[1])
    mask_index = torch.arange(wanted, device=points.device).expand(len(points), -1)
    return PatchGeometry(
        center_index=centers,
        neighbor_index=nearest(points, center_points, config.patch_neighbors),
        mask_point_index=mask_index,
        mask_neighbor_index=nearest(points[:, :wanted], center_points, config.mask_prompt_neighbors),
    )


def interpolation_matrix(centers: Tensor, points: Tensor) -> Tensor:
    """Weights of the 3 nearest centres of each point as a dense matrix, float32 [B, N, L].

    centers: [B, L, D]; points: [B, N, D]
    """
    distance = squared_distances(points, centers)
    near, index = distance.topk(INTERPOLATION_CENTERS, dim=2, largest=False)
    weight = 1 / near.clamp(min=1e-8)
    weight = weight / weight.sum(dim=2, keepdim=True)
    return torch.zeros_like(distance).scatter_(2, index, weight)


def nearest(points: Tensor, queries: Tensor, count: int) -> Tensor:
    """Indices int64 [B, Q, count] of the nearest of points [B, N, D] to each query [B, Q, D]."""
    batch, total, _ = points.shape
    step = max(1, _NEIGHBOR_CHUNK // (batch * total))
    chunks = [
        squared_distances(part, points).topk(count, dim=2, largest=False).indices
        for part in queries.split(step, dim=1)
    ]
    return torch.cat(chunks, dim=1)


def farthest_points(points: Tensor, count: int) -> Tensor:
    """Farthest point sampling from point 0 of each set: int64 [B, count] for points [B, N, D]."""
    if triton is not None and points.is_cuda:
        return _farthest_points_kernel(points.contiguous(), count)
    batch, total, _ = points.shape
    chosen = torch.zeros(batch, count, dtype=torch.long, device=points.device)
    distance = torch.full((batch, total), torch.inf, device=points.device)
    rows = torch.arange(batch, device=points.device)
    for i in range(1, count):
        last = points[rows, chosen[:, i - 1]].unsqueeze(1)
        distance = torch.minimum(distance, (points - last).square().sum(dim=2))
        chosen[:, i] = distance.argmax(dim=1)
    return chosen


def _farthest_points_kernel(points: Tensor, count: int) -> Tensor:
    batch, total, axes = points.shape
    assert axes in (3, 6), "positions, or positions and normals"
    chosen = torch.zeros(batch, count, dtype=torch.long, device=points.device)
    block = triton.next_power_of_2(total)
    _fps[(batch,)](points, chosen, total, count, BLOCK=block, AXES=axes, num_warps=32)
    return chosen


if triton is not None:

    @triton.jit
    def _fps(points, chosen, total, count, BLOCK: tl.constexpr, AXES: tl.constexpr):  # type: ignore[no-untyped-def]
        """One program per shape; all its points and distances stay in registers."""
        shape = tl.program_id(0)
        lane = tl.arange(0, BLOCK)
        inside = lane < total
        start = points + shape * total * AXES
        row = start + lane * AXES
        x = tl.load(row, mask=inside, other=0.0)
        y = tl.load(row + 1, mask=inside, other=0.0)
        z = tl.load(row + 2, mask=inside, other=0.0)
        if AXES == 6:
            u = tl.load(row + 3, mask=inside, other=0.0)
            v = tl.load(row + 4, mask=inside, other=0.0)
            w = tl.load(row + 5, mask=inside, other=0.0)
        distance = tl.where(inside, float("inf"), -1.0)
        last = 0
        for i in range(1, count):
            here = start + last * AXES
            dx, dy, dz = x - tl.load(here), y - tl.load(here + 1), z - tl.load(here + 2)
            squared = dx * dx + dy * dy + dz * dz
            if AXES == 6:
                du, dv, dw = u - tl.load(here + 3), v - tl.load(here + 4), w - tl.load(here + 5)
                squared += du * du + dv * dv + dw * dw
            distance = tl.minimum(distance, squared)
            last = tl.argmax(distance, axis=0)
            tl.store(chosen + shape * count + i, last.to(tl.int64))
