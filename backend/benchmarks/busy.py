# SPDX-License-Identifier: GPL-3.0-or-later
"""How long finding all parts takes beside other busy processes, as an artist renders meanwhile."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

_COMPUTE = (
    "import os, time\n"
    "parent, end = os.getppid(), time.monotonic() + 600\n"
    "print(flush=True)\n"
    "while os.getppid() == parent and time.monotonic() < end:\n"
    "    sum(range(100_000))\n"
)
"""Also ends by itself: whoever started it may have been killed."""


@dataclass(frozen=True)
class RunTimes:
    """Medians of some runs: seconds of wall time, and of processor time of all threads together."""

    seconds: float
    cpu_seconds: float


@dataclass(frozen=True)
class BusyMeasurement:
    """One built mesh, segmented with the machine as it is and beside `processes` that compute.

    threads: of this process; cores: that it may use
    """

    faces: int
    prompts: int
    processes: int
    threads: int
    cores: int
    idle: RunTimes
    busy: RunTimes

    @property
    def ratio(self) -> float:
        """Of the wall times."""
        return self.busy.seconds / self.idle.seconds

    @property
    def fair_ratio(self) -> float:
        """What it is if each process and each of our threads gets the same share of the cores."""
        return max(1.0, (self.processes + self.threads) / self.cores)


def measure_busy(
    faces: int, *, model: str, device: str, prompts: int, repeat: int, processes: int
) -> BusyMeasurement:
    """Segment a built mesh of about `faces` faces in this process, `repeat` times before and after the same
    beside `processes` others. The machine must be idle otherwise."""
    import torch

    from ..segmenter import Segmenter
    from ..threads import usable_cores
    from .graph_cut import lumpy_torus

    segmenter = Segmenter.load(model, device=device)
    segmenter.warm_up()
    mesh = lumpy_torus(faces)
    shape = segmenter.encode(mesh)

    def find() -> None:
        fresh = replace(shape, graph_ahead=None)  # which knows nothing of itself yet
        segmenter.segment_every_part(fresh, prompts=prompts).face_labels()

    find()
    before = _timed(find, repeat)
    with busy_processes(processes):
        beside = _timed(find, repeat)
    after = _timed(find, repeat)
    threads, cores = torch.get_num_threads(), usable_cores()
    idle, busy = _medians(before + after), _medians(beside)
    return BusyMeasurement(mesh.face_count, prompts, processes, threads, cores, idle, busy)


@contextmanager
def busy_processes(count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """So many processes that compute as long as the block runs, from its start on."""
    started: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(count):
            process = subprocess.Popen([sys.executable, "-c", _COMPUTE], stdout=subprocess.PIPE)
            started.append(process)
        for process in started:
            assert process.stdout is not None
            process.stdout.readline()
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate()


def _timed(work: Callable[[], None], repeat: int) -> list[RunTimes]:
    found = []
    for _ in range(repeat):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        found.append(RunTimes(time.perf_counter() - wall, time.process_time() - cpu))
    return found


def _medians(runs: list[RunTimes]) -> RunTimes:
    return RunTimes(
        statistics.median(run.seconds for run in runs), statistics.median(run.cpu_seconds for run in runs)
    )
