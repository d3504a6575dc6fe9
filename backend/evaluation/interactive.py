# SPDX-License-Identifier: GPL-3.0-or-later
"""Interactive protocol: IoU after 1, 3, 5, 7 and 10 simulated clicks on every part of a shape."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ..answers import MaskPrediction
from ..click_simulation import DEFAULT_CANDIDATES, corrective_clicks, deepest_points, mask_ious, random_points
from ..geometry import Mesh
from ..geometry.mesh import FloatArray, IntArray
from ..refinement.face_graph import build_face_graph
from ..refinement.mask import refine_mask
from .closer_looks import CloserLooks, Look
from .first_click import FirstAnswers, first_answers
from .measurement import Measurement, highest
from .shapes import KnownShape

REPORTED_CLICKS = (1, 3, 5, 7, 10)
FIRST_CLICKS = ("random", "deepest")


class ClickPredictor(Protocol):
    """What the protocol needs of a model, and with `zoom` of a `ClosePredictor`: a `backend.Segmenter`."""

    device: str

    def encode(self, mesh: Mesh, *, seed: int = 0) -> Any:
        """A shape with `points` float32 [N, 3] and `point_faces` int [N]."""

    def predict_batch(
        self, shape: Any, points: Tensor, labels: Tensor, previous: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """M independent prompt sets on one shape.

        points float32 [M, P, 3] in the shape's cube, labels int64 [M, P] (1 positive, 0 negative), previous
        logits float [M, N]. Returns logits float [M, C, N] and predicted IoUs float [M, C].
        """

    def face_logits_batch(
        self, shape: Any, points: Tensor, labels: Tensor, previous: Tensor | None = None
    ) -> Tensor:
        """The same masks at the mesh's faces, float [M, C, F]."""


@dataclass(frozen=True)
class InteractiveSettings:
    """clicks: rounds per part
    max_parts: shapes with more parts are measured on as many of them, drawn by `seed` and the shape's key
    candidates: points among which the deepest is sought exactly (see `clicks`)
    zoom: whether small parts are looked at closely, as in the click tool: where their size is told, and from
        the second click on where the mask is small
    refine, strength: whether masks are also measured as they are accepted, and how strongly refined
    """

    clicks: int = 10
    max_parts: int = 32
    candidates: int = DEFAULT_CANDIDATES
    zoom: bool = False
    refine: bool = True
    strength: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.clicks, self.max_parts, self.candidates) < 1:
            raise ValueError("clicks, max_parts and candidates must be at least 1")


@dataclass(frozen=True)
class InteractiveResult:
    """One shape under simulated clicks.

    parts: int64 [M], the labels that were asked for
    first_clicks: int64 [M], the points that were clicked first
    ious: float32 [M, R], true IoU after each round
    scores: float32 [M, R], the IoU that the model predicted for the same mask
    shares: float64 [M], each part's share of the sampled points
    first: answers to a single click at the part's deepest point and at a random one (FIRST_CLICKS)
    accepted_ious: after each of REPORTED_CLICKS, float32 [M]: the IoU of the mask that accepting it would
        give, refined over the mesh's connectivity; without refinement empty
    first_labels, last_labels: int32 [N], the masks of round one and of the last round in one labeling (row of
        `parts`, the highest logit wins, -1 in no mask)
    point_faces: int [N], face of each point
    close_ups: how many were made to answer corrections
    """

    parts: IntArray
    first_clicks: IntArray
    ious: FloatArray
    scores: FloatArray
    shares: FloatArray
    first: dict[str, FirstAnswers]
    accepted_ious: dict[int, FloatArray]
    first_labels: IntArray
    last_labels: IntArray
    point_faces: IntArray
    close_ups: int
    seconds: dict[str, float]
    peak_mib: float | None


def measure_interactive(
    predictor: ClickPredictor, item: KnownShape, settings: InteractiveSettings
) -> InteractiveResult | None:
    """Click on every part of `item`; None if no point of the sample lies on a labelled part.

    The model's sample decides what can be measured: parts that none of its points hits are left out.
    """
    key_seed = zlib.crc32(item.key.encode()) + settings.seed
    with Measurement(predictor.device) as encoding:
        shape = predictor.encode(item.mesh, seed=settings.seed)
    point_faces = np.asarray(shape.point_faces)
    labels = item.labels[point_faces]
    parts = _chosen_parts(labels, settings.max_parts, key_seed)
    if not len(parts):
        return None
    device = torch.device(predictor.device)
    points = torch.as_tensor(shape.points, device=device)
    targets = torch.as_tensor(labels[None] == parts[:, None], device=device)
    generator = torch.Generator(device).manual_seed(key_seed)
    with Measurement(device) as clicking:
        rounds = simulate_clicks(predictor, shape, points, targets, settings, generator)
        starts = {"deepest": rounds.clicks[:, 0], "random": random_points(targets, generator)}
        first = {
            kind: first_answers(predictor, shape, points, targets, clicks, zoom=settings.zoom)
            for kind, clicks in starts.items()
        }
    seconds = {"encode": encoding.seconds, "clicks": clicking.seconds}
    accepted: dict[int, FloatArray] = {}
    if settings.refine:
        with Measurement(device) as refining:
            accepted = accepted_ious(predictor, shape, item.mesh, points, targets, rounds, settings)
        seconds["refine"] = refining.seconds
    return InteractiveResult(
        parts=parts,
        first_clicks=rounds.clicks[:, 0].cpu().numpy(),
        ious=rounds.ious.cpu().numpy(),
        scores=rounds.scores.cpu().numpy(),
        shares=targets.float().mean(dim=1).double().cpu().numpy(),
        first=first,
        accepted_ious=accepted,
        first_labels=_merged(rounds.logits[0]),
        last_labels=_merged(rounds.logits[-1]),
        point_faces=point_faces,
        seconds=seconds,
        close_ups=0 if rounds.closer is None else rounds.closer.close_ups,
        peak_mib=highest(encoding.peak_mib, clicking.peak_mib),
    )


@dataclass(frozen=True)
class ClickRounds:
    """All R rounds on M targets.

    clicks, labels: int64 [M, R], the points that were clicked, and 1 (inside) or 0 (outside)
    candidates: int64 [M, R], which of the offered masks was taken; logits: float32 [R, M, N], that mask
    ious, scores: float32 [M, R]
    closer: the close-ups, if parts are looked at closely; looks: in each round those at small parts, by row
    """

    clicks: Tensor
    labels: Tensor
    candidates: Tensor
    logits: Tensor
    ious: Tensor
    scores: Tensor
    closer: CloserLooks | None
    looks: list[dict[int, Look]]


@torch.inference_mode()
def simulate_clicks(
    predictor: ClickPredictor,
    shape: Any,
    points: Tensor,
    targets: Tensor,
    settings: InteractiveSettings,
    generator: torch.Generator,
) -> ClickRounds:
    """Click `settings.clicks` times on each of `targets` bool [M, N] over `points` float [N, 3], all at once.

    Of several candidate masks the one with the highest predicted IoU is taken, as in use. Its logits go back
    as the dense prompt of the next round. A mask without any error stays as it is.
    """
    rows = torch.arange(len(targets), device=points.device)
    deepest = partial(deepest_points, points, generator=generator, candidates=settings.candidates)
    clicks = deepest(targets)[:, None]
    labels = torch.ones_like(clicks)
    logits: list[Tensor] = []
    taken: list[Tensor] = []
    ious: list[Tensor] = []
    scores: list[Tensor] = []
    closer = CloserLooks(predictor, shape) if settings.zoom else None  # type: ignore[arg-type]
    looks: list[dict[int, Look]] = []
    for _ in range(settings.clicks):
        previous = logits[-1] if logits else None
        candidates, predicted = predictor.predict_batch(shape, points[clicks], labels, previous=previous)
        candidates, predicted = candidates.float(), predicted.float()
        best = predicted.argmax(dim=1)
        chosen, score = candidates[rows, best], predicted[rows, best]
        looks.append({})
        if previous is not None:
            perfect = ((previous > 0) == targets).all(dim=1)
            if closer is not None:
                looks[-1] = closer.answer_again(~perfect, points[clicks], labels, previous, chosen, score)
            chosen = torch.where(perfect[:, None], previous, chosen)
            score = torch.where(perfect, scores[-1], score)
        logits.append(chosen)
        taken.append(best)
        ious.append(mask_ious(chosen > 0, targets))
        scores.append(score)
        click, label = corrective_clicks(targets, chosen > 0, deepest)
        clicks, labels = torch.cat([clicks, click[:, None]], 1), torch.cat([labels, label[:, None]], 1)
    return ClickRounds(
        clicks=clicks[:, :-1],
        labels=labels[:, :-1],
        candidates=torch.stack(taken, 1),
        logits=torch.stack(logits),
        ious=torch.stack(ious, 1),
        scores=torch.stack(scores, 1),
        closer=closer,
        looks=looks,
    )


def accepted_ious(
    predictor: ClickPredictor,
    shape: Any,
    mesh: Mesh,
    points: Tensor,
    targets: Tensor,
    rounds: ClickRounds,
    settings: InteractiveSettings,
) -> dict[int, FloatArray]:
    """IoU of the masks as a user accepts them, by number of clicks (of REPORTED_CLICKS): float32 [M].

    The mask of that round, evaluated at the faces of `mesh` and refined, over the same points as `targets`.
    """
    graph = build_face_graph(mesh)
    rows = torch.arange(len(targets), device=points.device)
    known = targets.cpu().numpy()
    found: dict[int, FloatArray] = {}
    for count in (count for count in REPORTED_CLICKS if count <= settings.clicks):
        clicks, labels = rounds.clicks[:, :count], rounds.labels[:, :count]
        previous = rounds.logits[count - 2] if count > 1 else None
        offered = predictor.face_logits_batch(shape, points[clicks], labels, previous=previous)
        logits = offered[rows, rounds.candidates[:, count - 1]].float().cpu().numpy()
        for row, look in rounds.looks[count - 1].items():
            assert rounds.closer is not None
            whole = MaskPrediction(
                known[[row]].astype(np.float32), logits[[row]], np.ones(1, dtype=np.float32), 0
            )
            logits[row] = rounds.closer.at(look, whole).face_logits
        masks = np.stack(
            [refine_mask(graph, row, strength=settings.strength, clicks=count) for row in logits]
        )
        accepted = masks[:, np.asarray(shape.point_faces)]
        union = (accepted | known).sum(axis=1)
        found[count] = ((accepted & known).sum(axis=1) / union).astype(np.float32)
    return found


def labeling_ious(result: InteractiveResult, labels: IntArray, item: KnownShape) -> FloatArray:
    """IoU@1 of a labeling without a decoder: one click takes the part of `labels` int [F] that it lies in.

    Measured over the same points and first clicks as `result`. float64 [M].
    """
    predicted = labels[result.point_faces]
    masks = predicted[None] == predicted[result.first_clicks][:, None]
    targets = item.labels[result.point_faces][None] == result.parts[:, None]
    return (masks & targets).sum(axis=1) / (masks | targets).sum(axis=1)


def _chosen_parts(labels: IntArray, count: int, seed: int) -> IntArray:
    """Labels >= 0 that occur, ascending; `count` of them drawn at random if there are more."""
    parts = np.unique(labels[labels >= 0]).astype(np.int64)
    if len(parts) <= count:
        return parts
    return np.sort(np.random.default_rng(seed).choice(parts, count, replace=False))


def _merged(logits: Tensor) -> IntArray:
    """One labeling out of M masks: int32 [N], row of the highest positive logit or -1."""
    value, row = logits.max(dim=0)
    return torch.where(value > 0, row, -1).to(torch.int32).cpu().numpy()
