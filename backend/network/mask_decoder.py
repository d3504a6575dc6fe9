# SPDX-License-Identifier: GPL-3.0-or-later
"""The promptable mask decoder: two-way attention between prompt tokens and patches.

A. Kirillov et al., "Segment Anything", ICCV 2023, with patches of a shape in place of image cells.
Tensors carry a shape axis B and a prompt-set axis M. What is the same for all prompt sets of a shape
has M = 1 and is broadcast only where it must be.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import NetworkConfig
from .normalization import LayerNorm
from .prompts import Mlp

MASK_TOKENS = 4
"""Token 0 answers several prompts; tokens 1 to 3 are the readings of a single one."""


class Attention(nn.Module):
    """Multi-head attention at `inner` channels between [B, M, Tq, C] and [B, M, Tk, C]."""

    def __init__(self, width: int, inner: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, inner)
        self.k = nn.Linear(width, inner)
        self.v = nn.Linear(width, inner)
        self.out = nn.Linear(inner, width)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q: [B, M, Tq, C]; k, v: [B, M or 1, Tk, C]; q with M = 1 is broadcast. Returns [B, M, Tq, C]."""
        q, k, v = self.q(q), self.k(k), self.v(v)
        batch, sets, queries, inner = q.shape
        if k.shape[1] == 1 and sets > 1:  # shared keys: all prompt sets ask in one call
            q = q.reshape(batch, 1, sets * queries, inner)
        elif sets == 1 and k.shape[1] > 1:
            sets = k.shape[1]
            q = q.expand(batch, sets, queries, inner)
        x = F.scaled_dot_product_attention(self._split(q), self._split(k), self._split(v))
        x = x.transpose(1, 2).reshape(batch, sets, queries, inner)
        return self.out(x)

    def _split(self, x: Tensor) -> Tensor:
        """[B, M, T, inner] -> [B * M, heads, T, inner / heads]."""
        batch, sets, tokens, inner = x.shape
        return x.reshape(batch * sets, tokens, self.heads, inner // self.heads).transpose(1, 2)


class TwoWayBlock(nn.Module):
    """Tokens attend to themselves, tokens to patches, MLP, patches to tokens; post-norm."""

    def __init__(self, config: NetworkConfig, *, first: bool) -> None:
        super().__init__()
        width, heads = config.decoder_width, config.decoder_heads
        self.first = first
        self.self_attention = Attention(width, width, heads)
        self.norm1 = LayerNorm(width)
        self.token_to_patch = Attention(width, width // 2, heads)
        self.norm2 = LayerNorm(width)
        self.mlp = Mlp(width, config.decoder_mlp_width, width)
        self.norm3 = LayerNorm(width)
        self.patch_to_token = Attention(width, width // 2, heads)
        self.norm4 = LayerNorm(width)

    def forward(
        self, tokens: Tensor, patches: Tensor, token_pe: Tensor, patch_pe: Tensor
    ) -> tuple[Tensor, Tensor]:
        if self.first:  # replaces the tokens, without their positional term
            tokens = self.self_attention(tokens, tokens, tokens)
        else:
            q = tokens + token_pe
            tokens = tokens + self.self_attention(q, q, tokens)
        tokens = self.norm1(tokens)
        tokens = self.norm2(tokens + self.token_to_patch(tokens + token_pe, patches + patch_pe, patches))
        tokens = self.norm3(tokens + self.mlp(tokens))
        patches = self.norm4(patches + self.patch_to_token(patches + patch_pe, tokens + token_pe, tokens))
        return tokens, patches


class MaskDecoder(nn.Module):
    """Prompt tokens and patches -> per-prompt patch features, mask vectors and predicted IoUs."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        width, channels = config.decoder_width, config.mask_channels
        self.iou_token = nn.Parameter(torch.randn(1, width))
        self.mask_tokens = nn.Parameter(torch.randn(MASK_TOKENS, width))
        self.blocks = nn.ModuleList(TwoWayBlock(config, first=i == 0) for i in range(config.decoder_depth))
        self.final_attention = Attention(width, width // 2, config.decoder_heads)
        self.final_norm = LayerNorm(width)
        self.mask_mlps = nn.ModuleList(Mlp(width, width, width, channels) for _ in range(MASK_TOKENS))
        self.iou_mlp = Mlp(width, width, width, MASK_TOKENS)
        # The point-wise head. Its first layer takes [patch features, field]; the field's half does not
        # depend on the prompt and is computed once per shape (`locate`), the patches' half at the patches.
        self.point_linear1 = nn.Linear(width + config.field_channels, channels)
        self.point_norm = LayerNorm(channels)
        self.point_linear2 = nn.Linear(channels, channels)
        self.width = width

    def forward(self, prompts: Tensor, patches: Tensor, patch_pe: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """prompts: [B, M, P, D]; patches: [B, M or 1, L, D]; patch_pe: [B, 1, L, D].

        Returns patch features for the point-wise head [B, M, L, mask_channels], mask vectors
        [B, M, 4, mask_channels] and predicted IoUs [B, M, 4].
        """
        batch, sets = prompts.shape[:2]
        own = torch.cat([self.iou_token, self.mask_tokens]).expand(batch, sets, -1, -1)
        token_pe = torch.cat([own.to(prompts.dtype), prompts], dim=2)
        tokens = token_pe
        for block in self.blocks:
            tokens, patches = block(tokens, patches, token_pe, patch_pe)
        tokens = tokens + self.final_attention(tokens + token_pe, patches + patch_pe, patches)
        tokens = self.final_norm(tokens)
        vectors = torch.stack([mlp(tokens[:, :, 1 + i]) for i, mlp in enumerate(self.mask_mlps)], dim=2)
        patch_half = self.point_linear1.weight[:, : self.width]
        return F.linear(patches, patch_half), vectors, self.iou_mlp(tokens[:, :, 0])

    def locate(self, features: Tensor) -> Tensor:
        """The prompt-independent half of the point-wise head: field [B, N, C] -> [B, N, mask_channels]."""
        return F.linear(features, self.point_linear1.weight[:, self.width :], self.point_linear1.bias)

    def point_logits(self, interpolated: Tensor, located: Tensor, vectors: Tensor) -> Tensor:
        """Mask logits at points.

        interpolated: [B, M, N, mask_channels], patch features at the points
        located: [B, 1, N, mask_channels] from `locate`
        vectors: [B, M, C, mask_channels]
        returns: [B, M, C, N]
        """
        x = F.gelu(self.point_norm(interpolated + located))
        x = F.gelu(self.point_linear2(x))
        return vectors @ x.transpose(-1, -2)
