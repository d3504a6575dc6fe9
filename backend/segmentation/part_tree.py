# SPDX-License-Identifier: GPL-3.0-or-later
"""Segment every part, second half: from overlapping masks to one partition per granularity.

Every kept mask gets a level in [0, 1]: the granularity from which it is painted. Levels grow with
how small a mask is and how few clicks support it; alternatives to better masks come last. A partition
paints all masks up to a granularity, smaller ones on top, so that neighbouring granularities differ by
whole masks and labels for any granularity are a look-up.

Making a mask wait for the one that contains it was tried and cost 0.06 to 0.10 mIoU on
validation shapes: one doubtful container holds back everything inside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..geometry.mesh import FloatArray, IntArray
from .pieces import PIECES

GRANULARITY_STEPS = 33


@dataclass(frozen=True)
class TreeSettings:
    """How masks become levels and levels become labels.

    coarsest, finest: area shares of masks that appear from granularity 0 and 1 on
    conflict: overlap (IoU) with a better mask from which a mask is an alternative to it, painted only
        above granularity 0.5; full_conflict: overlap that postpones it to granularity 1
    full_doubt: share of the clicks without support that postpones a mask to granularity 1
    min_visible: masks of which less stays visible under smaller ones are not painted
    rest_logit: where no mask's logit reaches this, a face belongs to the remainder
    """

    coarsest: float = 0.15
    finest: float = 1e-6
    conflict: float = 0.1
    full_conflict: float = 0.6
    full_doubt: float = 1.2
    min_visible: float = 0.5
    rest_logit: float = -1.5


@dataclass(frozen=True)
class Partition:
    """One label per site.

    labels: int32 [S], 0 .. P-1, ordered from the largest mask to the smallest
    masks: int [P], the mask behind each label, the same for all pieces of a mask; K and above for (pieces
        of) the remainder
    """

    labels: IntArray
    masks: IntArray


def build_partitions(
    logits: FloatArray,
    ranks: FloatArray,
    support: FloatArray,
    weights: FloatArray,
    settings: TreeSettings,
    *,
    clean: Callable[[IntArray, float], IntArray] | None = None,
) -> list[Partition]:
    """Partitions for GRANULARITY_STEPS granularities from 0 to 1, the number of parts never falling.

    logits: [K, S], masks ordered from the largest to the smallest (`order_by_size`)
    ranks: [K], better masks have higher ones; support: [K] in [0, 1]; weights: [S], area shares
    clean: see `number_parts`
    """
    return number_parts(paint_levels(logits, ranks, support, weights, settings), clean=clean)


def paint_levels(
    logits: FloatArray,
    ranks: FloatArray,
    support: FloatArray,
    weights: FloatArray,
    settings: TreeSettings,
) -> list[IntArray]:
    """What `paint` gives for each granularity step, int64 [S] each; equal steps share one array."""
    levels = mask_levels(logits > 0, ranks, support, weights, settings)
    paintings: list[IntArray] = []
    painted: IntArray = np.zeros(0, dtype=np.int64)
    active: IntArray = np.full(1, -1)
    for granularity in np.linspace(0, 1, GRANULARITY_STEPS):
        now = np.flatnonzero(levels <= granularity)
        if not np.array_equal(now, active):
            painted, active = paint(logits, now, weights, settings), now
        paintings.append(painted)
    return paintings


def number_parts(
    paintings: list[IntArray], *, clean: Callable[[IntArray, float], IntArray] | None = None
) -> list[Partition]:
    """A partition for each painting. Steps that have more parts than a finer one take the finer one's.

    clean: changes a painting (values are masks), given its granularity, e.g. to dissolve islands, and
        returns it with numbered pieces, as `pieces.split_pieces` does
    """
    partitions: list[Partition] = []
    last = len(paintings) - 1
    for step, painted in enumerate(paintings):
        if step and painted is paintings[step - 1]:
            partitions.append(partitions[-1])
            continue
        numbered = painted * PIECES if clean is None else clean(painted, step / max(last, 1))
        pieces, labels = np.unique(numbered, return_inverse=True)
        partitions.append(Partition(labels.astype(np.int32), pieces // PIECES))
    for step in range(last)[::-1]:
        if len(partitions[step].masks) > len(partitions[step + 1].masks):
            partitions[step] = partitions[step + 1]
    return partitions


def order_by_size(masks: NDArray[np.bool_], weights: FloatArray) -> IntArray:
    """Indices of masks [K, S] from the largest area to the smallest; ties by index."""
    return np.argsort(-(masks @ weights), kind="stable")


def mask_levels(
    masks: NDArray[np.bool_],
    ranks: FloatArray,
    support: FloatArray,
    weights: FloatArray,
    settings: TreeSettings,
) -> FloatArray:
    """The granularity from which each mask is painted, float64 [K] in [0, 1]. Masks: largest first."""
    count = len(masks)
    if count == 0:
        return np.zeros(0)
    weighted = masks * weights
    areas = weighted.sum(axis=1)
    shared = weighted @ masks.T.astype(np.float64)
    iou = shared / np.maximum(areas[:, None] + areas[None] - shared, 1e-12)
    span = np.log(settings.finest / settings.coarsest)
    fineness = np.log(np.maximum(areas, 1e-12) / settings.coarsest) / span
    doubt = (1 - support) / settings.full_doubt
    conflict = _conflict_levels(iou, ranks, settings)
    return np.clip(np.maximum.reduce([conflict, fineness, doubt]), 0, 1)


def smallest_share(granularity: float, settings: TreeSettings) -> float:
    """Area share below which nothing appears at a granularity; the inverse of what `mask_levels` does."""
    return float(settings.coarsest * (settings.finest / settings.coarsest) ** granularity)


def _conflict_levels(iou: FloatArray, ranks: FloatArray, settings: TreeSettings) -> FloatArray:
    """0 for masks that a greedy choice by rank keeps; for the alternatives above 0.5, by their overlap."""
    levels = np.zeros(len(iou))
    chosen: list[int] = []
    for mask in np.argsort(-ranks, kind="stable"):
        overlap = iou[mask, chosen].max(initial=0)
        if overlap <= settings.conflict:
            chosen.append(mask)
        else:
            levels[mask] = 0.5 + 0.5 * overlap / settings.full_conflict
    return levels


def paint(logits: FloatArray, active: IntArray, weights: FloatArray, settings: TreeSettings) -> IntArray:
    """Paint active masks, smaller ones on top; sites in none take the most likely one, or the rest.

    logits: [K, S], largest mask first; active: indices into K, ascending
    returns: int64 [S], mask indices, K for the remainder
    """
    count, sites = logits.shape
    active = _visible(logits, active, weights, settings.min_visible)
    painted = np.full(sites, count, dtype=np.int64)
    best = np.full(sites, settings.rest_logit, dtype=np.float32)
    covered = np.zeros(sites, dtype=bool)
    for mask in active:
        row = logits[mask]
        inside = row > 0
        likelier = ~inside & ~covered & (row > best)
        painted[inside | likelier] = mask
        best = np.maximum(best, row)
        covered |= inside
    return painted


def _visible(logits: FloatArray, active: IntArray, weights: FloatArray, least: float) -> IntArray:
    """Active masks of which enough stays visible when smaller ones are painted over them."""
    free = np.ones(logits.shape[1], dtype=bool)
    kept = []
    for mask in active[::-1]:
        inside = logits[mask] > 0
        if weights[inside & free].sum() >= least * weights[inside].sum():
            kept.append(mask)
            free &= ~inside
    return np.array(kept[::-1], dtype=np.int64)
