# SPDX-License-Identifier: GPL-3.0-or-later
"""Farthest point sampling and nearest neighbours: computed once per shape, on the CPU, exactly.

Trees instead of pairwise distances keep memory bounded, and running on the CPU for every device makes
the patches of a shape the same everywhere.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from .config import NetworkConfig
from .patches import PatchGeometry

INTERPOLATION_CENTERS = 3


def patch_space(
    points: NDArray[np.floating], normals: NDArray[np.floating], config: NetworkConfig
) -> NDArray[np.float32]:
    """Where patches are made and neighbours sought: float32 [N, 3], or [N, 6] where normals count, too.

    points (normalised), normals (unit): [N, 3]
    """
    if not config.normal_distance:
        return points.astype(np.float32, copy=False)
    return np.concatenate([points, config.normal_distance * normals], axis=1).astype(np.float32)


def farthest_point_sampling(points: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Indices int64 [count] of points [N, D], each farthest from those before it; starts at point 0.

    Of equally far points the first is taken. Where `count` exceeds the points, indices repeat from the start.
    """
    distinct = min(count, len(points))
    chosen = np.zeros(distinct, dtype=np.int64)
    distance = np.full(len(points), np.inf, dtype=np.float32)
    for i in range(1, distinct):
        step = points - points[chosen[i - 1]]
        np.minimum(distance, np.einsum("nd,nd->n", step, step), out=distance)
        chosen[i] = distance.argmax()
    return np.resize(chosen, count)


def patch_geometry(points: NDArray[np.float32], config: NetworkConfig, *, seed: int = 0) -> PatchGeometry:
    """Patches of one shape, points float32 [N, D] of its `patch_space`; tensors have a leading axis of 1."""
    centers = farthest_point_sampling(points, config.patches)
    wanted = config.mask_prompt_points or len(points)
    if wanted < len(points):
        mask_points = np.random.default_rng(seed).permutation(len(points))[:wanted]
    else:
        mask_points = np.arange(len(points))
    return PatchGeometry(
        center_index=torch.from_numpy(centers)[None],
        neighbor_index=_nearest(points, points[centers], config.patch_neighbors)[1][None],
        mask_point_index=torch.from_numpy(mask_points)[None],
        mask_neighbor_index=_nearest(points[mask_points], points[centers], config.mask_prompt_neighbors)[1][
            None
        ],
    )


def interpolation_weights(centers: NDArray[np.float32], points: NDArray[np.float32]) -> tuple[Tensor, Tensor]:
    """The 3 nearest centres of each point and their weights, inverse to the squared distance.

    centers: [L, D]; points: [N, D], of a `patch_space`. Returns int64 [1, N, 3] and float32 [1, N, 3].
    """
    distance, index = _nearest(centers, points, INTERPOLATION_CENTERS)
    weight = 1 / distance.square().clamp(min=1e-8)
    return index[None], (weight / weight.sum(dim=1, keepdim=True))[None]


def _nearest(points: NDArray[np.float32], queries: NDArray[np.float32], count: int) -> tuple[Tensor, Tensor]:
    """Distances float32 and indices int64 [Q, count]; fewer points than `count` repeat the nearest."""
    available = min(count, len(points))
    distance, index = cKDTree(points).query(queries, k=available, workers=-1)
    distance, index = distance.reshape(-1, available), index.reshape(-1, available)
    if available < count:
        distance = np.pad(distance, ((0, 0), (0, count - available)), mode="wrap")
        index = np.pad(index, ((0, 0), (0, count - available)), mode="wrap")
    return torch.from_numpy(distance.astype(np.float32)), torch.from_numpy(index.astype(np.int64))
