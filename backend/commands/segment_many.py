# SPDX-License-Identifier: GPL-3.0-or-later
"""Segment every file of a folder or a list, in processes of this machine or on a Ray cluster."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DataError
from .arguments import (
    add_cut_arguments,
    add_engine_arguments,
    add_network_arguments,
    add_poses_argument,
    engine_settings,
)

if TYPE_CHECKING:
    from ..batches.inputs import Input, Shard


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `segment-many`."""
    parser.add_argument(
        "source", type=Path, metavar="LIST|FOLDER", help="one path per line, or a folder, or a mesh"
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="OUT",
        help="folder for tables and manifest.jsonl; an interrupted run goes on there",
    )  # fmt: skip
    add_network_arguments(parser)
    add_poses_argument(parser)
    add_cut_arguments(parser)
    parser.add_argument("--no-refine", action="store_true", help="keep the network's borders as they are")
    parser.add_argument("--split", action="store_true", help="make each connected piece of a part a part")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write-parts", action="store_true", help="also write OUT/parts/NAME.parts.glb")
    parser.add_argument(
        "--format", choices=("parquet", "jsonl"), default="parquet",
        help="of the tables; jsonl writes labels as .npy and needs no further library",
    )  # fmt: skip
    add_engine_arguments(parser)
    parser.add_argument(
        "--shard", default="1/1", metavar="I/N", help="take one of N equal shares of the list"
    )
    parser.add_argument("--retry-failed", action="store_true", help="try files again that have an error")


def run(args: argparse.Namespace) -> int:
    """Run a batch. Files with errors are rows; only a dead device or disk ends it."""
    from ..batches.inputs import Shard, find_inputs
    from ..batches.tables import only_writer

    shard = Shard(*_numbers(args.shard))
    items = [item for item in find_inputs(args.source, args.output / "parts") if shard.takes(item)]
    with only_writer(args.output, shard.suffix):
        return _run(args, shard, items)


def _run(args: argparse.Namespace, shard: Shard, items: list[Input]) -> int:
    """As the only writer of the output folder."""
    from ..batches.tables import RecordTables, done_ids, make_folder

    tables = RecordTables(args.output, suffix=shard.suffix, kind=args.format)
    done = done_ids(args.output, retry_failed=args.retry_failed)
    left = [item for item in items if item.id not in done]
    print(f"{len(items):,} files, {len(items) - len(left):,} done before", file=sys.stderr)
    if not left:
        return 0
    if args.write_parts:
        make_folder(args.output / "parts")
    start, failed, segmented = time.monotonic(), 0, 0
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        with tables.open():
            for row in _rows(args, left):
                tables.add(row)
                failed += bool(row["error"])
                segmented += not row["error"]
                if row["error"]:
                    print(f"{row['path']}: {row['error']}: {row['detail']}", file=sys.stderr)
    finally:
        signal.signal(signal.SIGTERM, before)
    minutes = (time.monotonic() - start) / 60
    rate = (segmented + failed) / minutes
    print(f"{segmented:,} segmented, {failed:,} with an error, {rate:.1f} files a minute")
    return 0


def _rows(args: argparse.Namespace, left: list[Input]) -> Iterator[dict[str, Any]]:
    from ..batches.engines import open_engine
    from ..batches.segment_job import SegmentJob
    from ..batches.segmenting import SegmentSettings

    job = SegmentJob(
        SegmentSettings(
            args.granularity,
            args.parts,
            args.prompts,
            not args.no_refine,
            args.split,
            args.seed,
            args.poses,
        ),
        model=args.model,
        device=args.device,
        parts_folder=args.output / "parts" if args.write_parts else None,
        threads=args.threads,
    )
    with open_engine(job, engine_settings(args)) as engine:
        yield from engine.run(left)


def _interrupt(*_: object) -> None:
    """Schedulers end jobs so: as by Ctrl-C, what was done is written."""
    raise KeyboardInterrupt


def _numbers(text: str) -> tuple[int, int]:
    first, _, second = text.partition("/")
    if not (first.isdigit() and second.isdigit()):
        raise DataError(f"--shard {text} is not like 2/8")
    return int(first), int(second)
