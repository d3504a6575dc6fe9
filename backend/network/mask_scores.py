# SPDX-License-Identifier: GPL-3.0-or-later
"""Predicted IoUs of the masks of a prompt set, read off the masks themselves."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .linear import Linear
from .prompts import Mlp
from .region_agreement import RegionScores
from .region_prompts import PromptedRegions

MASK_TOKENS = 4
"""Token 0 answers several prompts; tokens 1 to 3 are the readings of a single one."""


class MaskScores(nn.Module):
    """Predicted IoUs from the masks themselves: what they cover at the patch centres, and how surely."""

    _STATISTICS = 4
    _RELATIONS = 5

    def __init__(self, width: int, *, context: bool, regions: bool) -> None:
        super().__init__()
        self.mlp = Mlp(2 * width + self._STATISTICS, width, width, 1)
        self.context: Linear | None = None
        if context:
            self.context = Linear(width + self._RELATIONS, width, bias=False)
            nn.init.zeros_(self.context.weight)
        self.regions = RegionScores(width) if regions else None

    def forward(
        self,
        tokens: Tensor,
        patches: Tensor,
        logits: Tensor,
        sizes: Tensor | None,
        regions: PromptedRegions | None = None,
    ) -> Tensor:
        """tokens: [B, M, 4, D], of the masks; patches: [B, M, L, D]; logits: [B, M, 4, L].

        sizes: float32 [B, M], share of the surface that is meant, 0 where unknown; None: all unknown
        regions: what the prompts have to do with each crease region; None where that is unknown
        Returns [B, M, 4]. The masks are only read: what is learned about scores does not change them.
        """
        logits = logits.detach().float()
        inside = logits.sigmoid()
        area = inside.sum(dim=-1, keepdim=True)
        pooled = (inside / area.clamp(min=1e-3)).to(patches.dtype) @ patches
        certainty = inside.square().sum(dim=-1, keepdim=True) / area.clamp(min=1e-3)
        stability = (2 * logits - 2).sigmoid().sum(dim=-1, keepdim=True)
        stability = stability / (2 * logits + 2).sigmoid().sum(dim=-1, keepdim=True).clamp(min=1e-3)
        statistics = [area / logits.shape[-1], (area + 1).log() / 8, certainty, stability]
        read = torch.cat([tokens, pooled, torch.cat(statistics, dim=-1).to(tokens.dtype)], dim=-1)
        first, *rest = self.mlp.layers
        hidden = first(read)
        if self.regions is not None and regions is not None:
            hidden = hidden + self.regions(inside, regions).to(hidden.dtype)
        hidden = hidden.relu()
        if self.context is not None:
            seen = torch.cat([_others_mean(hidden), _relations(inside, sizes).to(hidden.dtype)], dim=-1)
            hidden = (hidden + self.context(seen)).relu()
        for layer in rest[:-1]:
            hidden = layer(hidden).relu()
        return rest[-1](hidden).squeeze(-1)


def _others_mean(hidden: Tensor) -> Tensor:
    """[B, M, 4, D]: for each reading of a single click the mean of the other two; 0 for token 0."""
    readings = hidden[:, :, 1:]
    others = (readings.sum(dim=2, keepdim=True) - readings) / (MASK_TOKENS - 2)
    return torch.cat([torch.zeros_like(hidden[:, :, :1]), others], dim=2)


def _relations(inside: Tensor, sizes: Tensor | None) -> Tensor:
    """How a click's masks lie to each other and to the size that was asked for: float32 [B, M, 4, 5].

    inside: float32 [B, M, 4, L], probabilities at the patch centres
    Soft IoU with the other readings (mean), share of the mask inside another, share of another inside it
    (largest of both; 0 for token 0), logarithm of its size to the one asked for, whether one was asked for.
    """
    readings = inside[:, :, 1:]
    area = readings.sum(dim=-1).clamp(min=1e-3)
    shared = readings @ readings.transpose(-1, -2)
    union = area.unsqueeze(-1) + area.unsqueeze(-2) - shared
    off_diagonal = 1 - torch.eye(MASK_TOKENS - 1, device=inside.device)
    iou = (shared / union.clamp(min=1e-3) * off_diagonal).sum(dim=-1) / (MASK_TOKENS - 2)
    within = (shared / area.unsqueeze(-1) * off_diagonal).amax(dim=-1)
    around = (shared / area.unsqueeze(-2) * off_diagonal).amax(dim=-1)
    nested = F.pad(torch.stack([iou, within, around], dim=-1), (0, 0, 1, 0))
    if sizes is None:
        return F.pad(nested, (0, 2))
    share = inside.mean(dim=-1).clamp(min=1e-5)
    known = (sizes > 0).float().unsqueeze(-1).expand_as(share)
    gap = (share.log() - sizes.clamp(min=1e-5).log().unsqueeze(-1)) * known
    return torch.cat([nested, torch.stack([gap, known], dim=-1)], dim=-1)
