# SPDX-License-Identifier: GPL-3.0-or-later
"""Point-voxel convolution: a coarse volume for context, a point path for detail.

Z. Liu, H. Tang, Y. Lin, S. Han, "Point-Voxel CNN for Efficient 3D Deep Learning", NeurIPS 2019.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import NetworkConfig
from .interpolation import gather_weighted, scatter_mean, trilinear_taps
from .linear import Linear

_INPUT_CHANNELS = 8


class PointVoxelConv(nn.Module):
    """One PVConv block over 8 input channels (6 used, 2 zero, as published)."""

    def __init__(self, channels: int, resolution: int) -> None:
        super().__init__()
        self.resolution = resolution
        self.voxel_conv1 = nn.Conv3d(_INPUT_CHANNELS, channels, 3, padding=1)
        self.voxel_conv2 = nn.Conv3d(channels, channels, 3, padding=1)
        self.point_conv = Linear(_INPUT_CHANNELS, channels)

    def forward(self, points: Tensor, inputs: Tensor) -> Tensor:
        """points: [B, N, 3] in [-1, 1]; inputs: [B, N, 6]. Returns [B, N, channels]."""
        inputs = F.pad(inputs, (0, _INPUT_CHANNELS - inputs.shape[-1]))
        size = self.resolution
        position = ((points + 1) / 2 * size).clamp(0, size - 1)
        cell = position.round().long()
        flat = (cell[..., 0] * size + cell[..., 1]) * size + cell[..., 2]
        volume = scatter_mean(inputs, flat, size**3)
        volume = volume.transpose(1, 2).reshape(-1, _INPUT_CHANNELS, size, size, size)
        for conv in (self.voxel_conv1, self.voxel_conv2):
            volume = F.leaky_relu(F.instance_norm(conv(volume), eps=1e-4), 0.1)
        # The published weights were trained with x and z exchanged in this read: `grid_sample`
        # takes its first coordinate along the last axis.
        index, weight = trilinear_taps(position.flip(-1), size)
        voxel_features = gather_weighted(volume.flatten(2).transpose(1, 2), index, weight)
        return voxel_features + self._point_path(inputs)

    def _point_path(self, inputs: Tensor) -> Tensor:
        features = self.point_conv(inputs).float()
        variance, mean = torch.var_mean(features, dim=1, keepdim=True, correction=0)
        return F.relu((features - mean) * torch.rsqrt(variance + 1e-5))


class PointStem(nn.Module):
    """Point features of one branch: PVConv over positions and, in the learnable branch, attributes."""

    def __init__(self, config: NetworkConfig, *, attributes: bool) -> None:
        super().__init__()
        channels = config.voxel_channels
        self.positions = PointVoxelConv(channels, config.voxel_resolution)
        self.attributes: PointVoxelConv | None = None
        if attributes:
            self.attributes = PointVoxelConv(channels, config.voxel_resolution)
            self.attribute_injection = Linear(channels, channels)
            nn.init.zeros_(self.attribute_injection.weight)
            nn.init.zeros_(self.attribute_injection.bias)

    def forward(self, points: Tensor, normals: Tensor, colors: Tensor) -> Tensor:
        """points, normals, colors: [B, N, 3]. Returns [B, N, voxel_channels]."""
        features = self.positions(points, torch.cat([points, 2 * points], dim=-1))
        if self.attributes is not None:
            extra = self.attributes(points, torch.cat([colors, normals], dim=-1))
            features = features + self.attribute_injection(extra)
        return features
