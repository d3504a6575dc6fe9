# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure a model on meshes with known parts: by simulated clicks, or automatically."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from ..errors import DataError, PartSAMError
from ..evaluation import BASELINES, HALVES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "shards", nargs="+", type=Path, metavar="SHARD", help="shards (.npz.xz) or packed sets"
    )
    parser.add_argument("--protocol", required=True, choices=("interactive", "automatic", "parts"))
    parser.add_argument(
        "--model", default="small", help="model name or path to weights (default: %(default)s)"
    )
    parser.add_argument("--device", default="auto", help="where to compute (default: the best there is)")
    parser.add_argument("--limit", type=_positive, help="measure only the first LIMIT shapes of each shard")
    parser.add_argument(
        "--half", choices=HALVES, default="all",
        help="only the half of the sources that settings are fitted on, or the half that is reported "
        "(default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--workers", type=_positive, default=1,
        help="processes side by side, spread over all GPUs; times are then of a shared machine "
        "(default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of samples, clicks and clusters (default: 0)")
    parser.add_argument(
        "--no-refine", action="store_true", help="leave out refinement by connectivity, in either protocol"
    )
    parser.add_argument("--split", help="what to call the data in the report (default: the shards' names)")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write every number, also per shape")
    parser.add_argument("--sheet", type=Path, metavar="OUT.png", help="draw the worst and best shapes")
    interactive = parser.add_argument_group("interactive protocol")
    interactive.add_argument("--clicks", type=_positive, default=10, help="per part (default: %(default)s)")
    interactive.add_argument(
        "--max-parts", type=_positive, default=32, help="per shape (default: %(default)s)"
    )
    interactive.add_argument(
        "--zoom", action="store_true",
        help="look closely at small parts, as the click tool does; slow",
    )  # fmt: skip
    automatic = parser.add_argument_group("automatic protocol")
    automatic.add_argument(
        "--granularity", type=_fraction, default=0.5, help="fixed, 0 to 1 (default: %(default)s)"
    )
    automatic.add_argument("--prompts", type=_positive, default=512, help="per shape (default: %(default)s)")
    baselines = parser.add_argument_group("baselines")
    baselines.add_argument(
        "--baselines",
        nargs="*",
        choices=BASELINES,
        default=["components"],
        help="to run beside the model (default: components; none: give no name)",
    )
    baselines.add_argument(
        "--clusters", type=_positive, default=8, help="fixed number (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Measure, print the tables, write the files. Raises PartSAMError for what the user can fix."""
    from ..evaluation.baselines import FieldSettings
    from ..evaluation.measurement import device_name
    from ..evaluation.parallel import EvaluationJob, measure
    from ..evaluation.report import build_report
    from ..evaluation.shapes import known_shapes
    from ..evaluation.sheet import write_sheet
    from ..evaluation.tables import format_report
    from ..labelled_meshes.shards import write_atomically
    from ..segmenter import Segmenter

    _check_outputs(args.json, args.sheet)
    shapes = known_shapes(args.shards, limit=args.limit, half=args.half)
    segmenter = Segmenter.load(args.model, device=args.device)
    settings = _settings(args)
    fields = FieldSettings(clusters=args.clusters, seed=args.seed)
    job = EvaluationJob(args.model, args.device, settings, tuple(args.baselines), fields)
    started = time.perf_counter()
    records, cards = measure(job, shapes, workers=args.workers, progress=ProgressLines())
    if not records:
        raise DataError("none of the shapes has a labelled part; nothing was measured")
    description = {
        "split": args.split or _split_name(args),
        "shards": {path.name: _sha256(path) for path in args.shards},
        "limit": args.limit,
        "half": args.half,
        "model": segmenter.model_name,
        "model_sha256": _sha256(Path(args.model)) if Path(args.model).is_file() else None,
        "points": segmenter.config.points,
        "device": segmenter.device,
        "device_name": device_name(segmenter.device),
        "protocol": dataclasses.asdict(settings),
        "baselines": {"names": list(args.baselines)} | dataclasses.asdict(fields),
        "workers": args.workers,
        "total_seconds": time.perf_counter() - started,
    }
    report = build_report(args.protocol, records, description)
    print(format_report(report))
    if args.json:
        write_atomically(args.json, (json.dumps(report, indent=1, allow_nan=False) + "\n").encode())
    if args.sheet:
        write_sheet(
            args.sheet, cards, title=f"{args.protocol}, {description['split']}, {segmenter.model_name}"
        )
    return 0


def _settings(args: argparse.Namespace) -> Any:
    from ..evaluation.together import TogetherSettings

    if args.protocol == "parts":
        return TogetherSettings(seed=args.seed)
    return _interactive_settings(args) if args.protocol == "interactive" else _automatic_settings(args)


def _interactive_settings(args: argparse.Namespace) -> Any:
    from ..evaluation.interactive import InteractiveSettings

    return InteractiveSettings(
        clicks=args.clicks,
        max_parts=args.max_parts,
        zoom=args.zoom,
        refine=not args.no_refine,
        seed=args.seed,
    )


def _automatic_settings(args: argparse.Namespace) -> Any:
    from ..evaluation.automatic import AutomaticSettings

    return AutomaticSettings(
        granularity=args.granularity, prompts=args.prompts, refine=not args.no_refine, seed=args.seed
    )


def _check_outputs(*paths: Path | None) -> None:
    """Find out before an hour of work that a result has no place to go."""
    for path in paths:
        if path is None:
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PartSAMError(
                f"cannot create {path.parent} ({error.strerror}); choose another place"
            ) from error
        if path.is_dir() or not os.access(path.parent, os.W_OK):
            raise PartSAMError(f"cannot write {path}; choose another place")


class ProgressLines:
    """How many shapes are done: one changing line in a terminal, at most ten lines elsewhere."""

    def __init__(self) -> None:
        self._tenths = 0

    def __call__(self, done: int, total: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{done}/{total} shapes", end="\n" if done == total else "", file=sys.stderr, flush=True)
        elif done * 10 // total > self._tenths:  # shapes are done in blocks, so tenths may be passed over
            self._tenths = done * 10 // total
            print(f"{done}/{total} shapes", file=sys.stderr, flush=True)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _split_name(args: argparse.Namespace) -> str:
    names = ", ".join(_stem(path) for path in args.shards)
    return names if args.half == "all" else f"{names} ({args.half} half)"


def _stem(path: Path) -> str:
    return path.name.split(".")[0]


def _fraction(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must be between 0 and 1, got {text}")
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value
