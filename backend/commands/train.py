# SPDX-License-Identifier: GPL-3.0-or-later
"""Train a network from a TOML configuration; resumes by itself where it stopped."""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path

from ..devices import DEVICES
from ..errors import DataError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `python -m backend train`."""
    parser.add_argument("config", type=Path, help="TOML file; see docs/training.md")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the run")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="replace a setting, e.g. --set run.seconds=1200",
    )


def run(args: argparse.Namespace) -> int:
    """One process, or one of several started by `torchrun`."""
    import torch
    import torch.distributed as dist

    try:
        from ..training.config import override, read_config
        from ..training.ranks import rank
        from ..training.trainer import WEIGHTS, Trainer
    except ModuleNotFoundError as error:
        raise DataError(f"training needs {error.name}: pip install -r tests/requirements.txt") from error

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    config = read_config(args.config, dict(override(text) for text in args.set))
    under_torchrun = "WORLD_SIZE" in os.environ
    if under_torchrun:
        on_gpu = torch.cuda.is_available() and args.device != "cpu"
        if on_gpu:
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group("nccl" if on_gpu else "gloo")
    try:
        trainer = Trainer(config, args.output, device=args.device)
        progress = trainer.run(report=lambda line: print(line, flush=True))
        first = rank() == 0
    finally:
        if under_torchrun:
            dist.destroy_process_group()
    if first:
        minutes = progress.seconds / 60
        print(f"{progress.step} steps in {minutes:.1f} minutes; weights: {args.output / WEIGHTS}")
    return 0
