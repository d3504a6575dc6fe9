# SPDX-License-Identifier: GPL-3.0-or-later
"""From per-shape records to a summary, its JSON and its tables."""

from __future__ import annotations

import math
import platform
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy
import torch

from .interactive import REPORTED_CLICKS
from .metrics import finite_mean, pearson, spearman
from .runs import Record

SCHEMA = 1
FACE_BUCKETS = (1_000, 5_000, 20_000, 50_000)


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
        "iou_first_oracle": finite_mean([record["iou_first_oracle"] for record in records]),
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
    """Means over shapes per method. The boundary score's mean is over shapes where it is defined."""
    methods = list(dict.fromkeys(name for record in records for name in record["methods"]))
    return {
        "shapes": len(records),
        "parts": sum(record["parts"] for record in records),
        "methods": {
            name: {
                key: finite_mean([record["methods"][name][key] for record in records])
                for key in ("miou", "boundary_f", "parts")
            }
            | {"boundary_shapes": sum(math.isfinite(r["methods"][name]["boundary_f"]) for r in records)}
            for name in methods
        },
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
    summarise = summarise_interactive if protocol == "interactive" else summarise_automatic
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


def format_report(report: dict[str, Any]) -> str:
    """The report's tables as text."""
    interactive = report["protocol"] == "interactive"
    settings, summary = report["settings"], report["summary"]
    head = (
        f"{report['protocol']} · {settings['split']} · model {settings['model']} on {settings['device']} · "
        f"{summary['shapes']} shapes, {summary['parts']} parts"
    )
    main = _interactive_tables(report) if interactive else _automatic_tables(report)
    return "\n\n".join([head, *main, _cost_table(report["cost_by_faces"])])


def _interactive_tables(report: dict[str, Any]) -> list[str]:
    summary = report["summary"]
    clicks = [str(c) for c in REPORTED_CLICKS if str(c) in summary["iou"]]
    header = ["", "shapes", *(f"IoU@{c}" for c in clicks), "IoU@1 best of 3"]

    def row(name: str, group: dict[str, Any]) -> list[str]:
        values = [*(group["iou"][c] for c in clicks), group["iou_first_oracle"]]
        return [name, str(group["shapes"]), *map(_number, values)]

    rows = [row("all", summary), *(row(name, group) for name, group in report["by_source"].items())]
    if accepted := summary["iou_accepted"]:
        values = [*(_number(accepted[c]) for c in clicks), "-"]
        rows.insert(1, ["all, refined as when accepted", str(summary["shapes"]), *values])
    baselines = [[name, _number(entry["iou_first"])] for name, entry in summary["baselines"].items()]
    correlation = summary["score_correlation"]
    ranking = [
        [when, *(_number(correlation[f"{kind}_{key}"]) for kind in ("pearson", "spearman"))]
        for when, key in (("after the first click", "first"), ("all rounds", "all"))
    ]
    tables = [
        _table(header, rows),
        _table(["predicted against true IoU", "Pearson", "Spearman"], ranking),
    ]
    if baselines:
        tables.insert(1, _table(["baseline", "IoU@1"], baselines))
    return tables


def _automatic_tables(report: dict[str, Any]) -> list[str]:
    methods = report["summary"]["methods"]
    rows = [
        [name, *(_number(entry[key]) for key in ("miou", "boundary_f")), f"{entry['parts']:.1f}"]
        for name, entry in methods.items()
    ]
    defined = next(iter(methods.values()))["boundary_shapes"]
    boundary = f"boundary F (of {defined} shapes)"
    shown = [
        name for name in ("raw", "raw_oracle", "refined", "refined_oracle", "components") if name in methods
    ]
    sources = [
        [name, str(group["shapes"]), *(_number(group["methods"][method]["miou"]) for method in shown)]
        for name, group in report["by_source"].items()
    ]
    return [
        _table(["method", "mIoU", boundary, "parts"], rows),
        _table(["mIoU by source", "shapes", *shown], sources),
    ]


def _cost_table(rows: Sequence[dict[str, Any]]) -> str:
    stages = list(rows[0]["seconds"]) if rows else []
    body = [
        [
            f"{row['faces_from']}-{row['faces_below'] or ''}",
            str(row["shapes"]),
            *(_number(row["seconds"][stage]) for stage in stages),
            "-" if row["peak_mib"] is None else f"{row['peak_mib']:.0f}",
        ]
        for row in rows
    ]
    return _table(["faces", "shapes", *(f"{stage} s" for stage in stages), "peak MiB"], body)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """First column to the left, numbers to the right."""
    widths = [max(len(line[column]) for line in (header, *rows)) for column in range(len(header))]
    lines = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in (header, ["-" * width for width in widths], *rows)
    ]
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
