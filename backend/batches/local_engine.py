# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a batch in processes of this machine. A file that crashes, hangs or fills the memory costs itself."""

from __future__ import annotations

import multiprocessing
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from ..errors import DeviceError
from .inputs import Input
from .records import Record
from .worker import WorkerSettings, serve_files

_READ_AHEAD = 2
_TICK = 0.2
_MOST_FAILED_STARTS = 3


@dataclass(frozen=True)
class Limits:
    """seconds: that reading a file may take, and again segmenting it; memory: bytes of a process, or None"""

    seconds: float = 600.0
    memory: int | None = None


@dataclass
class _Flight:
    """A file in a worker's hands. state: "sent", "reading", "waiting" or "segmenting", since when."""

    item: Input
    state: str = "sent"
    since: float = field(default_factory=time.monotonic)


class _Worker:
    """A process, and what it has in hand."""

    def __init__(self, settings: WorkerSettings) -> None:
        context = multiprocessing.get_context("spawn")  # a forked process must not use a graphics card
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve_files, args=(theirs, settings), daemon=True)
        self.process.start()
        theirs.close()
        self.flights: dict[str, _Flight] = {}
        self.is_ready = False

    def send(self, item: Input) -> None:
        self.flights[item.name] = _Flight(item)
        self.pipe.send(item)

    def overdue(self, limits: Limits) -> tuple[str, str, str] | None:
        """(name of the file, error code, detail) where a limit was passed."""
        now = time.monotonic()
        working = [f for f in self.flights.values() if f.state in ("reading", "segmenting")]
        for flight in working:
            if now - flight.since > limits.seconds:
                return flight.item.name, "timeout", f"{flight.state} took more than {limits.seconds:g} s"
        used = _resident_bytes(self.process.pid)
        if limits.memory and working and used > limits.memory:
            # What is being read grows; what is being segmented did so before.
            guilty = max(working, key=lambda flight: flight.state == "reading")
            detail = f"the process held {used / 2**30:.1f} of {limits.memory / 2**30:.1f} GiB"
            return guilty.item.name, "out_of_memory", detail
        return None

    def close(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


class LocalEngine:
    """`workers` processes with a model each."""

    def __init__(self, settings: WorkerSettings, *, workers: int = 1, limits: Limits | None = None) -> None:
        self._settings, self._limits = settings, limits or Limits()
        self._workers = [_Worker(settings) for _ in range(workers)]
        self._failed_starts = 0
        self._alone: deque[Input] = deque()

    def run(self, items: Sequence[Input]) -> Iterator[dict[str, Any]]:
        """Yield a row of `Record.row` for each item, as it is done. DeviceError where no model runs."""
        waiting = deque(items)
        while waiting or self._alone or any(worker.flights for worker in self._workers):
            for worker in self._workers:
                self._feed(worker, waiting)
            for ready in wait([worker.pipe for worker in self._workers], timeout=_TICK):
                yield from self._receive(next(w for w in self._workers if w.pipe is ready))
            for worker in list(self._workers):
                yield from self._enforce(worker)

    def close(self) -> None:
        """End the processes."""
        for worker in self._workers:
            worker.close()

    def __enter__(self) -> LocalEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _feed(self, worker: _Worker, waiting: deque[Input]) -> None:
        if self._alone:
            # After a crash: one at a time, so that it is known which file it was.
            if not worker.flights:
                worker.send(self._alone.popleft())
            return
        while waiting and len(worker.flights) < _READ_AHEAD:
            worker.send(waiting.popleft())

    def _receive(self, worker: _Worker) -> Iterator[dict[str, Any]]:
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

    def _after_crash(self, worker: _Worker) -> Iterator[dict[str, Any]]:
        worker.process.join()
        code = worker.process.exitcode
        suspects = [flight for flight in worker.flights.values() if flight.state != "sent"]
        if not worker.is_ready:
            self._failed_starts += 1
            if self._failed_starts >= _MOST_FAILED_STARTS:
                raise DeviceError(f"the processes end while they load the model (exit code {code})")
        if len(suspects) == 1:
            name = suspects[0].item.name
            del worker.flights[name]
            yield Record(name, error="crashed", detail=f"the process ended with {code}").row()
        self._replace(worker)

    def _enforce(self, worker: _Worker) -> Iterator[dict[str, Any]]:
        late = worker.overdue(self._limits)
        if late is not None:
            name, error, detail = late
            del worker.flights[name]
            yield Record(name, error=error, detail=detail).row()
            self._replace(worker)

    def _replace(self, worker: _Worker) -> None:
        """Start a process in place of one, and do again what that had in hand."""
        self._alone.extend(flight.item for flight in worker.flights.values())
        worker.close()
        self._workers[self._workers.index(worker)] = _Worker(self._settings)


def _resident_bytes(pid: int | None) -> int:
    """Memory that a process holds; 0 where the system does not tell (only Linux has /proc)."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
    except (OSError, ValueError, IndexError):
        return 0
