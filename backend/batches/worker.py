# SPDX-License-Identifier: GPL-3.0-or-later
"""A process that does a job: one thread reads the next input while the work on the one before goes on."""

from __future__ import annotations

import os
import queue
import threading
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from ..errors import PartSAMError
from ..stage_times import StageTimes
from .inputs import Input
from .jobs import Job, error_of


@dataclass(frozen=True)
class _Read:
    """An input and its content, or the error that reading it made."""

    item: Input
    times: StageTimes
    content: Any = None
    error: Exception | None = None


def serve_files(pipe: Connection, job: Job, number: int) -> None:
    """Answer each Input that comes through the pipe, as worker `number` of this machine.

    Messages out: ("ready",), ("reading", name), ("waiting", name), ("working", name), ("done", name, row)
    and ("fatal", message), after which the process ends.
    """
    lock = threading.Lock()

    def tell(*message: Any) -> None:
        with lock:
            pipe.send(message)

    try:
        context = job.prepare(number)
    except PartSAMError as error:
        tell("fatal", str(error))
        return
    tell("ready")
    # One input is read ahead: more would only fill the memory.
    ready: queue.Queue[_Read] = queue.Queue(maxsize=1)
    threading.Thread(target=_read_ahead, args=(pipe, job, tell, ready), daemon=True).start()
    while True:
        found = ready.get()
        item, times = found.item, found.times
        tell("working", item.name)
        try:
            if found.error is not None:
                raise found.error
            row = job.work(context, item, found.content, times)
        except Exception as error:
            fault = error_of(error)
            if fault is None:
                tell(
                    "fatal",
                    str(error) if isinstance(error, PartSAMError) else f"{type(error).__name__}: {error}",
                )
                return
            row = job.failed(item, *fault, times)
        tell("done", item.name, row)


def _read_ahead(pipe: Connection, job: Job, tell: Any, ready: queue.Queue[_Read]) -> None:
    while True:
        try:
            item: Input = pipe.recv()
        except (EOFError, OSError):
            os._exit(0)  # whoever started this process is gone
        times = StageTimes()
        tell("reading", item.name)
        try:
            found = _Read(item, times, content=job.read(item, times))
        except Exception as error:
            found = _Read(item, times, error=error)
        tell("waiting", item.name)
        ready.put(found)
