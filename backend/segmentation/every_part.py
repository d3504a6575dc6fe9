# SPDX-License-Identifier: GPL-3.0-or-later
"""Segment every part: click everywhere, keep what holds, make parts of it.

Candidates are filtered on a few thousand points; only those kept are decoded at every face.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..devices import works_by_itself
from ..errors import Cancelled
from ..freed_memory import give_back_freed_memory
from ..geometry.mesh import FloatArray
from ..network.model import Decoding
from ..refinement.face_graph import FaceGraph
from ..threads import meanwhile
from .candidates import stability_scores, support_scores, suppress_overlaps
from .encoded_shape import EncodedShape, PromptDecoder
from .node_features import Candidates, node_features
from .part_quality import bundled_part_quality
from .part_tree import TreeSettings, build_part_tree
from .partition import tree_partition
from .parts import Parts
from .published import published_parts
from .selection import SelectionSettings, partition_chain
from .sites import graph_of_points, graph_of_sites

Progress = Callable[[str, float], None]
Cancel = Callable[[], bool]

_USUAL_CLICKS = 512

_FEW_SITES = 10
"""Where a mesh has so many times more faces than sites, what its encoding freed is given back first: the
prompts have little use for it, and the most memory held of a million faces is 800 to 816 instead of 775 to
847 MiB, for 9 ms."""


@dataclass(frozen=True)
class EveryPartSettings:
    """Settings of segment-every-part.

    min_score: masks with a lower predicted IoU are dropped, those that cover at least the share `large` of
        the patches where it is lower by `large_margin`: large masks rate themselves lower, and where none of
        them is kept most of the surface is no part at all
    min_stability, stability_offset: masks whose IoU between the logit thresholds +offset and -offset
        is lower are dropped
    min_support, support_iou: masks that too few of the clicks inside them agree on (with a mask of at
        least this IoU) are dropped; see `support_scores`. Of fewer than 512 clicks more must agree
    support_weight: of the support beside the predicted IoU when masks are ranked
    nms_iou: of two masks with a higher IoU only the better scored is kept
    max_masks: at most this many are kept, best scored first
    coarse_points: masks are filtered on this many points, before the kept ones are decoded everywhere
    tree: how kept masks become a tree of parts; selection: which of its nodes are parts
    """

    min_score: float = 0.35
    large: float = 0.08
    large_margin: float = 0.15
    min_stability: float = 0.45
    stability_offset: float = 1.0
    min_support: float = 0.15
    support_iou: float = 0.6
    support_weight: float = 0.3
    nms_iou: float = 0.5
    max_masks: int = 128
    coarse_points: int = 3072
    tree: TreeSettings = field(default_factory=TreeSettings)
    selection: SelectionSettings = field(default_factory=SelectionSettings)


@dataclass(frozen=True)
class Proposals:
    """Masks that clicks led to.

    clicks: int64 [K], the click that each came from; tokens: int64 [K], mask token 1 .. 3
    scores: float32 [K], predicted IoU
    masks: bool [K, N], on the coarse points
    """

    clicks: Tensor
    tokens: Tensor
    scores: Tensor
    masks: Tensor

    def take(self, rows: Tensor) -> Proposals:
        return Proposals(self.clicks[rows], self.tokens[rows], self.scores[rows], self.masks[rows])


def find_parts(
    decoder: PromptDecoder,
    clicks: Tensor,
    *,
    prompt_batch: int,
    settings: EveryPartSettings,
    report: Progress,
    cancel: Cancel | None,
) -> Parts:
    """All parts of the decoder's shape, from clicks [P, 3] in the network's cube."""
    mesh = decoder.shape.mesh
    if mesh is not None and len(decoder.shape.sites.locations) < mesh.face_count // _FEW_SITES:
        give_back_freed_memory()
    with graphs_of(decoder) as graphs:
        found = propose(decoder, clicks, prompt_batch, settings, report, cancel)
        rows, ranks, support = worth_keeping(found, len(clicks), settings)
        found = found.take(rows)
        logits = decode_at_sites(decoder, clicks, found, prompt_batch, report, cancel)
        report("parts", 0.0)
        measures = (tensor.cpu().numpy() for tensor in (found.scores, ranks, support))
        parts = assemble(decoder.shape, *graphs(), logits, *measures, settings=settings)
    report("parts", 1.0)
    return parts


_Graphs = tuple[FaceGraph | None, FaceGraph]
"""Of the faces, None for point clouds, and of the sites."""


def graphs_of(decoder: PromptDecoder) -> AbstractContextManager[Callable[[], _Graphs]]:
    """How to get the graphs, which are built meanwhile if another device answers the prompts."""
    shape = decoder.shape

    def built() -> _Graphs:
        if shape.mesh is None:
            return None, graph_of_points(shape.sites, shape.normals)
        return shape.face_graph, graph_of_sites(shape.face_graph, shape.sites)

    return meanwhile(built, beside=works_by_itself(decoder.device))


def _face_graph(decoder: PromptDecoder) -> AbstractContextManager[Callable[[], FaceGraph | None]]:
    """How to get the face graph alone, in the same way."""
    shape = decoder.shape
    if shape.mesh is None:
        return nullcontext(lambda: None)
    return meanwhile(lambda: shape.face_graph, beside=works_by_itself(decoder.device))


def worth_keeping(
    found: Proposals, clicks: int, settings: EveryPartSettings
) -> tuple[Tensor, Tensor, Tensor]:
    """Which masks of so many clicks are worth decoding everywhere: rows int64 [K], ranks and support."""
    support = support_scores(found.masks, found.clicks, clicks, iou=settings.support_iou)
    supported = (support >= _least_support(settings, clicks)).nonzero()[:, 0]
    ranks = found.scores + settings.support_weight * support
    kept = suppress_overlaps(
        found.masks[supported], ranks[supported], settings.nms_iou, limit=settings.max_masks
    )
    rows = supported[kept]
    return rows, ranks[rows], support[rows]


def _least_support(settings: EveryPartSettings, clicks: int) -> float:
    """A few clicks count support only roughly: what would pass by chance must not."""
    return settings.min_support * float(np.clip((_USUAL_CLICKS / clicks) ** 0.5, 1, 2))


def find_parts_as_published(
    decoder: PromptDecoder, clicks: Tensor, *, prompt_batch: int, report: Progress, cancel: Cancel | None
) -> Parts:
    """The published procedure: every mask at every point, then a fixed threshold."""
    with _face_graph(decoder) as graph:
        masks, scores = _all_masks(decoder, clicks, prompt_batch, report, cancel)
        report("parts", 0.0)
        shape = decoder.shape
        return published_parts(shape.sites, masks, scores, shape.mesh, shape.point_faces, graph)


def _all_masks(
    decoder: PromptDecoder, clicks: Tensor, prompt_batch: int, report: Progress, cancel: Cancel | None
) -> tuple[Tensor, Tensor]:
    """Every mask of every click at every point, bool [K, N], and the predicted IoUs float32 [K]."""
    masks, scores = [], []
    step = min(prompt_batch, decoder.prompts_at_once(prompt_batch))
    for start in range(0, len(clicks), step):
        check(cancel)
        report("prompts", start / len(clicks))
        decoding = decoder.decode_batch(clicks[start : start + step], step)
        logits = decoder.logits(decoding, decoder.shape.point_locations, slice(1, 4))
        masks.append((logits > 0).flatten(0, 1))
        scores.append(decoding.iou[0, :, 1:].float().flatten())
    return torch.cat(masks), torch.cat(scores)


def propose(
    decoder: PromptDecoder,
    clicks: Tensor,
    prompt_batch: int,
    settings: EveryPartSettings,
    report: Progress,
    cancel: Cancel | None,
) -> Proposals:
    """All masks of all clicks that pass the score and stability filters."""
    coarse = decoder.shape.coarse_locations(settings.coarse_points)
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    step = min(prompt_batch, decoder.prompts_at_once(prompt_batch))
    for start in range(0, len(clicks), step):
        check(cancel)
        report("prompts", start / len(clicks))
        decoding = decoder.decode_batch(clicks[start : start + step], step)
        scores = decoding.iou[0, :, 1:].float()
        good = scores > _least_scores(decoding, settings)
        logits = decoder.estimated_logits(decoding, coarse, slice(1, 4), wanted=good)
        stable = stability_scores(logits, settings.stability_offset) > settings.min_stability
        found.append((stable & good, scores, logits > 0))
    # Which passed is asked once, after all batches: a graphics card would have to be waited for each time.
    passed, scores, masks = (torch.cat(batches) for batches in zip(*found, strict=True))
    click, token = passed.nonzero(as_tuple=True)
    return Proposals(click, token + 1, scores[click, token], masks[click, token])


def _least_scores(decoding: Decoding, settings: EveryPartSettings) -> Tensor:
    """Predicted IoUs above which the three masks of each click are kept: float32 [P, 3]."""
    least = torch.full_like(decoding.iou[0, :, 1:], settings.min_score, dtype=torch.float32)
    if decoding.center_logits is None:  # the network does not say which masks are large
        return least
    covered = (decoding.center_logits[0, :, 1:] > 0).float().mean(dim=-1)
    return least - settings.large_margin * (covered >= settings.large)


def decode_at_sites(
    decoder: PromptDecoder,
    clicks: Tensor,
    found: Proposals,
    prompt_batch: int,
    report: Progress,
    cancel: Cancel | None,
) -> NDArray[np.float16]:
    """Logits of the candidates at all sites, float16 [K, S].

    Candidates of one click are decoded together.
    """
    sites = len(decoder.shape.sites.locations)
    logits = np.empty((len(found.clicks), sites), dtype=np.float16)
    asked, click_of = found.clicks.unique(return_inverse=True)
    step = min(prompt_batch, decoder.prompts_at_once(prompt_batch))
    for start in range(0, len(asked), step):
        check(cancel)
        report("faces", start / len(asked))
        own = ((click_of >= start) & (click_of < start + step)).nonzero()[:, 0]
        click, token = click_of[own] - start, found.tokens[own] - 1
        decoding = decoder.decode_batch(clicks[asked[start : start + step]], step)
        wanted = torch.zeros(decoding.iou.shape[1], 3, dtype=torch.bool, device=click.device)
        wanted[click, token] = True
        values = decoder.estimated_logits(decoding, decoder.shape.site_locations, slice(1, 4), wanted=wanted)
        logits[own.cpu().numpy()] = values[click, token].clamp(-30, 30).half().cpu().numpy()
    return logits


def assemble(
    shape: EncodedShape,
    graph: FaceGraph | None,
    site_graph: FaceGraph,
    logits: NDArray[np.float16],
    scores: FloatArray,
    ranks: FloatArray,
    support: FloatArray,
    *,
    settings: EveryPartSettings,
) -> Parts:
    """Partitions for all granularities from the kept masks."""
    sites = shape.sites
    values = logits.astype(np.float32)  # comparing half precision takes thirty times as long
    order = np.argsort(-((values > 0) @ sites.weights), kind="stable")  # the largest first
    logits, values = logits[order], values[order]
    scores, ranks, support = scores[order], ranks[order], support[order]
    tree = build_part_tree(values, ranks, sites.weights, site_graph, settings.tree)
    features = node_features(tree, Candidates(values, scores, support), sites.weights, site_graph)
    quality = bundled_part_quality()(features)
    chain = partition_chain(tree, quality, sites, shape.world_points, settings.selection)
    return Parts(
        sites=sites,
        mask_logits=logits,
        mask_scores=scores,
        partitions=[tree_partition(chain.tree, owners) for owners in chain.owners],
        middle=chain.middle,
        graph=graph,
        tree=chain.tree,
        features=features,
    )


def check(cancel: Cancel | None) -> None:
    """Raise Cancelled if that was asked for."""
    if cancel is not None and cancel():
        raise Cancelled()
