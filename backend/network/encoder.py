# SPDX-License-Identifier: GPL-3.0-or-later
"""From points to a triplane: the continuous feature field that everything else reads."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .config import LEARNABLE, NetworkConfig
from .interpolation import gather_weighted, scatter_mean, triplane_taps, triplane_texels
from .point_voxel import PointStem
from .triplane_transformer import TriplaneTransformer
from .unet import TriplaneUNet


class TriplaneBranch(nn.Module):
    """Point stem -> three planes -> U-Net -> triplane transformer."""

    def __init__(self, config: NetworkConfig, *, attributes: bool) -> None:
        super().__init__()
        self.resolution = config.plane_resolution
        self.stem = PointStem(config, attributes=attributes)
        self.unet = TriplaneUNet(config.voxel_channels, config.unet_widths)
        self.transformer = TriplaneTransformer(config)

    def forward(self, points: Tensor, normals: Tensor, colors: Tensor) -> Tensor:
        """points, normals, colors: float [B, N, 3]. Returns texels [B, 3 * R * R, plane_channels]."""
        features = self.stem(points, normals, colors)
        return self.transformer(self.unet(self.rolled_planes(points, features)))

    def rolled_planes(self, points: Tensor, features: Tensor) -> Tensor:
        """Mean feature per texel, planes stacked along the height: [B, C, 3 * R, R]."""
        side, count = self.resolution, points.shape[1]
        texels = triplane_texels(points, side)  # [B, 3, N]
        plane_start = torch.arange(3, device=points.device).view(1, 3, 1) * side**2
        means = scatter_mean(
            features.repeat(1, 3, 1),
            (texels + plane_start).view(-1, 3 * count),
            3 * side**2,
        )
        return means.transpose(1, 2).reshape(points.shape[0], -1, 3 * side, side)


class TriplaneEncoder(nn.Module):
    """The mean of one or two branches."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.branches = nn.ModuleDict(
            {name: TriplaneBranch(config, attributes=name == LEARNABLE) for name in config.branches}
        )

    def forward(self, points: Tensor, normals: Tensor, colors: Tensor) -> Tensor:
        """points (in [-1, 1]), normals, colors ([0, 1]): [B, N, 3].

        Returns the field as texels, [B, 3 * R * R, field_channels].
        """
        planes = [branch(points, normals, colors) for branch in self.branches.values()]
        mean = planes[0] if len(planes) == 1 else sum(planes[1:], start=planes[0]) / len(planes)
        return mean[..., self.config.sdf_channels :]


def sample_field(texels: Tensor, points: Tensor, resolution: int) -> Tensor:
    """The field at any points: bilinear in each plane, summed over planes.

    texels: [B, 3 * R * R, C]; points: [B, N, 3] in [-1, 1]. Returns [B, N, C].
    """
    index, weight = triplane_taps(points, resolution)
    return gather_weighted(texels, index, weight)
