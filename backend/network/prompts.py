# SPDX-License-Identifier: GPL-3.0-or-later
"""Prompt encoders: clicked points, the size of what is meant, and the previous round's mask."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn

from .config import NetworkConfig
from .linear import Linear
from .patches import PatchPointNet


class Mlp(nn.Module):
    """Linear layers with ReLU between them."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Linear(i, o) for i, o in itertools.pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = layer(x).relu()
        return self.layers[-1](x)


class FourierFeatures(nn.Module):
    """Random Fourier features of positions (M. Tancik et al., NeurIPS 2020)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.randn(3, width // 2))
        self.frequencies: Tensor

    def forward(self, points: Tensor) -> Tensor:
        """[..., 3] -> float32 [..., width]."""
        # A sum instead of a matrix product: autocast would round the phase to half precision.
        phase = 2 * math.pi * (points.float().unsqueeze(-1) * self.frequencies.float()).sum(dim=-2)
        return torch.cat([phase.sin(), phase.cos()], dim=-1)


class PointPromptEncoder(nn.Module):
    """Clicks -> tokens: position, sign, and the field under the click."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        width = config.decoder_width
        self.positions = FourierFeatures(width)
        self.sign_embedding = nn.Parameter(torch.randn(2, width))
        self.field_mapper = Mlp(config.field_channels, width, width)

    def forward(self, points: Tensor, labels: Tensor, features: Tensor) -> Tensor:
        """points: [..., 3]; labels: int64 [...], 1 positive, 0 negative; features: field [..., C]."""
        negative, positive = self.sign_embedding
        sign = torch.where((labels == 1).unsqueeze(-1), positive, negative)
        return self.positions(points) + sign + self.field_mapper(features)


class SizePromptEncoder(nn.Module):
    """The share of the surface that the wanted part takes -> what is added to the tokens of its clicks.

    Starts as no change at all, so that a network that was trained without it can go on from its weights.
    """

    _OCTAVES = 8
    _SMALLEST = 2.0**-12

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        width = config.decoder_width
        self.hidden = Linear(2 * self._OCTAVES + 1, width)
        self.out = Linear(width, width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, sizes: Tensor) -> Tensor:
        """sizes: float32 [...], shares in (0, 1], 0 where unknown. Returns [..., width], 0 where unknown."""
        position = sizes.clamp(min=self._SMALLEST).float().log() / -math.log(self._SMALLEST)  # -1 .. 0
        rate = math.pi * 2.0 ** torch.arange(self._OCTAVES, device=sizes.device)
        phase = position.unsqueeze(-1) * rate
        features = torch.cat([position.unsqueeze(-1), phase.sin(), phase.cos()], dim=-1)
        return self.out(self.hidden(features).relu()) * (sizes > 0).unsqueeze(-1)


class MaskPromptEncoder(nn.Module):
    """The previous round's logits around each patch centre -> a dense embedding."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        hidden, hidden2 = config.mask_prompt_widths
        self.patch_encoder = PatchPointNet(4, hidden, hidden2, config.decoder_width)
        self.no_mask_embedding = nn.Parameter(torch.randn(config.decoder_width))

    def forward(self, offsets: Tensor, logits: Tensor) -> Tensor:
        """offsets: [B, 1, L, K, 3], neighbour minus centre; logits: [B, M, L, K].

        Returns [B, M, L, decoder_width].
        """
        offsets = offsets.expand(*logits.shape, 3)
        return self.patch_encoder(torch.cat([offsets, logits.unsqueeze(-1).to(offsets.dtype)], dim=-1))
