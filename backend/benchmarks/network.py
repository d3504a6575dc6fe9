# SPDX-License-Identifier: GPL-3.0-or-later
"""How long the network's answers take, against the same network computed plainly, and whether both agree."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..geometry import Mesh

if TYPE_CHECKING:
    from ..segmentation import Parts
    from ..segmenter import EncodedShape, Segmenter

Value = TypeVar("Value")

_CLICKS = 10


@dataclass(frozen=True)
class AnswerTimes:
    """Milliseconds.

    encode: sampling, patches and network; every_part: from the encoded shape to labels; click: one `predict`
    """

    encode: float
    every_part: float
    click: float


@dataclass(frozen=True)
class NetworkMeasurement:
    """One built mesh, answered fast and plainly on the same device.

    plain: float32 throughout, the textbook's attention, every mask evaluated everywhere
    same_labels: share of the faces with the same part, parts matched one to one
    mask_iou: of each plainly found mask with the most alike of the fast ones, on average
    click_iou: of the best mask under a click, on average over clicks
    memory_mib: most memory that the fast one held on a graphics card; None without one
    """

    faces: int
    points: int
    fast: AnswerTimes
    plain: AnswerTimes
    same_labels: float
    mask_iou: float
    click_iou: float
    memory_mib: float | None


def measure_network(faces: int, *, model: str, device: str, prompts: int, repeat: int) -> NetworkMeasurement:
    """Measure a built mesh of about `faces` faces in this process."""
    from ..devices import peak_device_bytes
    from ..segmenter import Segmenter
    from .graph_cut import lumpy_torus

    segmenter = Segmenter.load(model, device=device)
    segmenter.warm_up()
    mesh = lumpy_torus(faces)
    fast = _answers(segmenter, mesh, prompts, repeat)
    memory = peak_device_bytes(segmenter.device)
    plain = _answers(segmenter.plain(), mesh, prompts, repeat)
    return NetworkMeasurement(
        faces=mesh.face_count,
        points=segmenter.config.points,
        fast=fast.times,
        plain=plain.times,
        same_labels=same_labels(fast.parts.face_labels(), plain.parts.face_labels()),
        mask_iou=_mean_best_iou(plain.parts.mask_logits > 0, fast.parts.mask_logits > 0),
        click_iou=float(np.mean([_iou(a, b) for a, b in zip(fast.clicks, plain.clicks, strict=True)])),
        memory_mib=None if memory is None else memory / 2**20,
    )


@dataclass(frozen=True)
class _Answers:
    """parts, and clicks: the best mask under each of some clicks, bool [F]; how long they took."""

    times: AnswerTimes
    parts: Parts
    clicks: list[NDArray[np.bool_]]


def _answers(segmenter: Segmenter, mesh: Mesh, prompts: int, repeat: int) -> _Answers:
    def encode() -> EncodedShape:
        return segmenter.encode(Mesh(mesh.vertices, mesh.triangles))  # which knows nothing of itself yet

    def every_part() -> Parts:
        parts = segmenter.segment_every_part(replace(shape, graph_ahead=None), prompts=prompts)  # likewise
        parts.face_labels()
        return parts

    def click(place: NDArray[np.floating]) -> NDArray[np.bool_]:
        prediction = segmenter.predict(shape, place, np.ones(1, dtype=np.int64))
        return np.asarray(prediction.face_logits)[prediction.best] > 0

    encode_ms, shape = median_ms(segmenter, encode, repeat)
    every_part_ms, parts = median_ms(segmenter, every_part, repeat)
    places = shape.normalization.invert(shape.points[:_CLICKS])
    click_ms, _ = median_ms(segmenter, lambda: click(places[0]), max(repeat, _CLICKS))
    return _Answers(AnswerTimes(encode_ms, every_part_ms, click_ms), parts, list(map(click, places)))


def median_ms(segmenter: Segmenter, work: Callable[[], Value], repeat: int) -> tuple[float, Value]:
    """Milliseconds and the last result; of several times the first is not counted."""
    from ..devices import finish

    times = []
    for _ in range(repeat if repeat == 1 else repeat + 1):
        start = time.perf_counter()
        value = work()
        finish(segmenter.device)
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[-repeat:]), value


def same_labels(first: NDArray[np.integer], second: NDArray[np.integer]) -> float:
    """Share of the faces with the same part, int [F] each, when parts are matched one to one."""
    from scipy.optimize import linear_sum_assignment

    shared = np.zeros((int(first.max()) + 1, int(second.max()) + 1), dtype=np.int64)
    np.add.at(shared, (first, second), 1)
    rows, columns = linear_sum_assignment(-shared)
    return float(shared[rows, columns].sum() / len(first))


def _mean_best_iou(wanted: NDArray[np.bool_], found: NDArray[np.bool_]) -> float:
    if not len(wanted) or not len(found):
        return float(len(wanted) == len(found))
    ours, theirs = wanted.astype(np.float32), found.astype(np.float32)
    shared = ours @ theirs.T
    union = ours.sum(axis=1)[:, None] + theirs.sum(axis=1) - shared
    return float((shared / np.maximum(union, 1)).max(axis=1).mean())


def _iou(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    union = int((first | second).sum())
    return float((first & second).sum() / union) if union else 1.0
