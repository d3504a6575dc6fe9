# SPDX-License-Identifier: GPL-3.0-or-later
"""Interactive protocol: IoU after 1, 3, 5, 7 and 10 simulated clicks on every part of a shape."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ..geometry import Mesh
from ..geometry.mesh import FloatArray, IntArray
from ..refinement.face_graph import build_face_graph
from ..refinement.mask import refine_mask
from .clicks import DEFAULT_CANDIDATES, corrective_clicks, deepest_points, mask_ious
from .measurement import Measurement, highest
from .shapes import KnownShape

Preview = Callable[[Tensor, Tensor, Tensor | None, Tensor], Tensor]
"""Clicks [M, P, 3], labels [M, P], previous logits [M, N] or None, chosen candidate [M]: mask bool [M, N]."""


class ClickPredictor(Protocol):
    """What the protocol needs of a model; `backend.Segmenter` is one."""

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
    refine, strength: whether to click a second time on masks that are refined over the mesh's connectivity
        before they are looked at, as Blender shows them, and how strongly
    """

    clicks: int = 10
    max_parts: int = 32
    candidates: int = DEFAULT_CANDIDATES
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
    first_ious: float32 [M], best IoU among the candidates of round one (what a perfect ranking would get)
    refined_ious: float32 [M, R], the same as `ious` with refined masks and clicks that correct those; None
        without refinement
    first_labels, last_labels: int32 [N], the masks of round one and of the last round in one labeling (row of
        `parts`, the highest logit wins, -1 in no mask)
    point_faces: int [N], face of each point
    """

    parts: IntArray
    first_clicks: IntArray
    ious: FloatArray
    scores: FloatArray
    first_ious: FloatArray
    refined_ious: FloatArray | None
    first_labels: IntArray
    last_labels: IntArray
    point_faces: IntArray
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

    def clicked(preview: Preview | None) -> ClickRounds:
        generator = torch.Generator(device).manual_seed(key_seed)
        return simulate_clicks(predictor, shape, points, targets, settings, generator, preview=preview)

    with Measurement(device) as clicking:
        rounds = clicked(None)
    seconds = {"encode": encoding.seconds, "clicks": clicking.seconds}
    refined_ious: FloatArray | None = None
    if settings.refine:
        with Measurement(device) as refining:
            refined_ious = clicked(refined_preview(predictor, shape, item.mesh, settings)).ious.cpu().numpy()
        seconds["refined clicks"] = refining.seconds
    return InteractiveResult(
        parts=parts,
        first_clicks=rounds.first_clicks.cpu().numpy(),
        ious=rounds.ious.cpu().numpy(),
        scores=rounds.scores.cpu().numpy(),
        first_ious=rounds.first_ious.cpu().numpy(),
        refined_ious=refined_ious,
        first_labels=_merged(rounds.first_logits),
        last_labels=_merged(rounds.last_logits),
        point_faces=point_faces,
        seconds=seconds,
        peak_mib=highest(encoding.peak_mib, clicking.peak_mib),
    )


@dataclass(frozen=True)
class ClickRounds:
    """All rounds on M targets.

    first_clicks int64 [M]; ious, scores float32 [M, R]; first_ious [M]; first_logits, last_logits [M, N]
    """

    first_clicks: Tensor
    ious: Tensor
    scores: Tensor
    first_ious: Tensor
    first_logits: Tensor
    last_logits: Tensor


@torch.inference_mode()
def simulate_clicks(
    predictor: ClickPredictor,
    shape: Any,
    points: Tensor,
    targets: Tensor,
    settings: InteractiveSettings,
    generator: torch.Generator,
    *,
    preview: Preview | None = None,
) -> ClickRounds:
    """Click `settings.clicks` times on each of `targets` bool [M, N] over `points` float [N, 3], all at once.

    Of several candidate masks the one with the highest predicted IoU is taken, as in use. Its logits go back
    as the dense prompt of the next round. A mask without any error stays as it is.

    preview: gives the masks that are measured and corrected; None for the network's own, where logits > 0
    """
    rows = torch.arange(len(targets), device=points.device)
    clicks = deepest_points(points, targets, generator=generator, candidates=settings.candidates)[:, None]
    labels = torch.ones_like(clicks)
    logits: list[Tensor] = []
    shown = torch.zeros_like(targets)
    ious: list[Tensor] = []
    scores: list[Tensor] = []
    for _ in range(settings.clicks):
        previous = logits[-1] if logits else None
        positions = points[clicks]
        candidates, predicted = predictor.predict_batch(shape, positions, labels, previous=previous)
        candidates, predicted = candidates.float(), predicted.float()
        best = predicted.argmax(dim=1)
        chosen, score = candidates[rows, best], predicted[rows, best]
        mask = chosen > 0 if preview is None else preview(positions, labels, previous, best)
        if previous is None:
            first_ious = mask_ious(candidates > 0, targets[:, None]).amax(dim=1)
        else:
            perfect = (shown == targets).all(dim=1)
            chosen = torch.where(perfect[:, None], previous, chosen)
            score = torch.where(perfect, scores[-1], score)
            mask = torch.where(perfect[:, None], shown, mask)
        shown = mask
        logits.append(chosen)
        ious.append(mask_ious(shown, targets))
        scores.append(score)
        click, label = corrective_clicks(
            points, targets, shown, generator=generator, candidates=settings.candidates
        )
        clicks, labels = torch.cat([clicks, click[:, None]], 1), torch.cat([labels, label[:, None]], 1)
    return ClickRounds(
        first_clicks=clicks[:, 0],
        ious=torch.stack(ious, 1),
        scores=torch.stack(scores, 1),
        first_ious=first_ious,
        first_logits=logits[0],
        last_logits=logits[-1],
    )


def refined_preview(
    predictor: ClickPredictor, shape: Any, mesh: Mesh, settings: InteractiveSettings
) -> Preview:
    """Masks at the faces of `mesh`, refined, read at the shape's points."""
    graph = build_face_graph(mesh)
    point_faces = np.asarray(shape.point_faces)

    def preview(positions: Tensor, labels: Tensor, previous: Tensor | None, chosen: Tensor) -> Tensor:
        offered = predictor.face_logits_batch(shape, positions, labels, previous=previous)
        logits = offered[torch.arange(len(chosen)), chosen].float().cpu().numpy()
        masks = [refine_mask(graph, row, strength=settings.strength)[point_faces] for row in logits]
        return torch.as_tensor(np.stack(masks), device=positions.device)

    return preview


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
