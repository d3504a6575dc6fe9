# SPDX-License-Identifier: GPL-3.0-or-later
"""Self-attention over all texels of three planes at a quarter of their resolution."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import NetworkConfig
from .linear import Linear, attention
from .norm_layers import LayerNorm


class SelfAttention(nn.Module):
    """Multi-head self-attention without biases."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = Linear(width, 3 * width, bias=False)
        self.out = Linear(width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        qkv = self.qkv(x).view(batch, tokens, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each [B, heads, tokens, width / heads]
        x = attention(q, k, v)
        return self.out(x.transpose(1, 2).reshape(batch, tokens, width))


class TransformerBlock(nn.Module):
    """Pre-norm transformer block, MLP of four times the width.

    attention: of [B, tokens, width]; what else `forward` is given goes on to it
    """

    def __init__(self, width: int, attention: nn.Module) -> None:
        super().__init__()
        self.norm1 = LayerNorm(width, eps=1e-6)
        self.attention = attention
        self.norm2 = LayerNorm(width, eps=1e-6)
        self.mlp = nn.Sequential(Linear(width, 4 * width), nn.GELU(), Linear(4 * width, width))

    def forward(self, x: Tensor, *rest: Tensor | None) -> Tensor:
        x = x + self.attention(self.norm1(x), *rest)
        return x + self.mlp(self.norm2(x))


class TriplaneTransformer(nn.Module):
    """Rolled planes [B, voxel_channels, 3 * H, W] -> texels [B, 3 * H * W, plane_channels].

    The result adds a transformer path (context) and a per-texel MLP (detail).
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        width, channels = config.transformer_width, config.plane_channels
        self.side = config.token_resolution
        self.conv1 = nn.Conv2d(config.voxel_channels, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.position = nn.Parameter(torch.zeros(1, 3 * self.side**2, width))
        self.blocks = nn.ModuleList(
            TransformerBlock(width, SelfAttention(width, config.transformer_heads))
            for _ in range(config.transformer_depth)
        )
        self.norm = LayerNorm(width, eps=1e-6)
        self.upsample = nn.ConvTranspose2d(width, channels, 4, stride=4)
        self.texel_mlp = nn.Sequential(
            Linear(config.voxel_channels, channels), nn.ReLU(), Linear(channels, channels)
        )
        nn.init.trunc_normal_(self.position, std=0.02)

    def forward(self, rolled: Tensor) -> Tensor:
        batch, channels, height, width = rolled.shape
        # Each plane is convolved by itself here (the U-Net convolved across the seams).
        planes = rolled.view(batch, channels, 3, height // 3, width).transpose(1, 2).flatten(0, 1)
        x = F.relu(_halved(self.conv1(planes)))  # the same as ReLU first, of a quarter of the values
        x = F.relu(_halved(self.conv2(x)))  # [B * 3, width, side, side]
        tokens = x.flatten(2).transpose(1, 2).reshape(batch, 3 * self.side**2, -1) + self.position
        for block in self.blocks:
            tokens = block(tokens)
        tokens = self.norm(tokens).view(batch * 3, self.side, self.side, -1).permute(0, 3, 1, 2)
        context = self.upsample(tokens).flatten(2).transpose(1, 2)  # [B * 3, H * W, plane_channels]
        detail = self.texel_mlp(planes.flatten(2).transpose(1, 2))
        return (context + detail).view(batch, height * width, -1)


def _halved(x: Tensor) -> Tensor:
    """The largest of each 2 x 2 values of [..., H, W], both even. On a CPU `max_pool2d` takes ten times as
    long as comparing rows, and then columns."""
    if not x.is_cpu or torch.is_grad_enabled():
        return F.max_pool2d(x, 2)
    rows = torch.maximum(x[..., ::2, :], x[..., 1::2, :])
    return torch.maximum(rows[..., ::2], rows[..., 1::2])
