# SPDX-License-Identifier: GPL-3.0-or-later
"""Fuse the shapes of training shards into one-piece shells with known parts, as generators deliver them."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `fuse`."""
    parser.add_argument("shards", type=Path, nargs="+", metavar="SHARD", help="shards or packed sets")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="shard to write")
    parser.add_argument(
        "--skip", action="append", default=[], metavar="REPOSITORY", help="leave this source out; repeatable"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N shapes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, metavar="N", help="processes (default: one per core)")


def run(args: argparse.Namespace) -> int:
    """Fuse. Shapes that leave no usable labeling are counted, not an error."""
    from tqdm import tqdm

    from ..training.fusing import FuseSettings, fuse_shapes
    from ..training.packing import load_shapes
    from ..training.shards import write_shard

    shapes = load_shapes(args.shards)
    rows = [i for i, line in enumerate(shapes.info) if line.get("repo") not in args.skip][: args.limit]
    with tqdm(total=len(rows), unit="shape", disable=None) as bar:
        fused = fuse_shapes(
            shapes.subset(rows),
            FuseSettings(),
            seed=args.seed,
            workers=args.workers,
            progress=lambda count: bar.update(count),
        )
    write_shard(args.output, fused)
    print(f"{len(fused)} of {len(rows)} shapes fused, {int(fused.face_counts.sum())} faces: {args.output}")
    return 0
