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
from .linear import Linear, linear
from .mask_scores import MASK_TOKENS, MaskScores
from .norm_layers import LayerNorm
from .prompts import Mlp
from .region_prompts import PromptedRegions, RegionPrompts, at_places
from .row_kernels import normalized_gelu

ATTRIBUTES = 9
"""Position, normal and colour of a place."""
_WIDEST_CLICK = 1.6
"""At half of this distance (in the network's cube) the widest click scale has fallen to exp(-1/2)."""


class Attention(nn.Module):
    """Multi-head attention at `inner` channels between [B, M, Tq, C] and [B, M, Tk, C]."""

    def __init__(self, width: int, inner: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = Linear(width, inner)
        self.k = Linear(width, inner)
        self.v = Linear(width, inner)
        self.out = Linear(inner, width)
        self.reorders = True  # False: the textbook's order of products, for comparison

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q: [B, M, Tq, C]; k, v: [B, M or 1, Tk, C]; q with M = 1 is broadcast. Returns [B, M, Tq, C]."""
        if self.reorders and not torch.is_grad_enabled():
            inner = self.q.out_features
            if q.shape[2] * self.heads < inner <= k.shape[2]:
                return self._of_few_queries(q, k, v)
            if k.shape[2] * self.heads < inner <= q.shape[2]:
                return self._of_few_keys(q, k, v)
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

    def _of_few_queries(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """The same for a few tokens that ask many patches: instead of projecting every patch to keys and
        values, the queries are projected back to the patches' channels. A bias of the keys adds the same to
        all scores of a query and drops out."""
        channels = q.shape[3]
        queries = self._heads(self.q(q)) * self._scale
        back = torch.einsum("bmqhd,hdc->bmqhc", queries, self._by_head(self.k.weight)).flatten(2, 3)
        mixed = _matmul_shared((_matmul_shared(back, k.transpose(-1, -2))).softmax(dim=-1).to(v.dtype), v)
        mixed = mixed.view(*q.shape[:3], self.heads, channels)
        values = torch.einsum("bmqhc,hdc->bmqhd", mixed, self._by_head(self.v.weight)).flatten(3)
        return self.out(values + self.v.bias.to(values.dtype))

    def _of_few_keys(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """The same for many patches that ask a few tokens, whose keys and values are projected to the
        patches' channels."""
        keys = self._heads(self.k(k)) * self._scale
        back = torch.einsum("bmkhd,hdc->bmhkc", keys, self._by_head(self.q.weight)).flatten(2, 3)
        bias = torch.einsum("bmkhd,hd->bmhk", keys, self.q.bias.view(self.heads, -1).to(keys.dtype))
        scores = back @ q.transpose(-1, -2) + bias.flatten(2).unsqueeze(3)  # patches last: softmax is fast
        shares = scores.unflatten(2, (self.heads, -1)).softmax(dim=3).flatten(2, 3)
        out = self.out.weight.view(-1, self.heads, keys.shape[4])
        values = torch.einsum("bmkhd,chd->bmhkc", self._heads(self.v(v)), out).flatten(2, 3)
        values = values + (self.out.bias / self.heads).to(values.dtype)  # the shares of each head sum to 1
        return shares.to(values.dtype).transpose(-1, -2) @ values

    @property
    def _scale(self) -> float:
        return float((self.q.out_features // self.heads) ** -0.5)

    def _heads(self, x: Tensor) -> Tensor:
        """[B, M, T, inner] -> [B, M, T, heads, inner / heads]."""
        return x.unflatten(3, (self.heads, -1))

    def _by_head(self, weight: Tensor) -> Tensor:
        """[inner, C] -> [heads, inner / heads, C]."""
        return weight.unflatten(0, (self.heads, -1))

    def _split(self, x: Tensor) -> Tensor:
        """[B, M, T, inner] -> [B * M, heads, T, inner / heads]."""
        batch, sets, tokens, inner = x.shape
        return x.reshape(batch * sets, tokens, self.heads, inner // self.heads).transpose(1, 2)


def _matmul_shared(x: Tensor, shared: Tensor) -> Tensor:
    """[B, M, T, C] @ [B, M or 1, C, D], all of M in one product where they share the second factor."""
    if shared.shape[:2] == (1, 1):
        return linear(x, shared[0, 0].T)
    if shared.shape[1] > 1 or x.shape[1] == 1:
        return x @ shared
    return (x.flatten(1, 2) @ shared[:, 0]).unflatten(1, x.shape[1:3])


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
        placed = patches + patch_pe
        tokens = self.norm2(tokens + self.token_to_patch(tokens + token_pe, placed, patches))
        tokens = self.norm3(tokens + self.mlp(tokens))
        patches = self.norm4(patches + self.patch_to_token(placed, tokens + token_pe, tokens))
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
        self.iou_mlp: Mlp | None = None
        self.mask_scores: MaskScores | None = None
        if config.mask_scores:
            self.mask_scores = MaskScores(width, context=config.score_context, regions=config.score_regions)
        else:
            self.iou_mlp = Mlp(width, width, width, MASK_TOKENS)
        # The point-wise head. Its first layer takes [patch features, field]; the field's half does not
        # depend on the prompt and is computed once per shape (`locate`), the patches' half at the patches.
        self.point_linear1 = Linear(width + config.field_channels, channels)
        self.point_norm = LayerNorm(channels)
        self.point_linear2 = Linear(channels, channels)
        self.attribute_mlp: nn.Sequential | None = None
        if config.point_attributes:
            self.attribute_mlp = nn.Sequential(
                Linear(ATTRIBUTES, channels // 2), nn.GELU(), Linear(channels // 2, channels)
            )
        self.click_linear: Linear | None = None
        if config.click_scales:
            self.click_linear = Linear(2 * config.click_scales, channels, bias=False)
        self.regions = RegionPrompts(config) if config.region_prompt else None
        self.width = width

    def forward(
        self,
        prompts: Tensor,
        patches: Tensor,
        patch_pe: Tensor,
        located: Tensor | None = None,
        near: Tensor | None = None,
        sizes: Tensor | None = None,
        regions: PromptedRegions | None = None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
        """prompts: [B, M, P, D]; patches: [B, M or 1, L, D]; patch_pe: [B, 1, L, D].

        located, near: what `point_logits` takes, at the patch centres; read by mask scores only
        sizes: float32 [B, M], what the prompts say about the part's size; read by mask scores only
        regions: what the prompts have to do with each crease region; None where that is unknown
        Returns patch features for the point-wise head [B, M, L, mask_channels], mask vectors
        [B, M, 4, mask_channels], predicted IoUs [B, M, 4], with mask scores the masks' logits at the patch
        centres [B, M, 4, L], and with regions what is added to logits at each of their atoms [B, M, 4, K].
        """
        batch, sets = prompts.shape[:2]
        own = torch.cat([self.iou_token, self.mask_tokens]).expand(batch, sets, -1, -1)
        token_pe = torch.cat([own.to(prompts.dtype), prompts], dim=2)
        tokens = token_pe
        for block in self.blocks:
            tokens, patches = block(tokens, patches, token_pe, patch_pe)
            # Not before the first block, which projects patches once for all prompts.
            if block.first and self.regions is not None and regions is not None:
                patches = patches + self.regions.at_patches(regions).to(patches.dtype)
        tokens = tokens + self.final_attention(tokens + token_pe, patches + patch_pe, patches)
        tokens = self.final_norm(tokens)
        vectors = torch.stack([mlp(tokens[:, :, 1 + i]) for i, mlp in enumerate(self.mask_mlps)], dim=2)
        features = linear(patches, self.point_linear1.weight[:, : self.width])
        mask_tokens = tokens[:, :, 1 : 1 + MASK_TOKENS]
        at_atoms: Tensor | None = None
        if self.regions is not None and regions is not None:
            # Compiled in training for one shape: strides of a slice would tell how many clicks there are.
            at_atoms = self.regions.mask_logits(regions, mask_tokens.contiguous())
        if self.mask_scores is None:
            assert self.iou_mlp is not None
            return features, vectors, self.iou_mlp(tokens[:, :, 0]), None, at_atoms
        assert located is not None, "this network reads its masks at the patch centres"
        logits = self.point_logits(features, located, vectors, near)
        if at_atoms is not None and regions is not None:
            logits = logits + at_places(at_atoms, regions.of_centers)
        scores = self.mask_scores(mask_tokens, patches, logits, sizes, regions)
        return features, vectors, scores, logits, at_atoms

    def locate(self, features: Tensor, attributes: Tensor | None) -> Tensor:
        """The prompt-independent half of the point-wise head, [B, N, mask_channels].

        features: field [B, N, C]; attributes: float32 [B, N, 9], position, normal and colour
        """
        located = linear(features, self.point_linear1.weight[:, self.width :], self.point_linear1.bias)
        if self.attribute_mlp is not None:
            assert attributes is not None, "this network reads normals and colours at every location"
            located = located + self.attribute_mlp(attributes)
        return located

    def point_logits(
        self, interpolated: Tensor, located: Tensor, vectors: Tensor, near: Tensor | None = None
    ) -> Tensor:
        """Mask logits at points.

        interpolated: [B, M, N, mask_channels], patch features at the points
        located: [B, 1, N, mask_channels] from `locate`
        vectors: [B, M, C, mask_channels]
        near: float32 [B, M, N, 2], squared distances to the nearest positive and negative click, or None
        returns: [B, M, C, N]
        """
        return vectors @ self.point_hidden(interpolated, located, near).transpose(-1, -2)

    def point_hidden(self, interpolated: Tensor, located: Tensor, near: Tensor | None = None) -> Tensor:
        """What `point_logits` multiplies mask vectors with, [..., N, mask_channels]; arguments as there."""
        if self.click_linear is not None and near is not None:
            scales = self.click_linear.in_features // 2
            rate = (2 / _WIDEST_CLICK**2) * 4.0 ** torch.arange(scales, device=near.device)
            shares = torch.exp(-near.unsqueeze(-1) * rate).flatten(-2)
            interpolated = interpolated + self.click_linear(shares.to(interpolated.dtype))
        return F.gelu(self.point_linear2(normalized_gelu(interpolated, located, self.point_norm)))
