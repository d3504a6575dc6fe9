# SPDX-License-Identifier: GPL-3.0-or-later
"""Segment every part in several poses of a shape: what the network sees turned or mirrored, too, counts more.

A network answers a turned shape a little differently, and where two ways to cut are about equally good, a
little decides. Candidates of all poses together lean less on the pose that the file happens to have; and of
several partitions, each made of a random half of the candidates, the one is taken that agrees best with the
others: the median by panoptic quality.
"""

from __future__ import annotations

from collections.abc import Sequence
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


def find_parts_in_poses(
    decoders: Sequence[PromptDecoder],
    clicks: Sequence[Tensor],
    *,
    prompt_batch: int,
    settings: EveryPartSettings,
    report: Progress,
    cancel: Cancel | None,
) -> Parts:
    """All parts of the first decoder's shape, from clicks [P, 3] of each pose, in the cube of that pose."""
    shape, poses = decoders[0].shape, len(decoders)
    first = np.cumsum([0, *(len(asked) for asked in clicks)])

    def reporting(pose: int) -> Progress:
        return lambda stage, share: report(stage, (pose + share) / poses)

    with graphs_of(decoders[0]) as graphs:
        proposals = [
            propose(decoder, asked, prompt_batch, settings, reporting(pose), cancel)
            for pose, (decoder, asked) in enumerate(zip(decoders, clicks, strict=True))
        ]
        found = _together(proposals, first)
        draws = [_kept_of_draw(found, int(first[-1]), settings, draw) for draw in range(_DRAWS + 1)]
        wanted = torch.cat([rows for rows, _, _ in draws]).unique()
        logits = np.empty((len(wanted), len(shape.sites.locations)), dtype=np.float16)
        for pose, (decoder, asked) in enumerate(zip(decoders, clicks, strict=True)):
            of_pose = (found.clicks[wanted] >= first[pose]) & (found.clicks[wanted] < first[pose + 1])
            own = found.take(wanted[of_pose])
            own = Proposals(own.clicks - int(first[pose]), own.tokens, own.scores, own.masks)
            logits[of_pose.cpu().numpy()] = decode_at_sites(
                decoder, asked, own, prompt_batch, reporting(pose), cancel
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
