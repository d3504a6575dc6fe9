# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a training step takes, by rounds of interaction, for several settings side by side.

    python -m backend.benchmarks.training_step CONFIG.toml \\
        --set 'shards=["train.pack"]' --variant 'plain' --variant 'points=16384 batch.points=16384'

Each variant is a name, or settings that replace those of the file; times are of whole optimiser steps,
replayed as CUDA graphs where the configuration asks for them. `--profile N` also lists the N operations
that take most of an uncaptured step.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from ..devices import CUDA, DEVICES
from ..errors import PartSAMError
from ..training.config import override, read_config
from ..training.interaction import Interaction
from ..training.trainer import Trainer

_log = logging.getLogger(__name__)

_REPLAYS = 12


def step_milliseconds(trainer: Trainer, interaction: Interaction) -> float:
    """Median time of a step with this interaction."""
    for _ in range(3):
        trainer.step(interaction, 1e-4)
    times = []
    for _ in range(_REPLAYS):
        _wait(trainer.device)
        start = time.perf_counter()
        trainer.step(interaction, 1e-4)
        _wait(trainer.device)
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def profile_step(trainer: Trainer, interaction: Interaction, rows: int) -> str:
    """Table of the operations that take most of a step, launched one by one."""
    on_gpu = trainer.device.type == CUDA
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    for _ in range(2):
        trainer.step.launch(interaction)
    with profile(activities=activities, record_shapes=True) as trace:
        trainer.step.launch(interaction)
        _wait(trainer.device)
    order = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    table = trace.key_averages(group_by_input_shape=True)
    return str(table.table(sort_by=order, row_limit=rows, max_name_column_width=60))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure every variant and print a line, or a table, for each; exit status 1 for unusable settings."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--variant", action="append", metavar="SETTINGS")
    parser.add_argument("--rounds", type=int, nargs="+", help="default: those of the configuration")
    parser.add_argument("--profile", type=int, default=0, metavar="ROWS")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    args = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    common = dict(override(text) for text in args.set)
    for variant in args.variant or ["as configured"]:
        settings = dict(override(text) for text in variant.split() if "=" in text)
        try:
            config = read_config(args.config, common | settings)
        except PartSAMError as error:
            _log.error("%s: %s", variant, error)
            return 1
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            trainer = Trainer(config, folder, device=args.device)
            built = time.perf_counter() - started
            times = {
                rounds: step_milliseconds(trainer, Interaction(rounds))
                for rounds in args.rounds or config.rounds
            }
            cells = "  ".join(f"{rounds}: {value:6.1f}" for rounds, value in times.items())
            first = time.perf_counter() - started - built
            _log.info(
                "%s: ms by rounds  %s%s, built in %.0f s, first steps in %.0f s",
                variant, cells, _memory(trainer.device), built, first,
            )  # fmt: skip
            if args.profile:
                _log.info("%s", profile_step(trainer, Interaction(max(times)), args.profile))
            del trainer
            torch.cuda.empty_cache()
    return 0


def _memory(device: torch.device) -> str:
    if device.type != CUDA:
        return ""
    peak = torch.cuda.max_memory_allocated(device) / 2**30
    torch.cuda.reset_peak_memory_stats(device)
    return f", {peak:.1f} GiB"


def _wait(device: torch.device) -> None:
    if device.type == CUDA:
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    sys.exit(main())
