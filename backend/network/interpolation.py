# SPDX-License-Identifier: GPL-3.0-or-later
"""Moving features between points, voxels, planes and patches.

Everything is a weighted sum of a few table rows (`gather_weighted`) or the mean of what falls into
a cell (`scatter_mean`); the functions here only differ in how they find rows and weights.
Rows are contiguous in memory, so both directions read and write whole cache lines.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .row_kernels import sums_rows, weighted_rows

# Bounds the temporary of one gather to about 256 MB in float32.
_GATHER_ELEMENTS = 1 << 26


def gather_weighted(table: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """Weighted sums of table rows.

    table: [B, T, C]; index: int64 [B, N, S], rows of `table`; weight: [B, N, S]
    returns: [B, N, C] in the table's dtype
    """
    if sums_rows(table):
        return weighted_rows(table, index, weight)
    batch, rows, channels = table.shape
    _, count, taps = index.shape
    if batch > 1:
        index = index + torch.arange(batch, device=index.device).view(batch, 1, 1) * rows
    flat = index.reshape(batch * count, taps)
    weight = weight.reshape(batch * count, taps, 1).to(table.dtype)
    table = table.reshape(batch * rows, channels)
    if table.is_cpu and not torch.is_grad_enabled():
        # One pass without temporaries: an eighth of the time of the steps below.
        sums = F.embedding_bag(flat, table, mode="sum", per_sample_weights=weight[..., 0])
        return sums.view(batch, count, channels)
    step = max(1, _GATHER_ELEMENTS // (taps * channels))
    if torch.is_grad_enabled() or batch * count <= step:
        step = batch * count
    chunks = [
        (table.index_select(0, part.reshape(-1)).view(-1, taps, channels) * w).sum(dim=1)
        for part, w in zip(flat.split(step), weight.split(step), strict=True)
    ]
    result = chunks[0] if len(chunks) == 1 else torch.cat(chunks)
    return result.view(batch, count, channels)


def scatter_mean(features: Tensor, index: Tensor, size: int) -> Tensor:
    """Mean of the rows that fall into each cell; empty cells are 0.

    features: [B, N, C]; index: int64 [B, N] in [0, size)
    returns: float32 [B, size, C]
    """
    batch, count, channels = features.shape
    offset = torch.arange(batch, device=index.device).view(batch, 1) * size
    flat = (index + offset).reshape(-1)
    sums = torch.zeros(batch * size, channels, dtype=torch.float32, device=features.device)
    sums = sums.index_add(0, flat, features.reshape(-1, channels).float())
    ones = torch.ones(batch * count, dtype=torch.float32, device=features.device)
    counts = torch.zeros(batch * size, dtype=torch.float32, device=features.device).index_add(0, flat, ones)
    return (sums / counts.clamp(min=1).unsqueeze(1)).view(batch, size, channels)


def squared_distances(first: Tensor, second: Tensor) -> Tensor:
    """float32 [B, P, Q] between points [B, P, D] and [B, Q, D].

    A few passes over the result, exact where distances are small. `torch.cdist` without matrix
    products took 25 times as long on an H200.
    """
    total: Tensor | None = None
    for axis in range(first.shape[2]):
        step = first[:, :, None, axis].float() - second[:, None, :, axis].float()
        total = step.square_() if total is None else total.addcmul_(step, step)
    assert total is not None
    return total


def linear_taps(position: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """The two cells beside `position` (in cells, clamped to the border) and the upper one's weight."""
    position = position.clamp(0, size - 1)
    low = position.floor()
    fraction = position - low
    low_index = low.long()
    return low_index, (low_index + 1).clamp(max=size - 1), fraction


def trilinear_taps(position: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Rows and weights of the 8 voxels around each position.

    position: [B, N, 3], in voxels along the volume's axes (first axis slowest)
    returns: int64 [B, N, 8] into a flattened size^3 volume, and weights [B, N, 8]
    """
    low, high, fraction = linear_taps(position, size)
    index, weight = [], []
    for corner in range(8):
        pick = [(corner >> shift) & 1 for shift in (2, 1, 0)]
        axes = [(high if p else low)[..., a] for a, p in enumerate(pick)]
        parts = [fraction[..., a] if p else 1 - fraction[..., a] for a, p in enumerate(pick)]
        index.append((axes[0] * size + axes[1]) * size + axes[2])
        weight.append(parts[0] * parts[1] * parts[2])
    return torch.stack(index, dim=-1), torch.stack(weight, dim=-1)


def triplane_taps(points: Tensor, resolution: int) -> tuple[Tensor, Tensor]:
    """Rows and weights of the 3 x 4 texels around each point, planes xy, yz, xz.

    Columns follow the first of the two axes, rows the second; align_corners=True, border padding.

    points: [B, N, 3], in [-1, 1]
    returns: int64 [B, N, 12] into [3 * resolution^2] texels, and weights [B, N, 12]
    """
    position = (points.float() + 1) / 2 * (resolution - 1)
    low, high, fraction = linear_taps(position, resolution)
    index, weight = [], []
    for plane, (first, second) in enumerate(PLANE_AXES):
        for column, column_weight in ((low, 1 - fraction), (high, fraction)):
            for row, row_weight in ((low, 1 - fraction), (high, fraction)):
                texel = row[..., second] * resolution + column[..., first]
                index.append(texel + plane * resolution**2)
                weight.append(column_weight[..., first] * row_weight[..., second])
    return torch.stack(index, dim=-1), torch.stack(weight, dim=-1)


PLANE_AXES = ((0, 1), (1, 2), (0, 2))
"""The two coordinate axes of each plane: xy, yz, xz."""


def triplane_texels(points: Tensor, resolution: int) -> Tensor:
    """The texel that each point falls into on each plane, int64 [B, 3, N] within its plane.

    points: [B, N, 3]. A cube of side 2 is mapped onto the plane, with the published clamps.
    """
    unit = points.float() / 2 / (1 + 1e-5) + 0.5
    unit = torch.where(unit >= 1, 1 - 1e-5, unit).clamp(min=0)
    cell = (unit * resolution).long()
    return torch.stack([cell[..., b] * resolution + cell[..., a] for a, b in PLANE_AXES], dim=1)
