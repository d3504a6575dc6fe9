# SPDX-License-Identifier: GPL-3.0-or-later
"""Self-attention among a shape's patches, before any prompt is asked.

The planes of the field mix what lies behind each other; patches lie on the surface itself. Each head looks
around each patch within a distance of its own, which is learned.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .config import NetworkConfig
from .linear import Linear, attention
from .mask_decoder import ATTRIBUTES
from .norm_layers import LayerNorm
from .triplane_transformer import TransformerBlock

_REACHES = (0.15, 2.4)
"""Distances, in the network's cube, that the heads begin with: the first and the last of a geometric row."""
_SPACE = 8
"""Further channels of queries and keys, whose product is the distance; kernels want multiples of 8."""


class NearbyAttention(nn.Module):
    """Multi-head self-attention whose scores fall with the squared distance of the patches.

    -s |x - y|^2 is a product of [2 s x, -s] and [y, |y|^2] but for what all scores of a query share, so that
    attention as libraries offer it computes it.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = Linear(width, 3 * width, bias=False)
        self.out = Linear(width, width, bias=False)
        row = torch.linspace(math.log(_REACHES[0]), math.log(_REACHES[1]), heads)
        self.reach_embedding = nn.Parameter(row)  # logarithms of the distances

    def forward(self, x: Tensor, places: Tensor) -> Tensor:
        """x: [B, L, width]; places: float32 [B, L, 6]. Returns [B, L, width]."""
        batch, count, width = x.shape
        qkv = self.qkv(x).view(batch, count, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each [B, heads, L, width / heads]
        asked, given = self._distances(places, q.shape[-1])
        q = torch.cat([q, asked.to(q.dtype)], dim=-1)
        k = torch.cat([k, given.to(k.dtype)], dim=-1)
        mixed = attention(q, k, v)
        return self.out(mixed.transpose(1, 2).reshape(batch, count, width))

    def _distances(self, places: Tensor, channels: int) -> tuple[Tensor, Tensor]:
        """What makes the product of queries and keys fall with the distance: [B, heads, L, 8] each."""
        steepness = (-2 * self.reach_embedding.float()).exp() / 2  # exp(-d^2 / (2 reach^2))
        # Attention divides products by the root of their channels.
        scale = math.sqrt(channels + _SPACE) * steepness.view(1, -1, 1, 1)
        places = places.float().unsqueeze(1)
        square = places.square().sum(dim=-1, keepdim=True)
        rounded = square.bfloat16().float()  # in two parts, as products are computed in half precision
        minus_one = -torch.ones_like(square)
        asked = scale * torch.cat([2 * places, minus_one, minus_one], dim=-1)
        given = torch.cat([places, rounded, square - rounded], dim=-1)
        return asked, given.expand(-1, self.heads, -1, -1)


class PatchTransformer(nn.Module):
    """What each patch learns from the others, to be added to what it is by itself.

    Starts as no change at all, so that a network that was trained without it can go on from its weights.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        width = config.patch_width
        self.normal_distance = config.normal_distance
        self.embed = Linear(config.field_channels + ATTRIBUTES + config.decoder_width, width)
        self.blocks = nn.ModuleList(
            TransformerBlock(width, NearbyAttention(width, config.patch_heads))
            for _ in range(config.patch_layers)
        )
        self.norm = LayerNorm(width)
        self.out = Linear(width, config.decoder_width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, embeddings: Tensor, attributes: Tensor, positions: Tensor) -> Tensor:
        """embeddings: [B, L, field_channels]; attributes: float32 [B, L, 9], position, normal and colour of
        the centres; positions: [B, L, decoder_width], their Fourier features

        Returns [B, L, decoder_width].
        """
        kind = embeddings.dtype
        x = self.embed(torch.cat([embeddings, attributes.to(kind), positions.to(kind)], dim=-1))
        places = torch.cat([attributes[..., :3], self.normal_distance * attributes[..., 3:6]], dim=-1)
        for block in self.blocks:
            x = block(x, places)
        return self.out(self.norm(x))
