# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a batch on a Ray cluster by Ray Data, an optional library.

Each actor keeps a process of its own with a model, so that here, too, a bad file costs only itself. Ray
starts actors again that die, with their node or without, and gives their files to others.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..mesh_files.optional import optional_module
from .inputs import Input
from .local_engine import Limits, LocalEngine
from .worker import WorkerSettings

_FILES_PER_TASK = 4
"""What is done again where an actor dies; more would make less traffic."""


@dataclass(frozen=True)
class RaySettings:
    """workers: least and most actors, between which Ray scales; cpus, gpus: of each
    address: of the cluster; None starts one here, or joins that of this process
    """

    workers: tuple[int, int] = (1, 1)
    cpus: float = 1.0
    gpus: float = 0.0
    address: str | None = None


class RayEngine:
    """Segments files on a cluster; the machine that drives it writes the tables."""

    def __init__(self, settings: WorkerSettings, cluster: RaySettings, limits: Limits | None = None) -> None:
        self._settings, self._cluster, self._limits = settings, cluster, limits or Limits()

    def run(self, items: Sequence[Input]) -> Iterator[dict[str, Any]]:
        """Yield a row of `Record.row` for each item, as it is done. DeviceError where no model runs."""
        ray = optional_module("ray", "the engine ray")
        data = optional_module("ray.data", "the engine ray")
        if not ray.is_initialized():
            package = Path(__file__).resolve().parents[1]
            ray.init(
                address=self._cluster.address,
                # Nodes need not have this package: it travels with the job.
                runtime_env={"py_modules": [str(package)]},
                logging_level=logging.WARNING,
                log_to_driver=False,
            )
        data.DataContext.get_current().enable_progress_bars = False
        files = data.from_items(
            [{"name": item.name, "place": item.place} for item in items],
            override_num_blocks=max(1, -(-len(items) // _FILES_PER_TASK)),
        )
        least, most = self._cluster.workers
        rows = files.map_batches(
            _SegmentFiles,
            fn_constructor_args=(self._settings, self._limits),
            batch_size=_FILES_PER_TASK,
            compute=data.ActorPoolStrategy(min_size=least, max_size=most),
            num_cpus=self._cluster.cpus,
            num_gpus=self._cluster.gpus,
        )
        for row in rows.iter_rows():
            yield _plain(row)


class _SegmentFiles:
    """An actor: a batch of files in, their records out."""

    def __init__(self, settings: WorkerSettings, limits: Limits) -> None:
        self._engine = LocalEngine(settings, limits=limits)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        items = [Input(str(n), str(p)) for n, p in zip(batch["name"], batch["place"], strict=True)]
        rows = list(self._engine.run(items))
        return {key: [row[key] for row in rows] for key in rows[0]}


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """A row without numpy's types, which JSON does not take."""
    return {
        key: value.tolist() if isinstance(value, np.ndarray | np.generic) else value
        for key, value in row.items()
    }
