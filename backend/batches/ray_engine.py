# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a batch on a Ray cluster by Ray Data, an optional library.

Each actor keeps a process of its own for the job, so that here, too, a bad input costs only itself. Ray
starts actors again that die, with their node or without, and gives their inputs to others.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DeviceError
from ..mesh_files.optional import optional_module
from .inputs import Input
from .jobs import Job, Row
from .local_engine import Limits, LocalEngine

_INPUTS_PER_TASK = 4
"""What is done again where an actor dies; more would make less traffic."""


@dataclass(frozen=True)
class RaySettings:
    """workers: least and most actors, between which Ray scales
    cpus, gpus: of each; a part of a graphics card shares one, with 0 they compute on the CPU
    address: of the cluster; None starts one here, or joins that of this process
    """

    workers: tuple[int, int] = (1, 1)
    cpus: float = 1.0
    gpus: float = 0.0
    address: str | None = None


class RayEngine:
    """Does a job on a cluster; the machine that drives it takes the rows."""

    def __init__(self, job: Job, cluster: RaySettings, limits: Limits | None = None) -> None:
        self._job, self._cluster, self._limits = job, cluster, limits or Limits()

    def run(self, items: Iterable[Input]) -> Iterator[Row]:
        """Yield one row for each item, as it is done. DeviceError where the job cannot be prepared."""
        ray = optional_module("ray", "the engine ray")
        data = optional_module("ray.data", "the engine ray")
        if not ray.is_initialized():
            self._join_cluster(ray)
        data.DataContext.get_current().enable_progress_bars = False
        inputs = [{"name": item.name, "place": os.fsencode(item.place), "data": item.data} for item in items]
        if not inputs:
            return
        blocks = -(-len(inputs) // _INPUTS_PER_TASK)
        files = data.from_items(inputs, override_num_blocks=blocks)
        least, most = self._cluster.workers
        rows = files.map_batches(
            _Actor,
            fn_constructor_args=(self._job, self._limits, self._cluster.gpus > 0),
            batch_size=_INPUTS_PER_TASK,
            compute=data.ActorPoolStrategy(min_size=least, max_size=most),
            num_cpus=self._cluster.cpus,
            num_gpus=self._cluster.gpus,
        )
        errors = optional_module("ray.exceptions", "the engine ray")
        try:
            for row in rows.iter_rows():
                yield _plain(row)
        except errors.RayError as error:
            raise DeviceError(_in_one_line(str(error))) from error

    def _join_cluster(self, ray: Any) -> None:
        package = Path(__file__).resolve().parents[1]
        try:
            ray.init(
                address=self._cluster.address,
                # Nodes need not have this package: it travels with the job.
                runtime_env={"py_modules": [str(package)]},
                logging_level=logging.WARNING,
                log_to_driver=False,
            )
        except (OSError, RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            where = f"at {self._cluster.address}" if self._cluster.address else "can be started here"
            raise DeviceError(f"no Ray cluster {where}: {reason}") from error


class _Actor:
    """A batch of inputs in, their rows out."""

    def __init__(self, job: Job, limits: Limits, has_card: bool) -> None:
        if not has_card:
            # Ray hides cards from those that got other ones, but not from those that got none.
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        # Its process is worker 0, hence on the first of the cards that Ray lets it see: its own.
        self._engine = LocalEngine(job, limits=limits)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        fields = zip(batch["name"], batch["place"], batch["data"], strict=True)
        items = [Input(str(name), os.fsdecode(bytes(place)), bytes(data)) for name, place, data in fields]
        rows = list(self._engine.run(items))
        return {key: [row[key] for row in rows] for key in rows[0]}


def _in_one_line(traceback: str) -> str:
    """What ended an actor; Ray has it only as text, a traceback over several processes."""
    lines = [line.strip() for line in traceback.splitlines() if line.strip()]
    ours = re.findall(r"^\S*\bDeviceError: (.*)$", "\n".join(lines), re.MULTILINE)
    return ours[-1] if ours else f"Ray gave up: {lines[-1] if lines else 'without a reason'}"


def _plain(row: dict[str, Any]) -> Row:
    """A row without numpy's types, which JSON does not take."""
    return {
        key: value.tolist() if isinstance(value, np.ndarray | np.generic) else value
        for key, value in row.items()
    }
