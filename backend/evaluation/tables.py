# SPDX-License-Identifier: GPL-3.0-or-later
"""A report's tables as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .interactive import FIRST_CLICKS, REPORTED_CLICKS


def format_report(report: dict[str, Any]) -> str:
    """The report's tables as text."""
    settings, summary = report["settings"], report["summary"]
    head = (
        f"{report['protocol']} · {settings['split']} · model {settings['model']} on {settings['device']} · "
        f"{summary['shapes']} shapes, {summary['parts']} parts"
    )
    tables = {"interactive": _interactive_tables, "automatic": _automatic_tables, "parts": _parts_tables}
    return "\n\n".join([head, *tables[report["protocol"]](report), _cost_table(report["cost_by_faces"])])


def _groups(report: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Everything, then by kind of labeling, then by source."""
    kinds = [(f"labeled by {name}", group) for name, group in report["by_labeling"].items()]
    return [("all", report["summary"]), *kinds, *report["by_source"].items()]


def _interactive_tables(report: dict[str, Any]) -> list[str]:
    summary = report["summary"]
    clicks = [str(c) for c in REPORTED_CLICKS if str(c) in summary["iou"]]
    header = ["", "shapes", *(f"IoU@{c}" for c in clicks)]
    rows = [
        [name, str(group["shapes"]), *(_number(group["iou"][c]) for c in clicks)]
        for name, group in _groups(report)
    ]
    if accepted := summary["iou_accepted"]:
        values = [_number(accepted[c]) for c in clicks]
        rows.insert(1, ["all, refined as when accepted", str(summary["shapes"]), *values])
    correlation = summary["score_correlation"]
    ranking = [
        [when, *(_number(correlation[f"{kind}_{key}"]) for kind in ("pearson", "spearman"))]
        for when, key in (("after the first click", "first"), ("all rounds", "all"))
    ]
    tables = [_table(header, rows), _first_click_table(report)]
    if baselines := [[name, _number(entry["iou_first"])] for name, entry in summary["baselines"].items()]:
        tables.append(_table(["baseline", "IoU@1"], baselines))
    return [*tables, _table(["predicted against true IoU", "Pearson", "Spearman"], ranking)]


def _first_click_table(report: dict[str, Any]) -> str:
    """IoU@1 at random and deepest clicks: chosen, best of three, with size."""
    summary = report["summary"]
    names = {"chosen": "", "best_of_three": " best of 3", "with_size": " with size"}
    header = ["IoU@1 by first click", *(f"{kind}{name}" for kind in FIRST_CLICKS for name in names.values())]

    def row(name: str, first: dict[str, Any]) -> list[str]:
        return [name, *(_number(first[kind][key]) for kind in FIRST_CLICKS for key in names)]

    rows = [row(name, group["first"]) for name, group in _groups(report)]
    small = row(f"all, {summary['small_parts']} parts below 0.5 % of the area", summary["first_small"])
    return _table(header, [rows[0], small, *rows[1:]])


def _automatic_tables(report: dict[str, Any]) -> list[str]:
    summary = report["summary"]
    methods = summary["methods"]
    defined = next(iter(methods.values()))["boundary_shapes"]
    keys = ("pq", "ari", "miou", "boundary_f")
    header = ["method", "PQ", "ARI", "mIoU", f"boundary F (of {defined} shapes)", "parts", "ratio"]

    def row(name: str, entry: dict[str, Any], columns: Sequence[str] = keys) -> list[str]:
        return [name, *(_number(entry[key]) for key in columns), f"{entry['parts']:.1f}", _ratio(entry)]

    best = max(summary["sweep"], key=lambda name: summary["sweep"][name]["pq"] or 0)
    sweep = [
        row(f"{name} (best fixed)" if name == best else name, entry, keys[:3])
        for name, entry in summary["sweep"].items()
    ]
    sweep.append(row("best of each shape by PQ", summary["best_of_each"], keys[:3]))
    sweep.append(row("best of each shape by mIoU", summary["best_of_each_by_miou"], keys[:3]))
    final = "refined" if "refined" in methods else "preview"
    groups = [
        [name, str(group["shapes"]), *row("", group["methods"][final])[1:4], _ratio(group["methods"][final])]
        for name, group in _groups(report)
    ]
    return [
        _table(header, [row(name, entry) for name, entry in methods.items()]),
        _table([f"{final} at granularity", "PQ", "ARI", "mIoU", "parts", "ratio"], sweep),
        _table([f"{final} by group", "shapes", "PQ", "ARI", "mIoU", "ratio"], groups),
    ]


def _parts_tables(report: dict[str, Any]) -> list[str]:
    summary = report["summary"]
    columns = [(place, count) for place, counts in summary["iou"].items() for count in counts]
    header = ["mIoU, all parts at once", "shapes", *(f"{count} {place}" for place, count in columns)]

    def row(name: str, shapes: int, ious: dict[str, Any]) -> list[str]:
        return [name, str(shapes), *(_number(ious[place][count]) for place, count in columns)]

    rows = [row(name, group["shapes"], group["iou"]) for name, group in _groups(report)]
    small = f"all, {summary['small_parts']} parts below 0.5 % of the area"
    rows.insert(1, row(small, summary["shapes"], summary["iou_small"]))
    return [_table(header, rows)]


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


def _ratio(entry: dict[str, Any]) -> str:
    return "-" if entry["ratio"] is None else f"{entry['ratio']:.2f}"
