# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of many candidate masks are worth keeping: stability, support, non-maximum suppression."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..devices import arithmetic_is_scarce

_SUPPORT_ROWS = 1024
"""Candidates compared with all others at once."""


def stability_scores(logits: Tensor, offset: float) -> Tensor:
    """IoU of each mask at two thresholds, [..., N] -> [...]; 0 for empty masks.

    As in A. Kirillov et al., "Segment Anything", ICCV 2023.
    """
    inner = (logits > offset).sum(dim=-1)
    outer = (logits > -offset).sum(dim=-1)
    return inner / outer.clamp(min=1)


def support_scores(masks: Tensor, clicks: Tensor, prompts: int, *, iou: float) -> Tensor:
    """How many of the clicks inside a mask lead to that mask again, float32 [K] in [0, 1].

    A part is found from wherever it is clicked; a mistake rarely twice. As clicks are spread evenly,
    the clicks inside a mask are counted by its share of the points. On validation shapes, dropping masks
    with little support helped more than any threshold on the predicted IoU or the stability.

    masks: bool [K, N], candidates; clicks: int64 [K], the click that each came from, below `prompts`
    """
    values = masks.float()
    areas = values.sum(dim=1)
    supporters = torch.empty_like(areas)
    for rows in torch.arange(len(masks), device=masks.device).split(_SUPPORT_ROWS):
        shared = values[rows] @ values.T
        alike = shared > iou * (areas[rows, None] + areas - shared)
        agreeing = torch.zeros(len(rows), prompts, device=masks.device)
        agreeing.index_add_(1, clicks, alike.float())  # a click counts once, with however many masks
        supporters[rows] = (agreeing > 0).sum(dim=1).float()
    expected = areas / masks.shape[1] * prompts
    return (supporters / expected.clamp(min=1)).clamp(max=1)


def suppress_overlaps(masks: Tensor, scores: Tensor, threshold: float, *, limit: int) -> Tensor:
    """Greedy non-maximum suppression by IoU; indices int64 of what is kept, best first.

    masks: bool [K, N]; scores: [K]. Equal scores are kept in index order.
    """
    order = scores.sort(descending=True, stable=True).indices
    packed = masks[order].float()
    areas = packed.sum(dim=1)
    suppressed_by = _overlaps(packed, areas, threshold)
    alive = (areas > 0).cpu().numpy()
    kept: list[int] = []
    while len(kept) < limit and alive.any():
        best = int(alive.argmax())
        kept.append(best)
        alive &= ~suppressed_by(best)
        alive[best] = False
    return order[torch.tensor(kept, dtype=torch.long, device=order.device)]


def _overlaps(masks: Tensor, areas: Tensor, threshold: float) -> Callable[[int], NDArray[np.bool_]]:
    """For each of float masks [K, N] and their areas, which have an IoU above the threshold with it.

    A graphics card compares all with all: it would have to be waited for after every mask that is kept.
    """

    def among(rows: Tensor | slice) -> Tensor:
        shared = masks[rows] @ masks.T
        return shared / (areas + areas[rows, None] - shared) > threshold

    if arithmetic_is_scarce(masks.device.type):
        return lambda row: among(slice(row, row + 1))[0].numpy()
    parts = torch.arange(len(masks), device=masks.device).split(_SUPPORT_ROWS)
    all_of_them = torch.cat([among(rows) for rows in parts]).cpu().numpy() if parts else None
    return lambda row: np.asarray(all_of_them)[row]
