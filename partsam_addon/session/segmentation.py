# SPDX-License-Identifier: GPL-3.0-or-later
"""The flows between Blender and the backend: encode a shape, find its parts, cut them again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from ..backend_process import Result, requests
from ..mesh_exchange import ShapeData, sample_shape
from .flow import Flow
from .results import Cut, Labels, Segmentation

if TYPE_CHECKING:
    from .session import Session


@dataclass(frozen=True)
class SegmentSettings:
    """prompts: points that the network is asked about; seed: of the surface sample."""

    prompts: int = 256
    seed: int = 0
    cut: Cut = field(default_factory=Cut)


@dataclass(frozen=True)
class Task:
    """One shape to segment. partial: see `Segmentation`."""

    shape: ShapeData
    partial: bool = False


def encode(session: Session, shape: ShapeData, *, seed: int = 0) -> Flow:
    """Encode `shape`; returns the backend's name for it."""
    choices = session.choices
    assert choices is not None, "the backend was opened before"
    model, device = choices.model, choices.device
    loaded: Result = yield session.send(requests.load_model(model, device=device))
    sample = sample_shape(shape, int(loaded.fields["points"]), seed=seed)
    arrays = {
        "vertices": shape.mesh.vertices,
        "triangles": shape.mesh.triangles,
        "points": sample.points,
        "normals": sample.normals,
        "colors": sample.colors,
        "point_faces": sample.faces,
    }
    encoded: Result = yield session.send(requests.encode(arrays, model=model, device=device, seed=seed))
    session.notices += encoded.notices
    return str(encoded.fields["shape"])


def segment(session: Session, tasks: Sequence[Task], settings: SegmentSettings) -> Flow:
    """Find the parts of each task's shape; returns a list of `Segmentation`. Writes nothing."""
    found = []
    for task in tasks:
        shape_id = yield from encode(session, task.shape, seed=settings.seed)
        request = requests.segment_every_part(
            shape_id, prompts=settings.prompts, granularity=settings.cut.granularity
        )
        answer: Result = yield session.send(request)
        session.notices += answer.notices
        plain = Segmentation(
            id=session.results.next_id(),
            parts_id=str(answer.fields["parts"]),
            sources=task.shape.sources,
            partial=task.partial,
            cut=Cut(settings.cut.granularity, None),
            labels=_labels(answer),
        )
        found.append((yield from cut_again(session, plain, settings.cut)))
    return found


def cut_again(session: Session, segmentation: Segmentation, cut: Cut) -> Flow:
    """The same parts cut at `cut`; returns a `Segmentation`. No inference."""
    if cut == segmentation.cut:
        return segmentation
    answer: Result = yield session.send(cut_request(segmentation, cut))
    session.notices += answer.notices
    return with_answer(segmentation, cut, answer)


def cut_request(segmentation: Segmentation, cut: Cut) -> requests.Request:
    """The request whose answer is `segmentation` cut at `cut`."""
    parts = str(segmentation.parts_id)
    if cut.strength is None:
        return requests.face_labels(parts, granularity=cut.granularity)
    return requests.refine(parts, granularity=cut.granularity, strength=cut.strength)


def with_answer(segmentation: Segmentation, cut: Cut, answer: Result) -> Segmentation:
    """`segmentation` with the labels of an answer to `cut_request`."""
    return replace(segmentation, cut=cut, labels=_labels(answer))


def _labels(answer: Result) -> Labels:
    # The network predicts an IoU by regression, which may step over its ends.
    return Labels(answer.arrays["labels"], np.clip(answer.arrays["confidence"], 0.0, 1.0))
