# SPDX-License-Identifier: GPL-3.0-or-later
"""Fit what chooses parts among a frozen network's masks: collect part trees of labelled shapes, then fit."""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `choose`."""
    steps = parser.add_subparsers(dest="step", metavar="STEP", required=True)
    collect = steps.add_parser("collect", help="segment labelled shapes and keep their part trees")
    collect.add_argument("shards", nargs="+", type=Path, metavar="SHARD", help="shards or packed sets")
    collect.add_argument("-o", "--output", required=True, type=Path, metavar="OUT", help="file to write")
    collect.add_argument("--model", default="small", help="network (default: %(default)s)")
    collect.add_argument("--device", default="auto", help="where to compute (default: %(default)s)")
    collect.add_argument("--limit", type=positive, metavar="N", help="only N shapes, drawn by the seed")
    collect.add_argument("--prompts", type=positive, default=512, help="per shape (default: %(default)s)")
    collect.add_argument("--workers", type=positive, default=1, help="processes, over all GPUs")
    collect.add_argument("--half", choices=("fit", "report", "all"), default="all")
    collect.add_argument("--seed", type=int, default=0)
    fit = steps.add_parser("fit", help="fit to collected part trees")
    fit.add_argument("records", nargs="+", type=Path, metavar="TREES", help="files that `collect` wrote")
    fit.add_argument("-o", "--output", required=True, type=Path, metavar="OUT.npz")
    fit.add_argument("--seed", type=int, default=0)


def run(args: argparse.Namespace) -> int:
    """Collect or fit. Raises PartSAMError for what the user can fix."""
    return _collect(args) if args.step == "collect" else _fit(args)


def _collect(args: argparse.Namespace) -> int:
    import numpy as np
    from tqdm import tqdm

    from ..evaluation.shapes import half_of
    from ..labelled_meshes.packing import load_shapes
    from ..training.part_quality import CollectJob, collect_records, write_records

    shapes = load_shapes(args.shards)
    sources = [str(line.get("repo", "unknown")) for line in shapes.info]
    rows = [row for row, source in enumerate(sources) if args.half in ("all", half_of(source))]
    if args.limit is not None and args.limit < len(rows):
        drawn = np.random.default_rng(args.seed).choice(rows, args.limit, replace=False)
        rows = np.sort(drawn).tolist()
    job = CollectJob(args.model, args.device, args.prompts, args.seed)
    with tqdm(total=len(rows), unit="shape", disable=None) as bar:
        records = collect_records(
            job, [shapes.shape(row) for row in rows], workers=args.workers, progress=bar.update
        )
    write_records(args.output, records)
    print(f"part trees of {len(records)} shapes: {args.output}")
    return 0


def _fit(args: argparse.Namespace) -> int:
    from ..training.part_quality import FitSettings, fit_part_quality, read_records

    records = read_records(args.records)
    fit_part_quality(records, FitSettings(seed=args.seed)).save(args.output)
    print(f"fitted to part trees of {len(records)} shapes: {args.output}")
    return 0
