# SPDX-License-Identifier: GPL-3.0-or-later
"""Patches and nearest neighbours: computed once per shape, exactly.

Neighbours are found by trees on the CPU, and on a graphics card by a kernel or by comparing all pairs, a
bounded number at a time; all in double precision, so that the patches of a shape are the same everywhere.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import nearest_kernel
from ..devices import searches_neighbors
from ..nearest import nearest_several
from .config import NetworkConfig
from .farthest_points import farthest_point_sampling, farthest_points, kernel_works
from .patches import PatchGeometry

Points = NDArray[np.float32] | Tensor

INTERPOLATION_CENTERS = 3

_DISTANCES_AT_ONCE = 1 << 25
"""Pairs compared at once on a device: 256 MiB."""

_ONE_BY_ONE = 4


def patch_space(
    points: NDArray[np.floating], normals: NDArray[np.floating], config: NetworkConfig
) -> NDArray[np.float32]:
    """Where patches are made and neighbours sought: float32 [N, 3], or [N, 6] where normals count, too.

    points (normalised), normals (unit): [N, 3]
    """
    if not config.normal_distance:
        return points.astype(np.float32, copy=False)
    return np.concatenate([points, config.normal_distance * normals], axis=1).astype(np.float32)


def patch_geometry(
    points: Points, config: NetworkConfig, *, seed: int = 0, device: str = "cpu"
) -> PatchGeometry:
    """Patches of one shape, points float32 [N, D] of its `patch_space`; tensors have a leading axis of 1."""
    own = placed(points, device)
    count, wanted = len(own), config.mask_prompt_points or len(own)
    if wanted < count:
        mask_points = torch.from_numpy(np.random.default_rng(seed).permutation(count)[:wanted]).to(own.device)
    else:
        mask_points = torch.arange(count, device=own.device)
    centers = _centers(own, config.patches, device)
    near = _nearest(own, own[centers], config.patch_neighbors, device)[1]
    if wanted >= count and config.mask_prompt_neighbors == config.patch_neighbors:
        near_masked = near
    else:
        near_masked = _nearest(own[mask_points], own[centers], config.mask_prompt_neighbors, device)[1]
    return PatchGeometry(
        center_index=centers[None],
        neighbor_index=near[None],
        mask_point_index=mask_points[None],
        mask_neighbor_index=near_masked[None],
    )


def placed(points: Points, device: str) -> Tensor:
    """Points [N, D] where neighbours are sought: on `device` if it searches, else on the CPU."""
    return torch.as_tensor(points).to(device if searches_neighbors(device) else "cpu")


def _centers(points: Tensor, count: int, device: str) -> Tensor:
    """`farthest_point_sampling` without waiting for the device: int64 [count] beside the points."""
    if not (points.device.type == device and kernel_works(device)):
        chosen = farthest_point_sampling(points.cpu().numpy(), count, device=device)
        return torch.from_numpy(chosen).to(points.device)
    distinct = min(count, len(points))
    return farthest_points(points[None], distinct)[0][torch.arange(count, device=points.device) % distinct]


def interpolation_weights(centers: Points, points: Points, *, device: str = "cpu") -> tuple[Tensor, Tensor]:
    """The 3 nearest centres of each point and their weights, inverse to the squared distance.

    centers: float32 [L, D]; points: float32 [N, D], of a `patch_space`. Returns int64 [1, N, 3] and float32
    [1, N, 3].
    """
    distance, index = _nearest(placed(centers, device), placed(points, device), INTERPOLATION_CENTERS, device)
    weight = 1 / distance.square().clamp(min=1e-8)
    return index[None], (weight / weight.sum(dim=1, keepdim=True))[None]


def _nearest(points: Tensor, queries: Tensor, count: int, device: str) -> tuple[Tensor, Tensor]:
    """Distances float32 and indices int64 [Q, count]; fewer points than `count` repeat the nearest."""
    available = min(count, len(points))
    if searches_neighbors(device):
        distance, index = nearest_on_device(points, queries, available)
    else:
        found = nearest_several(points.numpy(), queries.numpy(), available)
        distance, index = map(torch.from_numpy, found)
    columns = torch.arange(count, device=index.device) % available
    return distance[:, columns].float(), index[:, columns].long()


def nearest_on_device(points: Tensor, queries: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Distances float64 and indices int64 [Q, count], nearest first. In double precision, as trees compute
    them: of two points that are nearly as far, all devices take the same."""
    points, queries = points.double(), queries.double()
    if nearest_kernel.works(points.device.type):
        find = nearest_kernel.nearest_few if count <= nearest_kernel.MOST else nearest_kernel.nearest_many
        squared, index = find(points, queries, count)
        return squared.sqrt(), index
    axes = points.T.contiguous()
    found = []
    for part in queries.split(max(1, _DISTANCES_AT_ONCE // len(points))):
        total = (part[:, :1] - axes[0]).square_()
        for axis in range(1, len(axes)):
            total += (part[:, axis : axis + 1] - axes[axis]).square_()
        found.append(_lowest(total, count))
    squared, index = (torch.cat(parts) for parts in zip(*found, strict=True))
    return squared.sqrt(), index


def _lowest(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The lowest values of each row, in order, and their columns: [Q, count]. Changes `values`.

    A few are found faster one after another: a graphics card selects by the bits of double precision, two
    at a time.
    """
    if count > _ONE_BY_ONE:
        lowest, columns = values.topk(count, dim=1, largest=False)
        return lowest, columns
    found = []
    for _ in range(count):
        lowest, columns = values.min(dim=1, keepdim=True)
        values.scatter_(1, columns, torch.inf)
        found.append((lowest, columns))
    return torch.cat([lowest for lowest, _ in found], dim=1), torch.cat([own for _, own in found], dim=1)
