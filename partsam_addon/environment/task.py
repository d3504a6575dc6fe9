# SPDX-License-Identifier: GPL-3.0-or-later
"""Work in a thread that Blender's interface can watch and cancel."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from ...backend.errors import Cancelled

logger = logging.getLogger(__name__)

Value = TypeVar("Value")

KEPT_LINES = 400


class Progress:
    """What the work tells the watcher, and how it learns that it should stop."""

    def __init__(self) -> None:
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)
        self.step = ""
        self.fraction = 0.0
        self._cancelled = threading.Event()

    def begin(self, step: str, fraction: float) -> None:
        """Announce the next step."""
        self.step, self.fraction = step, fraction
        self.lines.append(step)
        self.check()

    def cancel(self) -> None:
        self._cancelled.set()

    @property
    def is_cancelled(self) -> bool:
        return self._cancelled.is_set()

    def check(self) -> None:
        """Raise Cancelled if the work should stop."""
        if self.is_cancelled:
            raise Cancelled()


class Task(Generic[Value]):
    """Runs `work(progress)` in a daemon thread. The work must not touch bpy."""

    def __init__(self, work: Callable[[Progress], Value]) -> None:
        self.progress = Progress()
        self._value: list[Value] = []
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, args=(work,), name="partsam-task", daemon=True)
        self._thread.start()

    def poll(self) -> bool:
        """Whether the work has ended. Never waits."""
        return not self._thread.is_alive()

    def cancel(self) -> None:
        """Ask to stop; `result` then raises Cancelled."""
        self.progress.cancel()

    def join(self, timeout: float) -> None:
        """Wait for the end, whatever it is, for at most `timeout` seconds."""
        self._thread.join(timeout)

    def wait(self, timeout: float | None = None) -> Value:
        """Wait for the end and return `result`. Raises TimeoutError."""
        self._thread.join(timeout)
        if not self.poll():
            raise TimeoutError("the task has not ended")
        return self.result()

    def result(self) -> Value:
        """What the work returned; raises what it raised. Call it when `poll` says that it has ended."""
        if self._error is not None:
            raise self._error
        if not self._value:
            raise RuntimeError("the task has not ended")
        return self._value[0]

    def _run(self, work: Callable[[Progress], Value]) -> None:
        try:
            self._value.append(work(self.progress))
        except Exception as error:
            logger.info("task ended: %s", error)
            self._error = error
