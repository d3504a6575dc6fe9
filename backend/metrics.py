# SPDX-License-Identifier: GPL-3.0-or-later
"""How well a labeling agrees with known parts. Pure functions on arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .geometry.mesh import FloatArray, IntArray

UNLABELLED = -1
"""Faces whose part nobody knows. They are no true part, but count as outside of every true part."""


def part_ious(true: IntArray, predicted: IntArray, weights: FloatArray | None = None) -> FloatArray:
    """IoU of each true part with each predicted part.

    true, predicted: int [F], one label per face (or point); negative labels are no part
    weights: float [F], what each face counts (its area); None counts faces
    Returns float64 [T, P], rows and columns in ascending order of the labels that occur.

    Unlabelled faces belong to the background: a predicted part that swallows them pays for it.
    """
    weights = np.ones(len(true)) if weights is None else np.asarray(weights, dtype=np.float64)
    true_names, true_rows = np.unique(true, return_inverse=True)
    predicted_names, predicted_rows = np.unique(predicted, return_inverse=True)
    shape = (len(true_names), len(predicted_names))
    pair = true_rows * shape[1] + predicted_rows
    shared = np.bincount(pair, weights=weights, minlength=shape[0] * shape[1]).reshape(shape)
    union = shared.sum(axis=1, keepdims=True) + shared.sum(axis=0, keepdims=True) - shared
    ious = np.divide(shared, union, out=np.zeros(shape), where=union > 0)
    return ious[true_names >= 0][:, predicted_names >= 0]


def best_ious(true: IntArray, predicted: IntArray, weights: FloatArray | None = None) -> FloatArray:
    """Class-agnostic IoU: for each true part its best predicted part's. float64 [T]."""
    ious = part_ious(true, predicted, weights)
    return ious.max(axis=1) if ious.shape[1] else np.zeros(len(ious))


def mean_best_iou(true: IntArray, predicted: IntArray, weights: FloatArray | None = None) -> float:
    """Class-agnostic mIoU of one shape: `best_ious` averaged over its true parts; NaN without parts."""
    ious = best_ious(true, predicted, weights)
    return float(ious.mean()) if len(ious) else float("nan")


def panoptic_quality(true: IntArray, predicted: IntArray, weights: FloatArray | None = None) -> float:
    """Class-agnostic panoptic quality of one shape in [0, 1]; NaN without true parts.

    The sum of IoU over the pairs above 0.5 (no part can be in two), divided by hits + half of the missed +
    half of the surplus parts. Predicted parts that lie mostly on unlabelled faces are no surplus.
    A. Kirillov et al., "Panoptic Segmentation", CVPR 2019.
    """
    ious = part_ious(true, predicted, weights)
    if not len(ious):
        return float("nan")
    hit = ious > 0.5
    hits = int(hit.sum())
    surplus = int((~hit.any(axis=0) & _mostly_known(true, predicted, weights)).sum())
    missed = len(ious) - hits
    return float(ious[hit].sum() / (hits + 0.5 * missed + 0.5 * surplus))


def _mostly_known(true: IntArray, predicted: IntArray, weights: FloatArray | None) -> NDArray[np.bool_]:
    """bool [P]: predicted parts (ascending, without negative labels) at least half of which is labelled."""
    weights = np.ones(len(true)) if weights is None else np.asarray(weights, dtype=np.float64)
    names, rows = np.unique(predicted, return_inverse=True)
    whole = np.bincount(rows, weights=weights, minlength=len(names))
    known = np.bincount(rows, weights=weights * (true >= 0), minlength=len(names))
    return (known >= 0.5 * whole)[names >= 0]


def adjusted_rand_index(true: IntArray, predicted: IntArray, weights: FloatArray | None = None) -> float:
    """Adjusted Rand index over area: 1 for the same partition, about 0 for an unrelated one; NaN if unknown.

    Pairs of surface elements are counted instead of pairs of faces; unlabelled faces are left out.
    L. Hubert and P. Arabie, "Comparing partitions", Journal of Classification 1985.
    """
    weights = np.ones(len(true)) if weights is None else np.asarray(weights, dtype=np.float64)
    known = true >= 0
    if not known.any() or weights[known].sum() <= 0:
        return float("nan")
    weights = weights[known] / weights[known].sum()
    _, true_rows = np.unique(true[known], return_inverse=True)
    names, predicted_rows = np.unique(predicted[known], return_inverse=True)
    pair = true_rows * len(names) + predicted_rows
    together, in_true, in_predicted = (
        float(np.square(np.bincount(rows, weights=weights)).sum())
        for rows in (pair, true_rows, predicted_rows)
    )
    expected = in_true * in_predicted
    highest = 0.5 * (in_true + in_predicted)
    if highest - expected < 1e-12:  # both are one part
        return 1.0
    return (together - expected) / (highest - expected)


def pearson(first: FloatArray, second: FloatArray) -> float:
    """Pearson's linear correlation; NaN where either side is constant or fewer than two values are given."""
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(np.corrcoef(first, second)[0, 1])


def spearman(first: FloatArray, second: FloatArray) -> float:
    """Spearman's rank correlation (ties share their mean rank); NaN as for `pearson`."""
    from scipy.stats import rankdata

    if len(first) < 2:
        return float("nan")
    return pearson(rankdata(first), rankdata(second))


def finite_median(values: list[float] | FloatArray) -> float:
    """Median of the values that are defined; NaN if none is."""
    array = np.asarray(values, dtype=np.float64)
    array = array[np.isfinite(array)]
    return float(np.median(array)) if len(array) else float("nan")


def finite_mean(values: list[float] | FloatArray) -> float:
    """Mean of the values that are defined; NaN if none is."""
    array = np.asarray(values, dtype=np.float64)
    array = array[np.isfinite(array)]
    return float(array.mean()) if len(array) else float("nan")
