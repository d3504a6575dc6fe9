# SPDX-License-Identifier: GPL-3.0-or-later
"""Segment every part in several poses of a shape: what the network sees turned or mirrored, too, counts more.

A network answers a turned shape a little differently, and where two ways to cut are about equally good, a
little decides. Candidates of all poses together lean less on the pose that the file happens to have; and of
several partitions, each made of a random half of the candidates, the one is taken that agrees best with the
others: the median by panoptic quality.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..geometry.mesh import FloatArray, IntArray
from ..metrics import panoptic_quality
from .encoded_shape import PromptDecoder
from .every_part import (
    Cancel,
    EveryPartSettings,
    Progress,
    Proposals,
    assemble,
    check,
    decode_at_sites,
    graphs_of,
    propose,
    worth_keeping,
)
from .parts import Parts

_DRAWS = 4
"""Partitions of a random half of the clicks, beside that of all."""

_X, _Y, _Z = np.diag([-1.0, 1, 1]), np.diag([1.0, -1, 1]), np.diag([1.0, 1, -1])
_ABOUT_X = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
_ABOUT_Y = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])
_ABOUT_Z = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
TURNS = (
    np.eye(3), _X @ _ABOUT_Y, _ABOUT_X, _X @ _ABOUT_Z, _ABOUT_Z, _X @ _ABOUT_X, _Y @ _Z, _Z,
)  # fmt: skip
"""Quarter turns and mirror images, each far from those before."""


def clicks_of_pose(count: int, pose: int) -> NDArray[np.int64]:
    """Which of `count` evenly spread clicks are asked in a pose: every second one, in turns."""
    return np.arange(count)[pose % 2 :: 2]


@dataclass(frozen=True)
class _Answers:
    """What one pose has answered: its decoder, its clicks [P, 3] in the cube of that pose, and the masks."""

    decoder: PromptDecoder
    clicks: Tensor
    found: Proposals


def find_parts_in_poses(
    decoder: PromptDecoder,
    turned: Callable[[FloatArray], PromptDecoder],
    chosen: IntArray,
    poses: int,
    *,
    prompt_batch: int,
    settings: EveryPartSettings,
    report: Progress,
    cancel: Cancel | None,
) -> Parts:
    """All parts of the decoder's shape.

    turned: gives the decoder of the shape turned by a matrix [3, 3]
    chosen: int [P], the points to click at, half of them in each pose
    """
    shape = decoder.shape
    answers: list[_Answers] = []

    def reporting(pose: int) -> Progress:
        return lambda stage, share: report(stage, (pose + share) / poses)

    with graphs_of(decoder) as graphs:
        for pose, turn in enumerate(TURNS[:poses]):
            check(cancel)
            report("prompts", pose / poses)
            seen = turned(turn)
            asked = seen.shape.points[chosen[clicks_of_pose(len(chosen), pose)]]
            clicks = torch.as_tensor(asked, dtype=torch.float32, device=seen.device)
            found = propose(seen, clicks, prompt_batch, settings, reporting(pose), cancel)
            answers.append(_Answers(seen, clicks, found))
        first = np.cumsum([0, *(len(answer.clicks) for answer in answers)])
        found = _together([answer.found for answer in answers], first)
        draws = [_kept_of_draw(found, int(first[-1]), settings, draw) for draw in range(_DRAWS + 1)]
        wanted = torch.cat([rows for rows, _, _ in draws]).unique()
        logits = np.empty((len(wanted), len(shape.sites.locations)), dtype=np.float16)
        for pose, answer in enumerate(answers):
            of_pose = (found.clicks[wanted] >= first[pose]) & (found.clicks[wanted] < first[pose + 1])
            own = found.take(wanted[of_pose])
            own = Proposals(own.clicks - int(first[pose]), own.tokens, own.scores, own.masks)
            logits[of_pose.cpu().numpy()] = decode_at_sites(
                answer.decoder, answer.clicks, own, prompt_batch, reporting(pose), cancel
            )
        report("parts", 0.0)
        made = []
        for rows, ranks, support in draws:
            own_logits = logits[torch.searchsorted(wanted, rows).cpu().numpy()]
            measures = (tensor.cpu().numpy() for tensor in (found.scores[rows], ranks, support))
            made.append(assemble(shape, *graphs(), own_logits, *measures, settings=settings))
            report("parts", len(made) / len(draws))
    return made[_most_agreed([parts.partition().labels for parts in made], shape.sites.weights)]


def _together(proposals: Sequence[Proposals], first: NDArray[np.int64]) -> Proposals:
    """Those of all poses, their clicks numbered one after the other."""
    return Proposals(
        torch.cat([found.clicks + int(start) for found, start in zip(proposals, first[:-1], strict=True)]),
        torch.cat([found.tokens for found in proposals]),
        torch.cat([found.scores for found in proposals]),
        torch.cat([found.masks for found in proposals]),
    )


def _kept_of_draw(
    found: Proposals, clicks: int, settings: EveryPartSettings, draw: int
) -> tuple[Tensor, Tensor, Tensor]:
    """`worth_keeping` of the proposals of a random half of the clicks; draw 0 has all."""
    if draw == 0:
        return worth_keeping(found, clicks, settings)
    half = np.random.default_rng(draw).permutation(clicks)[: (clicks + 1) // 2]
    number = torch.full((clicks,), -1, dtype=torch.long)
    number[torch.as_tensor(half)] = torch.arange(len(half))
    own = number.to(found.clicks.device)[found.clicks]
    rows = (own >= 0).nonzero()[:, 0]
    drawn = found.take(rows)
    drawn = Proposals(own[rows], drawn.tokens, drawn.scores, drawn.masks)
    kept, ranks, support = worth_keeping(drawn, len(half), settings)
    return rows[kept], ranks, support


def _most_agreed(labelings: Sequence[IntArray], weights: FloatArray) -> int:
    """Which of the labelings int [S] agrees best with the others; of equal ones the first."""
    agreement = np.zeros(len(labelings))
    for one, other in combinations(range(len(labelings)), 2):
        quality = panoptic_quality(labelings[one], labelings[other], weights)
        agreement[one] += quality
        agreement[other] += quality
    return int(agreement.argmax())
