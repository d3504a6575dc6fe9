# SPDX-License-Identifier: GPL-3.0-or-later
"""Corrections answered as the click tool shows them: small parts are looked at closely."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ..answers import MaskPrediction
from ..geometry.mesh import FloatArray, IntArray
from ..segmentation.close_up import Ball, CloseUp


class ClosePredictor(Protocol):
    """What this needs of a model; `backend.Segmenter` says what the methods do."""

    def where_to_look(self, shape: Any, points: FloatArray, labels: Any, **said: Any) -> Ball | None: ...
    def close_up(self, shape: Any, ball: Ball) -> CloseUp: ...
    def look_closer(
        self, shape: Any, zoom: CloseUp, answer: MaskPrediction, points: FloatArray, labels: Any, **said: Any
    ) -> MaskPrediction: ...


@dataclass(frozen=True)
class Look:
    """One part looked at closely: the close-up, and what `look_closer` was told there."""

    zoom: CloseUp
    places: FloatArray
    labels: IntArray
    earlier: MaskPrediction


@dataclass
class CloserLooks:
    """The close-ups of one shape's parts.

    close_ups: how many were made
    """

    predictor: ClosePredictor
    shape: Any
    close_ups: int = 0
    _held: dict[int, CloseUp] = field(default_factory=dict)

    def answer_again(
        self,
        wanted: Tensor,
        clicks: Tensor,
        labels: Tensor,
        previous: Tensor,
        logits: Tensor,
        scores: Tensor,
    ) -> dict[int, Look]:
        """Look closely at the small ones of M parts, and replace their answers in logits [M, N], scores [M].

        wanted: bool [M], the others stay as they are
        clicks: float [M, P, 3], several, in the shape's cube; labels: int [M, P]; previous: logits [M, N] of
            the round before
        Returns the looks by row.
        """
        looks: dict[int, Look] = {}
        for row in wanted.nonzero()[:, 0].tolist():
            answer = _prediction(logits[row], scores[row])
            look = self._look(row, clicks[row], labels[row], _prediction(previous[row]), answer)
            if look is not None:
                closer, looks[row] = self.at(look, answer), look
                logits[row] = torch.as_tensor(closer.point_logits[0], device=logits.device)
                scores[row] = float(closer.scores[0])
        return looks

    def at(self, look: Look, answer: MaskPrediction) -> MaskPrediction:
        """The answer of a closer look instead of `answer`."""
        said = {"previous": look.earlier}
        return self.predictor.look_closer(self.shape, look.zoom, answer, look.places, look.labels, **said)

    def _look(
        self, row: int, clicks: Tensor, labels: Tensor, earlier: MaskPrediction, answer: MaskPrediction
    ) -> Look | None:
        places = self.shape.normalization.invert(clicks.cpu().numpy())
        signs = labels.cpu().numpy()
        ball = self.predictor.where_to_look(self.shape, places, signs, answer=answer)
        if ball is None:
            return None
        held = self._held.get(row)
        if held is None or not held.ball.serves(ball, places[signs == 1]):
            held = self._held[row] = self.predictor.close_up(self.shape, ball)
            self.close_ups += 1
        return Look(held, places, signs, earlier)


def _prediction(logits: Tensor, score: Tensor | float = 1.0) -> MaskPrediction:
    """One mask [N], without faces."""
    return MaskPrediction(logits.cpu().numpy()[None], None, np.array([float(score)], dtype=np.float32), 0)
