# SPDX-License-Identifier: GPL-3.0-or-later
"""Segment every part, first half: which of many candidate masks are worth keeping."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .part_tree import TreeSettings

Progress = Callable[[str, float], None]
Cancel = Callable[[], bool]


@dataclass(frozen=True)
class EveryPartSettings:
    """Settings of segment-every-part.

    min_score: masks with a lower predicted IoU are dropped
    min_stability, stability_offset: masks whose IoU between the logit thresholds +offset and -offset
        is lower are dropped
    nms_iou: of two masks with a higher IoU only the better scored is kept
    max_masks: at most this many are kept, best scored first
    coarse_points: masks are filtered on this many points, before the kept ones are decoded everywhere
    tree: how kept masks become parts
    """

    min_score: float = 0.5
    min_stability: float = 0.6
    stability_offset: float = 1.0
    nms_iou: float = 0.7
    max_masks: int = 192
    coarse_points: int = 4096
    tree: TreeSettings = field(default_factory=TreeSettings)


PUBLISHED_MIN_SCORE = 0.65
PUBLISHED_THRESHOLD = 0.3


def stability_scores(logits: Tensor, offset: float) -> Tensor:
    """IoU of each mask at two thresholds, [..., N] -> [...]; 0 for empty masks.

    As in A. Kirillov et al., "Segment Anything", ICCV 2023.
    """
    inner = (logits > offset).sum(dim=-1)
    outer = (logits > -offset).sum(dim=-1)
    return inner / outer.clamp(min=1)


def suppress_overlaps(masks: Tensor, scores: Tensor, threshold: float, *, limit: int) -> Tensor:
    """Greedy non-maximum suppression by IoU; indices int64 of what is kept, best first.

    masks: bool [K, N]; scores: [K]. Equal scores are kept in index order.
    """
    order = scores.sort(descending=True, stable=True).indices
    packed = masks[order].float()
    areas = packed.sum(dim=1)
    kept: list[int] = []
    alive = areas > 0
    while len(kept) < limit and bool(alive.any()):
        best = int(alive.int().argmax())
        kept.append(best)
        shared = packed @ packed[best]
        iou = shared / (areas + areas[best] - shared)
        alive &= iou <= threshold
        alive[best] = False
    return order[torch.tensor(kept, dtype=torch.long, device=order.device)]
