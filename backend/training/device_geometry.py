# SPDX-License-Identifier: GPL-3.0-or-later
"""Patches of whole batches on the training device, without waiting for it.

The same definitions as `backend.network.neighbors`, which serves single shapes on the CPU. Here
distance matrices are fine: a few hundred patches, a few thousand points, and memory to spare.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..network import NetworkConfig, PatchGeometry
from ..network.farthest_points import farthest_points
from ..network.interpolation import squared_distances
from ..network.neighbors import INTERPOLATION_CENTERS
from ..network.patches import gather_rows

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
