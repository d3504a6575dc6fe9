# SPDX-License-Identifier: GPL-3.0-or-later
"""A protocol over many shapes: one JSON-ready record per shape, and a card for the picture sheet."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..geometry import face_centroids
from ..geometry.mesh import IntArray
from ..metrics import finite_mean
from ..nearest import nearest
from .automatic import AutomaticSettings, PartsPredictor, Truth, measure_automatic
from .baselines import BaselineLabels, FieldPredictor, FieldSettings, baseline_labelings
from .interactive import (
    ClickPredictor,
    InteractiveResult,
    InteractiveSettings,
    labeling_ious,
    measure_interactive,
)
from .render import matched_labels
from .shapes import KnownShape
from .sheet import Card
from .together import TogetherPredictor, TogetherSettings, measure_together

Record = dict[str, Any]


@dataclass(frozen=True)
class Baselines:
    """Which baselines to run beside the model.

    names: of `evaluation.BASELINES`; models: `trained` and `untrained`, for clustering their fields
    """

    names: Sequence[str]
    models: Mapping[str, FieldPredictor]
    settings: FieldSettings

    def labelings(self, item: KnownShape, truth: Truth | None = None) -> dict[str, BaselineLabels]:
        """Their labelings of one shape; `truth` is the shape's, where the caller has it already."""
        if not self.names:
            return {}
        return baseline_labelings(item, truth or Truth.of(item), self.models, self.names, self.settings)


def run_interactive(
    predictor: ClickPredictor,
    shapes: Sequence[KnownShape],
    settings: InteractiveSettings,
    baselines: Baselines,
) -> Iterator[tuple[Record, Card]]:
    """Records and cards of the interactive protocol, shape by shape.

    A shape none of whose parts is hit by the model's points gives no record.
    """
    for item in shapes:
        result = measure_interactive(predictor, item, settings)
        if result is None:
            continue
        mean = result.ious.mean(axis=0)
        record = _origin(item) | {
            "parts": len(result.parts),
            "iou": {str(click + 1): float(value) for click, value in enumerate(mean)},
            "first": {
                kind: {name: float(ious.mean()) for name, ious in vars(answers).items()}
                for kind, answers in result.first.items()
            },
            "iou_accepted": {
                str(click): float(values.mean()) for click, values in result.accepted_ious.items()
            },
            "baselines": {
                name: {"iou_first": float(labeling_ious(result, found.labels, item).mean())}
                for name, found in baselines.labelings(item).items()
            },
            "by_part": {
                "label": result.parts.tolist(),
                "iou": result.ious.astype(float).round(5).tolist(),
                "score": result.scores.astype(float).round(5).tolist(),
                "share": result.shares.round(6).tolist(),
                "first": {
                    kind: {name: ious.astype(float).round(5).tolist() for name, ious in vars(answers).items()}
                    for kind, answers in result.first.items()
                },
            },
            "close_ups": result.close_ups,
            "seconds": result.seconds,
            "peak_mib": result.peak_mib,
        }
        last = f"{settings.clicks} clicks each"
        card = Card(
            item,
            score=finite_mean(mean),
            text=f"IoU@1 {mean[0]:.3f}, IoU@{settings.clicks} {mean[-1]:.3f}, {len(result.parts)} parts",
            predictions={
                "1 click each": _face_labels(item, result, result.first_labels),
                last: _face_labels(item, result, result.last_labels),
            },
        )
        yield record, card


def run_automatic(
    predictor: PartsPredictor,
    shapes: Sequence[KnownShape],
    settings: AutomaticSettings,
    baselines: Baselines,
) -> Iterator[tuple[Record, Card]]:
    """Records and cards of the automatic protocol, shape by shape.

    Shapes without any known part give none.
    """
    for item in shapes:
        truth = Truth.of(item, tolerance=settings.tolerance)
        if not (item.labels >= 0).any():
            continue
        result = measure_automatic(predictor, item, truth, settings)
        scores = dict(result.scores)
        for name, found in baselines.labelings(item, truth).items():
            scores[name] = truth.score(found.labels, found.clusters)
        record = _origin(item) | {
            "parts": len(np.unique(item.labels[item.labels >= 0])),
            "methods": {name: dataclasses.asdict(score) for name, score in scores.items()},
            "sweep": [dataclasses.asdict(score) for score in result.sweep],
            "seconds": result.seconds,
            "peak_mib": result.peak_mib,
        }
        text = ", ".join(f"{name} PQ {result.scores[name].pq:.3f}" for name in result.labels)
        matched = {
            name: matched_labels(item.labels, labels, truth.areas) for name, labels in result.labels.items()
        }
        final = result.scores[list(result.labels)[-1]]
        yield record, Card(item, score=final.pq, text=text, predictions=matched)


def run_together(
    predictor: TogetherPredictor, shapes: Sequence[KnownShape], settings: TogetherSettings
) -> Iterator[tuple[Record, Card]]:
    """Records and cards of the protocol `parts`, shape by shape; as for `run_interactive`."""
    for item in shapes:
        result = measure_together(predictor, item, settings)
        if result is None:
            continue
        record = _origin(item) | {
            "parts": len(result.parts),
            "together": {
                place: {str(count): float(ious.mean()) for count, ious in by_count.items()}
                for place, by_count in result.ious.items()
            },
            "by_part": {
                "label": result.parts.tolist(),
                "share": result.shares.round(6).tolist(),
                "together": {
                    place: {str(count): ious.round(5).tolist() for count, ious in by_count.items()}
                    for place, by_count in result.ious.items()
                },
            },
            "seconds": result.seconds,
            "peak_mib": result.peak_mib,
        }
        scores = record["together"]["random"]
        yield (
            record,
            Card(
                item,
                score=scores[str(settings.counts[0])],
                text=", ".join(f"IoU with {count} each {value:.3f}" for count, value in scores.items()),
                predictions={f"{count} random each": x for count, x in result.labels["random"].items()},
            ),
        )


def _origin(item: KnownShape) -> Record:
    return {
        "key": item.key,
        "source": item.source,
        "labeling": item.labeling,
        "faces": item.mesh.face_count,
    }


def _face_labels(item: KnownShape, result: InteractiveResult, rows: IntArray) -> IntArray:
    """Labels of points (rows of `result.parts`, -1 none) carried to faces for the picture, int [F].

    A face takes the label of one of its own points (the last), or of the face with points that is nearest.
    """
    labels = np.where(rows >= 0, result.parts[rows], -1)
    faces = np.full(item.mesh.face_count, -1)
    faces[result.point_faces] = labels
    hit = np.zeros(item.mesh.face_count, dtype=bool)
    hit[result.point_faces] = True
    if not hit.all():
        centroids = face_centroids(item.mesh)
        faces[~hit] = faces[hit][nearest(centroids[hit], centroids[~hit])]
    return faces
