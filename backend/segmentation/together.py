# SPDX-License-Identifier: GPL-3.0-or-later
"""Several parts asked for at once: whose clicks speak against whom, and one label for each place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from ..errors import PromptError
from ..geometry.mesh import FloatArray, IntArray
from ..refinement.face_graph import FaceGraph
from ..refinement.graph_cut import refine_labels
from ..refinement.islands import dissolve_islands

NOBODY = -1
"""Label of places that none of the parts wants."""

_RIVALS = 7
"""So many nearest other parts are told apart, as in training."""


@dataclass(frozen=True)
class JointPrediction:
    """Masks for the clicks of K parts that were answered together.

    point_logits: float32 [K, N]; face_logits: float32 [K, F], None for point clouds; inside where > 0
    scores: float32 [K], predicted IoU
    clicks: how many were made for a part, on average
    """

    point_logits: FloatArray
    face_logits: FloatArray | None
    scores: FloatArray
    clicks: float = 1.0

    @property
    def point_labels(self) -> IntArray:
        """The part of each encoded point, int32 [N], -1 for none of them."""
        return _best(self.point_logits)

    @property
    def face_labels(self) -> IntArray:
        """The part of each face, int32 [F], -1 for none of them. Raises PromptError for point clouds."""
        return _best(self._face_logits())

    def refined_labels(
        self, graph: FaceGraph, strength: float = 1.0, *, cancel: Callable[[], bool] | None = None
    ) -> IntArray:
        """`face_labels` with borders where evidence and creases want them, int32 [F].

        strength: of the smoothness, of which many clicks leave less, as in `refine_mask`; 0 returns
            `face_labels`. Raises errors.Cancelled.
        """
        labels = self.face_labels
        if strength <= 0:
            return labels
        inside = 1 / (1 + np.exp(-np.clip(self._face_logits(), -30, 30)))
        nobody = np.prod(1 - inside, axis=0, keepdims=True)
        evidence = np.concatenate([inside, nobody]).T + np.float32(1e-6)
        evidence /= evidence.sum(axis=1, keepdims=True)
        start = dissolve_islands(graph, np.where(labels == NOBODY, len(inside), labels).astype(np.int32))
        left = strength / max(self.clicks, 1)
        refined = refine_labels(graph, evidence, start, strength=left, cancel=cancel)
        return np.where(refined == len(inside), NOBODY, refined).astype(np.int32)

    def _face_logits(self) -> FloatArray:
        if self.face_logits is None:
            raise PromptError("a point cloud has no faces; use point_labels")
        return self.face_logits


def joint_prompts(clicks: Sequence[FloatArray]) -> tuple[FloatArray, NDArray[np.int64]]:
    """Clicks of K parts as K prompt sets of equal length: points [K, P, 3] and labels int64 [K, P].

    clicks: K arrays [P_k, 3]. The clicks of the nearest other parts are negative. Shorter sets repeat their
    first click, which says nothing new.
    """
    sets: list[tuple[FloatArray, NDArray[np.int64]]] = []
    for part, own in enumerate(clicks):
        distance = [
            np.inf if other == part else cdist(own, theirs).min() for other, theirs in enumerate(clicks)
        ]
        rivals = np.argsort(distance, kind="stable")[: min(_RIVALS, len(clicks) - 1)]
        against = [clicks[rival] for rival in rivals]
        points = np.concatenate([own, *against])
        sets.append((points, (np.arange(len(points)) < len(own)).astype(np.int64)))
    longest = max(len(points) for points, _ in sets)
    padded = [
        (np.concatenate([points, points[:1].repeat(longest - len(points), axis=0)]),
         np.concatenate([labels, np.ones(longest - len(points), dtype=np.int64)]))
        for points, labels in sets
    ]  # fmt: skip
    return np.stack([points for points, _ in padded]), np.stack([labels for _, labels in padded])


def _best(logits: FloatArray) -> IntArray:
    best = logits.argmax(axis=0).astype(np.int32)
    return np.where(logits.max(axis=0) > 0, best, NOBODY).astype(np.int32)
