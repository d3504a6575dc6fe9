# SPDX-License-Identifier: GPL-3.0-or-later
"""Patches: a few hundred centres, each with its nearest points, pooled by a small PointNet."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .linear import Linear, linear
from .norm_layers import LayerNorm


@dataclass(frozen=True)
class PatchGeometry:
    """Which points make up each patch; computed once per shape, without gradients.

    center_index: int64 [B, L], points that are patch centres
    neighbor_index: int64 [B, L, K], each centre's nearest points
    mask_point_index: int64 [B, S], the points at which a previous mask is read as a dense prompt
    mask_neighbor_index: int64 [B, L, Km], each centre's nearest of these, as positions in 0..S-1
    """

    center_index: Tensor
    neighbor_index: Tensor
    mask_point_index: Tensor
    mask_neighbor_index: Tensor

    def to(self, device: torch.device | str) -> PatchGeometry:
        return PatchGeometry(
            self.center_index.to(device),
            self.neighbor_index.to(device),
            self.mask_point_index.to(device),
            self.mask_neighbor_index.to(device),
        )


class PatchPointNet(nn.Module):
    """Neighbours -> one vector per patch.

    C. R. Qi et al., "PointNet", CVPR 2017, with the pooled vector fed back to each neighbour once.
    """

    def __init__(self, inputs: int, hidden: int, hidden2: int, outputs: int) -> None:
        super().__init__()
        self.linear1 = Linear(inputs, hidden)
        self.norm1 = LayerNorm(hidden)
        self.linear2 = Linear(hidden, hidden)
        self.linear3 = Linear(2 * hidden, hidden2)
        self.norm2 = LayerNorm(hidden2)
        self.linear4 = Linear(hidden2, outputs)

    def forward(self, neighbors: Tensor) -> Tensor:
        """[..., K, inputs] -> [..., outputs]."""
        x = self.linear2(F.gelu(self.norm1(self.linear1(neighbors))))
        pooled = x.amax(dim=-2, keepdim=True)
        # linear3 of [pooled, own], without computing the pooled half once per neighbour.
        pooled_weight, own_weight = self.linear3.weight.chunk(2, dim=1)
        x = linear(pooled, pooled_weight, self.linear3.bias) + linear(x, own_weight)
        return self.linear4(F.gelu(self.norm2(x))).amax(dim=-2)


def gather_rows(values: Tensor, index: Tensor) -> Tensor:
    """values: [B, N, C]; index: int64 [B, ...]. Returns [B, ..., C]."""
    batch, count, channels = values.shape
    offset = torch.arange(batch, device=index.device).view(batch, *[1] * (index.dim() - 1)) * count
    rows = values.reshape(-1, channels).index_select(0, (index + offset).reshape(-1))
    return rows.view(*index.shape, channels)
