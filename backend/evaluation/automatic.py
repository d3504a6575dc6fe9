# SPDX-License-Identifier: GPL-3.0-or-later
"""Automatic protocol: every part of a shape at fixed settings, against its known parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import numpy as np

from ..geometry import Mesh, face_areas
from ..geometry.mesh import FloatArray, IntArray
from ..metrics import adjusted_rand_index, mean_best_iou, panoptic_quality
from .boundary import DEFAULT_TOLERANCE, EdgeGraph, boundary_f_score, build_edge_graph
from .measurement import Measurement, highest
from .shapes import KnownShape

T = TypeVar("T", int, float)

ORACLE_GRANULARITIES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


class PartsLike(Protocol):
    """What the protocol reads of `segment_every_part`'s result."""

    def face_labels(self, granularity: float = 0.5, *, parts: int | None = None) -> IntArray: ...
    def refined_labels(
        self, granularity: float = 0.5, strength: float = 1.0, *, parts: int | None = None
    ) -> IntArray: ...


class PartsPredictor(Protocol):
    """What the protocol needs of a model; `backend.Segmenter` is one."""

    device: str

    def encode(self, mesh: Mesh, *, seed: int = 0) -> Any: ...
    def segment_every_part(self, shape: Any, *, prompts: int = 512) -> PartsLike: ...


@dataclass(frozen=True)
class AutomaticSettings:
    """granularity, prompts, strength: the fixed settings of segment-every-part and refinement
    refine: False leaves out the graph cut
    tolerance: of the boundary F-score, as a fraction of the diagonal
    """

    granularity: float = 0.5
    prompts: int = 512
    strength: float = 1.0
    refine: bool = True
    tolerance: float = DEFAULT_TOLERANCE
    seed: int = 0


@dataclass(frozen=True)
class LabelingScore:
    """One method's labeling of one shape.

    miou: class-agnostic mIoU, faces weighted by area; it does not charge for parts too many
    pq, ari: panoptic quality and adjusted Rand index, which do
    boundary_f: boundary F-score; NaN where the known parts share no edge, or where it was not asked for
    parts: number of predicted parts; ratio: of them to the known parts
    option: the granularity or the number of clusters that gave it; None for methods without one
    """

    miou: float
    pq: float
    ari: float
    boundary_f: float
    parts: int
    ratio: float
    option: float | None = None


@dataclass(frozen=True)
class AutomaticResult:
    """One shape, segmented without clicks.

    scores: `preview`, the labels at the fixed granularity as the slider shows them; `refined`, those after
        the graph cut (if any); `known_count`, the final labels of about as many parts as are known
    sweep: the final labels (refined, or the preview without refinement) at each of ORACLE_GRANULARITIES
    labels: face labels int [F] of `preview` and of `refined` (if any)
    seconds: by stage (`encode`, `segment`, `refine`)
    """

    scores: dict[str, LabelingScore]
    sweep: list[LabelingScore]
    labels: dict[str, IntArray]
    seconds: dict[str, float]
    peak_mib: float | None


@dataclass(frozen=True)
class Truth:
    """Known parts of a mesh, prepared once for scoring many labelings."""

    labels: IntArray
    areas: FloatArray
    graph: EdgeGraph
    tolerance: float

    @classmethod
    def of(cls, item: KnownShape, *, tolerance: float = DEFAULT_TOLERANCE) -> Truth:
        return cls(item.labels, face_areas(item.mesh), build_edge_graph(item.mesh), tolerance)

    def miou(self, predicted: IntArray) -> float:
        return mean_best_iou(self.labels, predicted, self.areas)

    def score(
        self, predicted: IntArray, option: float | None = None, *, boundary: bool = True
    ) -> LabelingScore:
        """Score `predicted` int [F]; `boundary` False leaves out the F-score, which takes longest."""
        found = len(np.unique(predicted[predicted >= 0]))
        known = len(np.unique(self.labels[self.labels >= 0]))
        return LabelingScore(
            miou=self.miou(predicted),
            pq=panoptic_quality(self.labels, predicted, self.areas),
            ari=adjusted_rand_index(self.labels, predicted, self.areas),
            boundary_f=boundary_f_score(self.graph, self.labels, predicted, tolerance=self.tolerance)
            if boundary
            else float("nan"),
            parts=found,
            ratio=found / known if known else float("nan"),
            option=option,
        )

    def oracle(self, options: Sequence[T], labels: Callable[[T], IntArray]) -> T:
        """The option whose labeling has the highest mIoU on this shape, the first of equals."""
        return max(options, key=lambda option: self.miou(labels(option)))


def measure_automatic(
    predictor: PartsPredictor, item: KnownShape, truth: Truth, settings: AutomaticSettings
) -> AutomaticResult:
    """Segment `item` at fixed settings, at each granularity, and into as many parts as are known."""
    with Measurement(predictor.device) as encoding:
        shape = predictor.encode(item.mesh, seed=settings.seed)
    with Measurement(predictor.device) as segmenting:
        parts = predictor.segment_every_part(shape, prompts=settings.prompts)
        preview = parts.face_labels(settings.granularity)
    fixed, known = settings.granularity, len(np.unique(item.labels[item.labels >= 0]))
    labels = {"preview": preview}
    seconds = {"encode": encoding.seconds, "segment": segmenting.seconds}

    def final(granularity: float = 0.5, count: int | None = None) -> IntArray:
        if not settings.refine:
            return parts.face_labels(granularity, parts=count)
        return parts.refined_labels(granularity, settings.strength, parts=count)

    if settings.refine:
        with Measurement(predictor.device) as refining:
            labels["refined"] = final(fixed)
        seconds["refine"] = refining.seconds
    scores = {name: truth.score(found, fixed) for name, found in labels.items()}
    scores["known_count"] = truth.score(final(count=known), known)
    return AutomaticResult(
        scores=scores,
        sweep=_sweep(parts, final, truth),
        labels=labels,
        seconds=seconds,
        peak_mib=highest(encoding.peak_mib, segmenting.peak_mib),
    )


def _sweep(parts: PartsLike, final: Callable[[float], IntArray], truth: Truth) -> list[LabelingScore]:
    """Scores of the `final` labels at each of ORACLE_GRANULARITIES; equal previews are refined once."""
    scores: list[LabelingScore] = []
    last: IntArray | None = None
    for granularity in ORACLE_GRANULARITIES:
        preview = parts.face_labels(granularity)
        if last is None or not np.array_equal(preview, last):
            score = truth.score(final(granularity), boundary=False)
        scores.append(replace(score, option=granularity))
        last = preview
    return scores
