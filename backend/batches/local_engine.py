# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a batch in processes of this machine. What crashes, hangs or fills the memory costs itself."""

from __future__ import annotations

import multiprocessing
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path

from ..errors import DeviceError
from ..stage_times import StageTimes
from .inputs import Input
from .jobs import Job, Row
from .worker import serve_files

_READ_AHEAD = 2
_TICK = 0.2
_MOST_FAILED_STARTS = 3


@dataclass(frozen=True)
class Limits:
    """seconds: for reading an input, and again for the work on it; memory: bytes of a process, or None"""

    seconds: float = 600.0
    memory: int | None = None


@dataclass
class _Flight:
    """An input in a worker's hands. state: "sent", "reading", "waiting" or "working", since when."""

    item: Input
    state: str = "sent"
    since: float = field(default_factory=time.monotonic)


class _Worker:
    """A process, and what it has in hand."""

    def __init__(self, job: Job, number: int) -> None:
        self.number = number
        context = multiprocessing.get_context("spawn")  # a forked process must not use a graphics card
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve_files, args=(theirs, job, number), daemon=True)
        self.process.start()
        theirs.close()
        self.flights: dict[str, _Flight] = {}
        self.is_ready = False

    def send(self, item: Input) -> None:
        self.flights[item.name] = _Flight(item)
        self.pipe.send(item)

    def overdue(self, limits: Limits) -> tuple[Input, str, str] | None:
        """(input, error code, detail) where a limit was passed."""
        now = time.monotonic()
        working = [f for f in self.flights.values() if f.state in ("reading", "working")]
        for flight in working:
            if now - flight.since > limits.seconds:
                return flight.item, "timeout", f"{flight.state} took more than {limits.seconds:g} s"
        used = _resident_bytes(self.process.pid)
        if limits.memory and working and used > limits.memory:
            # What is being read grows; what is worked on did so before.
            guilty = max(working, key=lambda flight: flight.state == "reading")
            detail = f"the process held {used / 2**30:.1f} of {limits.memory / 2**30:.1f} GiB"
            return guilty.item, "out_of_memory", detail
        return None

    def close(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


class LocalEngine:
    """`workers` processes, each of which prepares the job for itself."""

    def __init__(self, job: Job, *, workers: int = 1, limits: Limits | None = None) -> None:
        self._job, self._limits = job, limits or Limits()
        self._workers = [_Worker(job, number) for number in range(workers)]
        self._failed_starts = 0
        self._alone: deque[Input] = deque()

    def run(self, items: Iterable[Input]) -> Iterator[Row]:
        """Yield one row for each item, as it is done; items are taken as they are needed.

        DeviceError where the job cannot be prepared.
        """
        waiting = iter(items)
        for worker in self._workers:
            self._feed(worker, waiting)
        while self._alone or any(worker.flights for worker in self._workers):
            for ready in wait([worker.pipe for worker in self._workers], timeout=_TICK):
                yield from self._receive(next(w for w in self._workers if w.pipe is ready))
            for worker in list(self._workers):
                yield from self._enforce(worker)
            for worker in self._workers:
                self._feed(worker, waiting)

    def close(self) -> None:
        """End the processes."""
        for worker in self._workers:
            worker.close()

    def __enter__(self) -> LocalEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _feed(self, worker: _Worker, waiting: Iterator[Input]) -> None:
        if self._alone:
            # After a crash: one at a time, so that it is known which file it was.
            if not worker.flights:
                worker.send(self._alone.popleft())
            return
        while len(worker.flights) < _READ_AHEAD and (item := next(waiting, None)) is not None:
            worker.send(item)

    def _receive(self, worker: _Worker) -> Iterator[Row]:
        try:
            kind, *rest = worker.pipe.recv()
        except (EOFError, OSError):
            yield from self._after_crash(worker)
            return
        if kind == "fatal":
            raise DeviceError(rest[0])
        if kind == "ready":
            worker.is_ready, self._failed_starts = True, 0
        elif kind == "done":
            del worker.flights[rest[0]]
            yield rest[1]
        else:
            flight = worker.flights[rest[0]]
            flight.state, flight.since = kind, time.monotonic()

    def _after_crash(self, worker: _Worker) -> Iterator[Row]:
        worker.process.join()
        code = worker.process.exitcode
        suspects = [flight for flight in worker.flights.values() if flight.state != "sent"]
        if not worker.is_ready:
            self._failed_starts += 1
            if self._failed_starts >= _MOST_FAILED_STARTS:
                raise DeviceError(f"the processes end while they load (exit code {code})")
        if len(suspects) == 1:
            item = suspects[0].item
            del worker.flights[item.name]
            yield self._job.failed(item, "crashed", f"the process ended with {code}", StageTimes())
        self._replace(worker)

    def _enforce(self, worker: _Worker) -> Iterator[Row]:
        late = worker.overdue(self._limits)
        if late is not None:
            item, error, detail = late
            del worker.flights[item.name]
            yield self._job.failed(item, error, detail, StageTimes())
            self._replace(worker)

    def _replace(self, worker: _Worker) -> None:
        """Start a process in place of one, and do again what that had in hand."""
        self._alone.extend(flight.item for flight in worker.flights.values())
        worker.close()
        self._workers[self._workers.index(worker)] = _Worker(self._job, worker.number)


def _resident_bytes(pid: int | None) -> int:
    """Memory that a process holds; 0 where the system does not tell (only Linux has /proc)."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
    except (OSError, ValueError, IndexError):
        return 0
