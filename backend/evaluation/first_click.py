# SPDX-License-Identifier: GPL-3.0-or-later
"""What a single click gives: the mask that is chosen, the best of those offered, and with the part's size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ..click_simulation import mask_ious
from ..geometry.mesh import FloatArray
from ..segmentation.close_up import FINE_SIZE


class FirstClickPredictor(Protocol):
    """What this needs of a model: `ClickPredictor`, if `takes_size` is true `sizes` for its batches, and to
    look closely what `ClosePredictor` has."""

    def predict_batch(self, shape: Any, points: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]: ...


@dataclass(frozen=True)
class FirstAnswers:
    """IoU float32 [M] after one click on each of M parts.

    chosen: of the mask with the highest predicted IoU, as in use
    best_of_three: of the best of the masks offered (what a perfect ranking would get)
    with_size: when the part's share of the surface is told: to the network where it takes one, else by
        choosing the mask whose share is nearest (in ratio)
    """

    chosen: FloatArray
    best_of_three: FloatArray
    with_size: FloatArray


@torch.inference_mode()
def first_answers(
    predictor: FirstClickPredictor,
    shape: Any,
    points: Tensor,
    targets: Tensor,
    clicks: Tensor,
    *,
    zoom: bool = False,
) -> FirstAnswers:
    """Answers to one click, int64 [M] into points float [N, 3], on each of the targets bool [M, N].

    zoom: small parts are looked at closely when their size is told
    """
    prompts, labels = points[clicks][:, None], torch.ones_like(clicks)[:, None]
    rows = torch.arange(len(targets), device=points.device)
    logits, predicted = predictor.predict_batch(shape, prompts, labels)
    ious = mask_ious(logits > 0, targets[:, None])
    sizes = targets.float().mean(dim=1)
    if getattr(predictor, "takes_size", False):
        told, predicted_told = predictor.predict_batch(shape, prompts, labels, sizes=sizes)  # type: ignore[call-arg]
        with_size = mask_ious(told > 0, targets[:, None])[rows, predicted_told.argmax(dim=1)]
    else:
        with_size = ious[rows, nearest_in_size(logits, sizes)]
    if zoom:
        for row in (sizes < FINE_SIZE).nonzero()[:, 0].tolist():
            place = shape.normalization.invert(points[clicks[row]].cpu().numpy())[None]
            mask = _looked_at(predictor, shape, place, float(sizes[row]))
            with_size[row] = mask_ious(mask.to(targets.device), targets[row])
    return FirstAnswers(
        chosen=ious[rows, predicted.argmax(dim=1)].cpu().numpy(),
        best_of_three=ious.amax(dim=1).cpu().numpy(),
        with_size=with_size.cpu().numpy(),
    )


def _looked_at(predictor: Any, shape: Any, place: FloatArray, size: float) -> Tensor:
    """The mask bool [N] of one click [1, 3] (mesh's units) into a part of that share, in a close-up of it."""
    label = np.ones(1, dtype=np.int64)
    ball = predictor.where_to_look(shape, place, label, size=size)
    closer = None if ball is None else predictor.close_up(shape, ball)
    answer = predictor.predict(shape, place, label, size=size, zoom=closer)
    return torch.as_tensor(answer.point_logits[answer.best] > 0)


def nearest_in_size(logits: Tensor, sizes: Tensor) -> Tensor:
    """Which of the masks [M, C, N] has the share of points nearest to sizes [M], by ratio: int64 [M]."""
    shares = (logits > 0).float().mean(dim=2).clamp(min=1e-6)
    return (shares.log() - sizes.clamp(min=1e-6).log()[:, None]).abs().argmin(dim=1)
