# SPDX-License-Identifier: GPL-3.0-or-later
"""How masks agree with the crease regions that hold a click: what a predicted IoU reads of them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .linear import Linear
from .region_prompts import (
    ONE_PIECE,
    PROMPT_FEATURES,
    SHARED_CLEARNESS,
    SHARED_SIZE,
    SIZE_GAP,
    PromptedRegions,
)

_CHOSEN = 4
_OF_CHOSEN = 6
AGREEMENT_FEATURES = _CHOSEN * _OF_CHOSEN + 1 + 2 * PROMPT_FEATURES
"""Of four regions that hold the click, of its piece of the mesh, and of the places within and without."""
_NONE = 1e-5
"""Shares of the surface count as no less than this where they divide."""


class RegionScores(nn.Module):
    """Masks and regions -> what is added to the first hidden layer of the predicted IoUs.

    Starts as no change at all, and is none where regions are unknown.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.hidden = Linear(AGREEMENT_FEATURES, width)
        self.out = Linear(width, width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, inside: Tensor, regions: PromptedRegions) -> Tensor:
        """inside: float32 [B, M, T, L], probabilities at the patch centres. Returns [B, M, T, width]."""
        hidden = F.gelu(self.hidden(region_agreement(inside, regions)))
        known = regions.known.any(dim=2)[:, :, None, None]
        return self.out(hidden).masked_fill(~known, 0.0)


@torch.no_grad()
def region_agreement(inside: Tensor, regions: PromptedRegions) -> Tensor:
    """float32 [B, M, T, AGREEMENT_FEATURES] for masks `inside`, float32 [B, M, T, L] in [0, 1].

    The places whose smallest region with the click is no larger than some size are one region that holds
    the click: in order of that size, sums over the first atoms are sums over each of these regions.
    """
    with torch.autocast(inside.device.type, enabled=False):  # sums of small shares of the surface
        seen, held = _at_atoms(inside, regions)
        chosen = _chosen_regions(seen, held, regions.features)
        return torch.cat(
            [chosen, _in_piece(seen, held, regions.features), _means(seen, held, regions.features)], dim=3
        )


def _at_atoms(inside: Tensor, regions: PromptedRegions) -> tuple[Tensor, Tensor]:
    """Share of the surface of each atom, float32 [B, K], 0 where it has no patch centre, and what of it is
    inside each mask, [B, M, T, K]. Patch centres crowd at creases; those of an atom stand for its area."""
    numbers = torch.arange(regions.areas.shape[1], device=inside.device)
    of_center = (regions.of_centers.unsqueeze(2) == numbers).to(inside.dtype)  # [B, L, K]
    counts = of_center.sum(dim=1)
    seen = regions.areas * (counts > 0)
    share = of_center * (regions.areas / counts.clamp(min=1)).unsqueeze(1)
    return seen, (inside.flatten(1, 2) @ share).unflatten(1, inside.shape[1:3])


def _chosen_regions(seen: Tensor, held: Tensor, features: Tensor) -> Tensor:
    """[B, M, T, 24]: of the region around the click that is most like the mask, that is so and clear, that
    is the clearest, and that is nearest to the size that was asked for, each: IoU with the mask, clearness,
    their product, share of the mask inside, share of the region inside the mask, logarithm of its size."""
    size, order = features[..., SHARED_SIZE].sort(dim=2)  # [B, M, K]
    area = seen.unsqueeze(1).expand_as(size).gather(2, order).cumsum(dim=2)
    whole = F.pad(size[..., 1:] > size[..., :-1], (0, 1), value=True) & (area > 0)
    clear = features[..., SHARED_CLEARNESS].gather(2, order)
    both = held.gather(3, order.unsqueeze(2).expand_as(held)).cumsum(dim=3)  # [B, M, T, K]
    mask = both[..., -1:]
    size, area, clear, whole = (x.unsqueeze(2).expand_as(both) for x in (size, area, clear, whole))
    iou = both / (mask + area - both).clamp(min=_NONE)
    gap = features[..., SIZE_GAP].gather(2, order).abs().unsqueeze(2).expand_as(both)
    figures = [iou, clear, iou * clear, both / mask.clamp(min=_NONE), both / area.clamp(min=_NONE), size]
    found = []
    for rank in (iou, iou * clear, clear, -gap):
        best = rank.masked_fill(~whole, -torch.inf).argmax(dim=3, keepdim=True)
        found.append(torch.cat([x.gather(3, best) for x in figures], dim=3))
    found[-1] = found[-1] * features[:, :, :1, SIZE_GAP + 1].unsqueeze(2)  # 0 where none was asked for
    return torch.cat(found, dim=3)


def _in_piece(seen: Tensor, held: Tensor, features: Tensor) -> Tensor:
    """IoU of the masks with the click's connected piece of the mesh, [B, M, T, 1]."""
    piece = features[..., ONE_PIECE]
    both = (held * piece.unsqueeze(2)).sum(dim=3)
    area = (seen.unsqueeze(1) * piece).sum(dim=2, keepdim=True)
    return (both / (held.sum(dim=3) + area - both).clamp(min=_NONE)).unsqueeze(3)


def _means(seen: Tensor, held: Tensor, features: Tensor) -> Tensor:
    """Means of what the click has to do with the places inside the masks, and outside: [B, M, T, 36]."""
    both = torch.cat([held, seen[:, None, None] - held], dim=2)
    means = (both @ features) / both.sum(dim=3, keepdim=True).clamp(min=_NONE)
    return torch.cat(means.chunk(2, dim=2), dim=3)
