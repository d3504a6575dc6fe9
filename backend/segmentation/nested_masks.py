# SPDX-License-Identifier: GPL-3.0-or-later
"""From overlapping masks to masks of which any two are nested or apart: what a tree can be made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..geometry.mesh import FloatArray, IntArray

_BITS = 63
"""Masks that a site's key holds."""


@dataclass(frozen=True)
class NestingSettings:
    """Overlap is the shared area as a share of the smaller mask's.

    apart: up to this overlap a mask gives the shared area to the better one
    inside: from this overlap on one lies in the other: the worse one is cut, or grows, until it does
    same: IoU with a better mask from which a mask says the same; it is dropped
    least_kept: a mask that is changed to a lower IoU with itself than this is dropped
    least_share: masks of a smaller share of the area are dropped
    """

    apart: float = 0.3
    inside: float = 0.7
    same: float = 0.75
    least_kept: float = 0.75
    least_share: float = 2e-4


@dataclass(frozen=True)
class NestedMasks:
    """masks: bool [A, S], the largest first; chosen: int [A], the candidate that each came from"""

    masks: NDArray[np.bool_]
    chosen: IntArray


def alike_sites(masks: NDArray[np.bool_]) -> tuple[IntArray, IntArray]:
    """Sites that are in the same of `masks` bool [K, S] are of one kind: there are a few hundred kinds, and
    what is counted by kind is counted in no time.

    Returns the kind of each site, int64 [S], and one site of each kind, int64 [C].
    """
    kind = np.zeros(masks.shape[1], dtype=np.int64)
    for start in range(0, len(masks), _BITS):
        key = np.zeros(len(kind), dtype=np.int64)
        for bit, mask in enumerate(masks[start : start + _BITS]):
            key |= mask.astype(np.int64) << bit
        found, which = np.unique(key, return_inverse=True)
        kind = which if start == 0 else np.unique(kind * len(found) + which, return_inverse=True)[1]
    examples = np.zeros(int(kind.max(initial=-1)) + 1, dtype=np.int64)
    examples[kind] = np.arange(len(kind))
    return kind, examples


def nest_masks(
    candidates: NDArray[np.bool_], ranks: FloatArray, weights: FloatArray, settings: NestingSettings
) -> NestedMasks:
    """Accept candidates bool [K, S] from the best rank [K] on; a worse one gives way, or is dropped.

    weights: float64 [S], area shares
    """
    accepted = np.zeros_like(candidates)
    areas = np.zeros(len(candidates))
    chosen: list[int] = []
    for candidate in np.argsort(-ranks, kind="stable"):
        count = len(chosen)
        mask = _fitted(candidates[candidate], accepted[:count], areas[:count], weights, settings)
        if mask is None:
            continue
        accepted[count], areas[count] = mask, weights[mask].sum()
        chosen.append(int(candidate))
    order = np.argsort(-areas[: len(chosen)], kind="stable")
    return NestedMasks(accepted[order], np.array(chosen, dtype=np.int64)[order])


def _fitted(
    mask: NDArray[np.bool_],
    accepted: NDArray[np.bool_],
    areas: FloatArray,
    weights: FloatArray,
    settings: NestingSettings,
) -> NDArray[np.bool_] | None:
    """`mask` bool [S], changed so that it nests with all accepted ones [A, S]; None if it cannot."""
    area = float(weights[mask].sum())
    if area < settings.least_share:
        return None
    shared = _shared(accepted, mask, weights)
    overlap = shared / np.maximum(np.minimum(areas, area), 1e-12)
    if (shared > settings.same * (areas + area - shared)).any():
        return None
    if ((overlap > settings.apart) & (overlap < settings.inside)).any():
        return None
    fitted = mask.copy()
    nested = overlap >= settings.inside
    for other in np.flatnonzero((overlap > 0) & ~nested):
        fitted &= ~accepted[other]
    for other in np.flatnonzero(nested & (areas <= area)):
        fitted |= accepted[other]
    for other in np.flatnonzero(nested & (areas > area)):
        fitted &= accepted[other]
    return fitted if _still_good(mask, fitted, accepted, areas, weights, settings) else None


def _still_good(
    mask: NDArray[np.bool_],
    fitted: NDArray[np.bool_],
    accepted: NDArray[np.bool_],
    areas: FloatArray,
    weights: FloatArray,
    settings: NestingSettings,
) -> bool:
    """Whether the changed mask is still itself, and still says something new."""
    area = float(weights[fitted].sum())
    union = float(weights[mask | fitted].sum())
    if area < settings.least_share or float(weights[mask & fitted].sum()) < settings.least_kept * union:
        return False
    counts = fitted.sum()
    common = accepted[:, fitted].sum(axis=1)
    sizes = accepted.sum(axis=1)
    if ((common > 0) & (common < sizes) & (common < counts)).any():  # one change undid another
        return False
    shared = _shared(accepted, fitted, weights)
    return not bool((shared > settings.same * (areas + area - shared)).any())


def _shared(accepted: NDArray[np.bool_], mask: NDArray[np.bool_], weights: FloatArray) -> FloatArray:
    """Area that each accepted mask shares with `mask`, float64 [A]."""
    inside = np.flatnonzero(mask)
    return accepted[:, inside] @ weights[inside]
