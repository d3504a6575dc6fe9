# SPDX-License-Identifier: GPL-3.0-or-later
"""Self-attention among a shape's patches, before any prompt is asked.

The planes of the field mix what lies behind each other; patches lie on the surface itself. Each head looks
around each patch within a distance of its own, which is learned, and may learn to look along, or not across,
the borders of crease regions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..region_features import REGION_FEATURES
from .config import NetworkConfig
from .linear import Linear, attention
from .mask_decoder import ATTRIBUTES
from .norm_layers import LayerNorm
from .region_prompts import at_places
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
        # In Python: networks are built without memory first, where `linspace` needs sympy.
        row = np.log(np.geomspace(_REACHES[0], _REACHES[1], heads)).tolist()
        self.reach_embedding = nn.Parameter(torch.tensor(row))  # logarithms of the distances

    def forward(self, x: Tensor, places: Tensor, bias: Tensor | None = None) -> Tensor:
        """x: [B, L, width]; places: float32 [B, L, 6]; bias: [B, heads, L, L], added to the scores.

        Returns [B, L, width].
        """
        batch, count, width = x.shape
        qkv = self.qkv(x).view(batch, count, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each [B, heads, L, width / heads]
        if bias is not None and (torch.is_grad_enabled() or not x.is_cpu):
            mixed = self._in_plain_steps(q, k, v, places, bias)
        else:
            asked, given = self._distances(places, q.shape[-1])
            q = torch.cat([q, asked.to(q.dtype)], dim=-1)
            k = torch.cat([k, given.to(k.dtype)], dim=-1)
            mixed = attention(q, k, v, bias)
        return self.out(mixed.transpose(1, 2).reshape(batch, count, width))

    def _in_plain_steps(self, q: Tensor, k: Tensor, v: Tensor, places: Tensor, bias: Tensor) -> Tensor:
        """The same for training and for graphics cards: compiled, this is two products and one pass, forth
        and back, whereas not every library takes biases, or has a gradient for them. Distances are not part
        of the products here, so that scores may be rounded to half precision."""
        places = places.float()
        square = (places.unsqueeze(2) - places.unsqueeze(1)).square().sum(dim=-1).unsqueeze(1)
        # Attention divides products by the root of their channels, among them those of the distances.
        scores = (q @ k.transpose(2, 3)).float() / math.sqrt(q.shape[-1] + _SPACE)
        scores = scores - self._steepness() * square + bias.float()
        return scores.softmax(dim=-1).to(v.dtype) @ v

    def _steepness(self) -> Tensor:
        """[1, heads, 1, 1]; scores are exp(-d^2 / (2 reach^2)) before the logarithm."""
        return ((-2 * self.reach_embedding.float()).exp() / 2).view(1, -1, 1, 1)

    def _distances(self, places: Tensor, channels: int) -> tuple[Tensor, Tensor]:
        """What makes the product of queries and keys fall with the distance: [B, heads, L, 8] each."""
        # Attention divides products by the root of their channels.
        scale = math.sqrt(channels + _SPACE) * self._steepness()
        places = places.float().unsqueeze(1)
        square = places.square().sum(dim=-1, keepdim=True)
        rounded = square.bfloat16().float()  # in two parts, as products are computed in half precision
        minus_one = -torch.ones_like(square)
        asked = scale * torch.cat([2 * places, minus_one, minus_one], dim=-1)
        given = torch.cat([places, rounded, square - rounded], dim=-1)
        return asked, given.expand(-1, self.heads, -1, -1)


class RegionBias(nn.Module):
    """How each two patches hang together by the regions that creases bound -> what is added to the scores
    of their attention, in each layer and head.

    Starts as nothing, and is nothing where regions are unknown.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.layers = config.patch_layers
        self.hidden = Linear(REGION_FEATURES, config.patch_regions)
        # What all scores of a query share counts for nothing.
        self.out = Linear(config.patch_regions, config.patch_layers * config.patch_heads, bias=False)
        nn.init.zeros_(self.out.weight)

    def forward(self, pairs: Tensor, atoms: Tensor) -> tuple[Tensor, ...]:
        """pairs: as in `Regions`, float [B, K, K, 8]; atoms: int64 [B, L], those of the patches.

        Returns [B, heads, L, L] for each layer; rows are the patches that ask.
        """
        pairs = pairs.float()
        table = self.out(F.gelu(self.hidden(pairs))).masked_fill(pairs[..., :1] == 0, 0.0)
        spread = _at_pairs_by_product if torch.is_grad_enabled() else _at_pairs
        return spread(table, atoms).chunk(self.layers, dim=1)


def _at_pairs(table: Tensor, atoms: Tensor) -> Tensor:
    """Values [B, K, K, C] of pairs of atoms at pairs of places of these atoms, int64 [B, L]: [B, C, L, L]."""
    own = table.permute(0, 3, 1, 2)
    if not own.is_cpu or own.dtype != torch.float32:
        return at_places(at_places(own.transpose(2, 3), atoms).transpose(2, 3), atoms)
    # NumPy takes columns in a third of the time that `gather` needs: of all pairs 12 ms instead of 35.
    result = own.new_empty(*own.shape[:2], atoms.shape[1], atoms.shape[1])
    for values, of_place, at_pairs in zip(own.numpy(), atoms.numpy(), result.numpy(), strict=True):
        np.take(values.take(of_place, axis=1), of_place, axis=2, out=at_pairs, mode="clip")
    return result


def _at_pairs_by_product(table: Tensor, atoms: Tensor) -> Tensor:
    """`_at_pairs` as two products of matrices, whose gradients are some, too (see `at_places_by_product`)."""
    batch, count, _, channels = table.shape
    numbers = torch.arange(count, device=atoms.device)
    of_place = (atoms.unsqueeze(2) == numbers).to(table.dtype)  # [B, L, K]
    rows = of_place @ table.transpose(2, 3).flatten(2)  # [B, L, C * K]
    both = rows.view(batch, -1, count) @ of_place.transpose(1, 2)  # [B, L * C, L]
    return both.view(batch, -1, channels, both.shape[2]).transpose(1, 2)


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
        self.regions = RegionBias(config) if config.patch_regions else None
        self.norm = LayerNorm(width)
        self.out = Linear(width, config.decoder_width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(
        self,
        embeddings: Tensor,
        attributes: Tensor,
        positions: Tensor,
        pairs: Tensor | None = None,
        atoms: Tensor | None = None,
    ) -> Tensor:
        """embeddings: [B, L, field_channels]; attributes: float32 [B, L, 9], position, normal and colour of
        the centres; positions: [B, L, decoder_width], their Fourier features; pairs, atoms: as in
        `RegionBias`, not read by networks without `patch_regions`

        Returns [B, L, decoder_width].
        """
        kind = embeddings.dtype
        x = self.embed(torch.cat([embeddings, attributes.to(kind), positions.to(kind)], dim=-1))
        places = torch.cat([attributes[..., :3], self.normal_distance * attributes[..., 3:6]], dim=-1)
        biases: Sequence[Tensor | None] = [None] * len(self.blocks)
        if self.regions is not None and pairs is not None and atoms is not None:
            biases = self.regions(pairs, atoms)
        for block, bias in zip(self.blocks, biases, strict=True):
            x = block(x, places, bias)
        return self.out(self.norm(x))
