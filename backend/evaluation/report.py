# SPDX-License-Identifier: GPL-3.0-or-later
"""From per-shape records to a summary and its JSON."""

from __future__ import annotations

import dataclasses
import math
import platform
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy
import torch

from ..metrics import finite_mean, finite_median, pearson, spearman
from .automatic import ORACLE_GRANULARITIES
from .first_click import FirstAnswers
from .interactive import FIRST_CLICKS
from .runs import Record

SCHEMA = 2
FACE_BUCKETS = (1_000, 5_000, 20_000, 50_000)
SMALL_SHARE = 0.005
"""Parts of a smaller share of the area are also reported by themselves."""


def versions() -> dict[str, str]:
    """Versions of everything that numbers depend on."""
    from .. import __version__

    return {
        "partsam": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
    }


def summarise_interactive(records: Sequence[Record]) -> dict[str, Any]:
    """Means over shapes (each the mean over its parts), and how well predicted IoU tracks true IoU."""
    clicks = sorted({int(click) for record in records for click in record["iou"]})
    iou = np.concatenate([np.array(record["by_part"]["iou"]) for record in records])
    score = np.concatenate([np.array(record["by_part"]["score"]) for record in records])
    names = sorted({name for record in records for name in record["baselines"]})
    return {
        "shapes": len(records),
        "parts": len(iou),
        "iou": {str(c): finite_mean([record["iou"][str(c)] for record in records]) for c in clicks},
        "first": _first_clicks(records, small=False),
        "first_small": _first_clicks(records, small=True),
        "small_parts": sum(share < SMALL_SHARE for r in records for share in r["by_part"]["share"]),
        "iou_accepted": {
            click: finite_mean([record["iou_accepted"][click] for record in records])
            for click in records[0]["iou_accepted"]
        },
        "score_correlation": {
            "pearson_first": pearson(score[:, 0], iou[:, 0]),
            "spearman_first": spearman(score[:, 0], iou[:, 0]),
            "pearson_all": pearson(score.ravel(), iou.ravel()),
            "spearman_all": spearman(score.ravel(), iou.ravel()),
        },
        "baselines": {
            name: {"iou_first": finite_mean([record["baselines"][name]["iou_first"] for record in records])}
            for name in names
        },
    }


def summarise_automatic(records: Sequence[Record]) -> dict[str, Any]:
    """Means over shapes per method, and the median ratio of found to known parts.

    The boundary score's mean is over shapes where it is defined. `sweep` has the same for each granularity;
    `best_of_each` chooses it for each shape by panoptic quality, `best_of_each_by_miou` by best-match mIoU.
    """
    methods = list(dict.fromkeys(name for record in records for name in record["methods"]))

    def best(key: str) -> dict[str, float]:
        chosen = [max(record["sweep"], key=lambda score: _or_zero(score[key])) for record in records]
        return _mean_scores(chosen)

    return {
        "shapes": len(records),
        "parts": sum(record["parts"] for record in records),
        "methods": {
            name: _mean_scores([record["methods"][name] for record in records])
            | {"boundary_shapes": sum(math.isfinite(r["methods"][name]["boundary_f"]) for r in records)}
            for name in methods
        },
        "sweep": {
            f"{granularity:g}": _mean_scores([record["sweep"][step] for record in records])
            for step, granularity in enumerate(ORACLE_GRANULARITIES)
        },
        "best_of_each": best("pq"),
        "best_of_each_by_miou": best("miou"),
    }


def summarise_together(records: Sequence[Record]) -> dict[str, Any]:
    """Means over shapes (each the mean over its parts) by place of the clicks and their number."""
    together = records[0]["together"]

    def small(record: Record, place: str, count: str) -> float:
        pairs = zip(record["by_part"]["share"], record["by_part"]["together"][place][count], strict=True)
        return finite_mean([iou for share, iou in pairs if share < SMALL_SHARE])

    return {
        "shapes": len(records),
        "parts": sum(record["parts"] for record in records),
        "small_parts": sum(share < SMALL_SHARE for r in records for share in r["by_part"]["share"]),
        "iou": {
            place: {count: finite_mean([r["together"][place][count] for r in records]) for count in counts}
            for place, counts in together.items()
        },
        "iou_small": {
            place: {count: finite_mean([small(r, place, count) for r in records]) for count in counts}
            for place, counts in together.items()
        },
    }


def _first_clicks(records: Sequence[Record], *, small: bool) -> dict[str, dict[str, float]]:
    """IoU after one click by place and way of choosing: means over shapes of the means over their parts.

    small: only parts of less than SMALL_SHARE of the area; shapes without one do not count
    """

    def of_shape(record: Record, kind: str, name: str) -> float:
        if not small:
            return record["first"][kind][name]
        pairs = zip(record["by_part"]["share"], record["by_part"]["first"][kind][name], strict=True)
        return finite_mean([iou for share, iou in pairs if share < SMALL_SHARE])

    names = [each.name for each in dataclasses.fields(FirstAnswers)]
    return {
        kind: {name: finite_mean([of_shape(record, kind, name) for record in records]) for name in names}
        for kind in FIRST_CLICKS
    }


def _mean_scores(scores: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Means of `LabelingScore`s as dictionaries, but the median of their ratios."""
    means = {
        key: finite_mean([score[key] for score in scores])
        for key in ("miou", "pq", "ari", "boundary_f", "parts")
    }
    return means | {"ratio": finite_median([score["ratio"] for score in scores])}


def _or_zero(value: float) -> float:
    return value if math.isfinite(value) else 0.0


SUMMARIES: dict[str, Callable[[Sequence[Record]], dict[str, Any]]] = {
    "interactive": summarise_interactive,
    "automatic": summarise_automatic,
    "parts": summarise_together,
}


def by_group(
    records: Sequence[Record],
    group: Callable[[Record], str],
    summarise: Callable[[Sequence[Record]], dict[str, Any]],
) -> dict[str, Any]:
    """`summarise` of each group of records, largest group first."""
    groups = defaultdict(list)
    for record in records:
        groups[group(record)].append(record)
    ordered = sorted(groups.items(), key=lambda entry: (-len(entry[1]), entry[0]))
    return {name: summarise(members) for name, members in ordered}


def cost_by_faces(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Median seconds per stage and highest peak memory, by number of faces."""
    rows = []
    for low, high in zip((0, *FACE_BUCKETS), (*FACE_BUCKETS, math.inf), strict=True):
        members = [record for record in records if low <= record["faces"] < high]
        if not members:
            continue
        peaks = [record["peak_mib"] for record in members if record["peak_mib"] is not None]
        rows.append(
            {
                "faces_from": low,
                "faces_below": None if high == math.inf else high,
                "shapes": len(members),
                "seconds": {
                    stage: float(np.median([record["seconds"][stage] for record in members]))
                    for stage in members[0]["seconds"]
                },
                "peak_mib": max(peaks, default=None),
            }
        )
    return rows


def build_report(protocol: str, records: Sequence[Record], settings: dict[str, Any]) -> dict[str, Any]:
    """Everything about a run as one JSON-ready dictionary; numbers that are not defined become None."""
    summarise = SUMMARIES[protocol]
    return without_nan(
        {
            "schema": SCHEMA,
            "protocol": protocol,
            "settings": settings,
            "versions": versions(),
            "summary": summarise(records),
            "by_source": by_group(records, lambda record: record["source"], summarise),
            "by_labeling": by_group(records, lambda record: record["labeling"], summarise),
            "cost_by_faces": cost_by_faces(records),
            "shapes": list(records),
        }
    )


def without_nan(value: Any) -> Any:
    """JSON has no NaN: undefined numbers become None, at any depth."""
    if isinstance(value, dict):
        return {key: without_nan(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
