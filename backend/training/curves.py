# SPDX-License-Identifier: GPL-3.0-or-later
"""Training curves as a picture: `python -m backend.training.curves METRICS.jsonl PICTURE.png`.

Needs matplotlib, which is in `tests/requirements.txt` and not in the product's environment.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

from ..errors import DataError


@dataclass(frozen=True)
class Panel:
    """One diagram: its title, and the metrics in it with their labels."""

    title: str
    lines: tuple[tuple[str, str], ...]


PANELS = (
    Panel("total loss", (("loss", ""),)),
    Panel(
        "parts of the loss, unweighted",
        (("dice", "dice"), ("contrast", "contrast"), ("focal", "focal"), ("score_error", "score (squared)")),
    ),
    Panel(
        "IoU on training batches",
        (("iou_first", "first click, best of three"), ("iou_last", "last round drawn")),
    ),
    Panel("shapes per second", (("shapes_per_second", ""),)),
)


def read_metrics(path: Path | str) -> dict[int, dict[str, float]]:
    """Metrics by step. Where a run repeated steps after a crash, the later line counts. Raises DataError."""
    try:
        lines = [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]
        rows = {int(line["step"]): line for line in lines}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is no metrics file of a training run: {error}") from error
    if not rows:
        raise DataError(f"{path} has no metrics yet")
    return dict(sorted(rows.items()))


def draw_curves(metrics: Path | str, picture: Path | str) -> None:
    """Draw `metrics` (JSON lines) into the PNG file `picture`. Raises DataError."""
    rows = read_metrics(metrics)
    figure, axes = pyplot.subplots(2, 2, figsize=(11, 7), sharex=True, layout="constrained")
    for axis, panel in zip(axes.flat, PANELS, strict=True):
        for name, label in panel.lines:
            points = [(step, row[name]) for step, row in rows.items() if name in row]
            axis.plot(*zip(*points, strict=True), label=label, linewidth=1.2)
        axis.set_title(panel.title)
        axis.grid(alpha=0.3)
        axis.set_ylim(bottom=0)
        if len(panel.lines) > 1:
            axis.legend()
    for axis in axes[1]:
        axis.set_xlabel("optimiser steps")
    figure.savefig(picture, dpi=100)
    pyplot.close(figure)


if __name__ == "__main__":
    draw_curves(*sys.argv[1:3])
