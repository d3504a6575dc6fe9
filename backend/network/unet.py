# SPDX-License-Identifier: GPL-3.0-or-later
"""The 3D-aware U-Net over three rolled planes.

Planes xy, yz, xz are stacked along the height ("rolled", [B, C, 3 * H, W]); 3 x 3 convolutions run
over the stack, and a 3D-aware 1 x 1 convolution lets each texel see the rows and columns of the
other two planes that share its coordinates (T. Wang et al., "Rodin", CVPR 2023).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .norm_layers import GroupNorm


def _group_norm(channels: int) -> GroupNorm:
    return GroupNorm(min(32, channels), channels, eps=1e-6)


def split_planes(rolled: Tensor) -> list[Tensor]:
    """[B, C, 3 * H, W] -> three [B, C, H, W]."""
    return list(rolled.chunk(3, dim=2))


class CrossPlaneConv(nn.Module):
    """1 x 1 convolution of each plane together with the axis means of the other two."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.plane_convs = nn.ModuleList(nn.Conv2d(3 * channels, channels, 1) for _ in range(3))

    def forward(self, rolled: Tensor) -> Tensor:
        xy, yz, xz = split_planes(rolled)
        planes = [xy, yz, xz.transpose(2, 3)]
        outputs = []
        for i, conv in enumerate(self.plane_convs):
            plane, following, previous = planes[i], planes[(i + 1) % 3], planes[(i + 2) % 3]
            # Plane i's columns are plane j's rows, and its rows are plane k's columns.
            along_columns = following.mean(dim=3).unsqueeze(2).expand_as(plane)
            along_rows = previous.mean(dim=2).unsqueeze(3).expand_as(plane)
            outputs.append(conv(torch.cat([plane, along_columns, along_rows], dim=1)))
        outputs[2] = outputs[2].transpose(2, 3)
        return torch.cat(outputs, dim=2)


class TriplaneBlock(nn.Module):
    """Residual block: conv 3 x 3, cross-plane conv, conv 3 x 3, each after GroupNorm and SiLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm1 = _group_norm(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm_mid = _group_norm(outputs)
        self.cross_plane = CrossPlaneConv(outputs)
        self.norm2 = _group_norm(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.shortcut = nn.Conv2d(inputs, outputs, 1)

    def forward(self, rolled: Tensor) -> Tensor:
        x = self.conv1(F.silu(self.norm1(rolled)))
        x = self.cross_plane(F.silu(self.norm_mid(x)))
        x = self.conv2(F.silu(self.norm2(x)))
        return x + self.shortcut(rolled)


class TriplaneUNet(nn.Module):
    """Depth = len(widths); average pooling down, nearest up, skips concatenated."""

    def __init__(self, channels: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        inputs = (channels, *widths[:-1])
        self.down = nn.ModuleList(TriplaneBlock(i, o) for i, o in zip(inputs, widths, strict=True))
        pairs = list(zip(widths[::-1][:-1], widths[::-1][1:], strict=True))
        self.up_norms = nn.ModuleList(_group_norm(deep + skip) for deep, skip in pairs)
        self.up = nn.ModuleList(TriplaneBlock(deep + skip, skip) for deep, skip in pairs)
        self.norm_out = _group_norm(widths[0])
        self.conv_out = nn.Conv2d(widths[0], channels, 1)

    def forward(self, rolled: Tensor) -> Tensor:
        """[B, channels, 3 * H, W] -> the same shape. H and W divisible by 2^(depth - 1)."""
        skips: list[Tensor] = []
        x = rolled
        for i, block in enumerate(self.down):
            if i:
                x = F.avg_pool2d(x, 2)
            x = block(x)
            skips.append(x)
        skips.pop()
        for norm, block in zip(self.up_norms, self.up, strict=True):
            x = torch.cat([F.interpolate(x, scale_factor=2, mode="nearest"), skips.pop()], dim=1)
            x = block(norm(x))
        return self.conv_out(F.silu(self.norm_out(x)))
