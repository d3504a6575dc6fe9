# SPDX-License-Identifier: GPL-3.0-or-later
"""Turn a folder of mesh files into training shards, with a reason for every file that is left out."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..devices import DEVICES
from .arguments import add_engine_arguments, engine_settings

if TYPE_CHECKING:
    from ..labelled_meshes.manifest import Entry


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `curate`."""
    parser.add_argument(
        "folder", type=Path, metavar="DIR", help="folder with mesh files, searched to any depth"
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="SHARDS",
        help="folder for shard_000.npz.xz ... and manifest.jsonl; an interrupted run continues there",
    )  # fmt: skip
    parser.add_argument("--source", default="", help="name of the source, recorded with each shape")
    parser.add_argument("--licence", default="unknown", help="licence, recorded with each shape")
    parser.add_argument("--shard-size", type=int, default=500, metavar="N", help="shapes per shard")
    parser.add_argument("--min-parts", type=int, default=3, metavar="N")
    parser.add_argument("--max-parts", type=int, default=50, metavar="N")
    parser.add_argument(
        "--min-part-area", type=float, default=0.001, metavar="0..1",
        help="parts below this share of the surface are left unlabelled (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--max-part-area", type=float, default=0.9, metavar="0..1",
        help="parts above this share of the surface are left unlabelled (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--model", metavar="small|FILE",
        help="stage two: look for parts of over-fragmented assets with this model",
    )  # fmt: skip
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument(
        "--retry-failed", action="store_true",
        help="look again at files that ran out of time or memory, or crashed",
    )  # fmt: skip
    add_engine_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Curate. Raises PartSAMError for what the user can fix; rejected files are no error."""
    from ..curation import CurationSettings, StageOneRules, curate

    settings = CurationSettings(
        source=args.source or args.folder.resolve().name,
        licence=args.licence,
        shard_size=args.shard_size,
        stage_one=StageOneRules(
            min_parts=args.min_parts,
            max_parts=args.max_parts,
            min_part_area=args.min_part_area,
            max_part_area=args.max_part_area,
        ),
        model=args.model,
        device=args.device,
        threads=args.threads,
        retry_failed=args.retry_failed,
    )
    report = curate(args.folder, args.output, settings, engine_settings(args), progress=_show)
    print(f"{report.kept} kept, {report.rejected} rejected, {report.skipped} known from earlier runs")
    for reason, count in report.reasons.most_common():
        print(f"  {count:6d} {reason}")
    return 0


def _show(number: int, total: int, entry: Entry) -> None:
    print(f"[{number}/{total}] {entry.path}: {entry.detail or ', '.join(map(str, entry.parts)) + ' parts'}")
