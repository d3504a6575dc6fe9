# SPDX-License-Identifier: GPL-3.0-or-later
"""Fuse the shapes of training shards into one-piece shells with known parts, as generators deliver them."""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import add_engine_arguments, engine_settings, positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `fuse`."""
    parser.add_argument("shards", type=Path, nargs="+", metavar="SHARD", help="shards or packed sets")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FUSED",
        help="folder for shard_000.npz.xz ... and manifest.jsonl; an interrupted run continues there",
    )  # fmt: skip
    parser.add_argument(
        "--skip", action="append", default=[], metavar="REPOSITORY", help="leave this source out; repeatable"
    )
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N shapes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shard-size", type=positive, default=500, metavar="N", help="shapes per shard")
    parser.add_argument(
        "--retry-failed", action="store_true",
        help="try shapes again that ran out of time or memory, or crashed",
    )  # fmt: skip
    add_engine_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Fuse. Shapes that leave no usable labeling are counted, not an error."""
    from tqdm import tqdm

    from ..training.fuse_job import FuseJob, fuse_shards

    job = FuseJob(
        seed=args.seed,
        skip=tuple(args.skip),
        limit=args.limit,
        shard_size=args.shard_size,
        retry_failed=args.retry_failed,
    )
    with tqdm(unit="shape", disable=None) as bar:
        report = fuse_shards(
            args.shards, args.output, job, engine_settings(args), progress=lambda entry: bar.update()
        )
    total = report.fused + report.left_out
    print(f"{report.fused} of {total} shapes fused, {report.skipped} known from earlier runs: {args.output}")
    for reason, count in report.reasons.most_common():
        print(f"  {count:6d} {reason}")
    return 0
