# SPDX-License-Identifier: GPL-3.0-or-later
"""Work that starts anew with each value in the redo panel, once the values have settled."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from .flow import FlowRun
from .workplace import Workplace

SETTLE_SECONDS = 0.5
"""A value that is dragged changes many times a second."""


class Runner(Workplace, Protocol):
    """See `session.Session`, which is one."""

    run: FlowRun | None

    def cancel(self) -> None: ...


class Again:
    """Keeps the newest wish; what came before is dropped, and cancelled if it runs."""

    def __init__(self, place: Runner) -> None:
        self._place = place
        self._start: Callable[[], None] | None = None
        self._since = 0.0
        self._is_watching = False
        self._run: FlowRun | None = None

    @property
    def is_running(self) -> bool:
        """Whether the work in progress was started from here."""
        return self._run is not None and self._run is self._place.run

    @property
    def is_wanted(self) -> bool:
        """Whether something is to start soon."""
        return self._start is not None

    def want(self, start: Callable[[], None]) -> None:
        """Call `start`, which starts a piece of work, once nothing else was wanted for a while."""
        if self.is_running:
            self._place.cancel()
        self._start, self._since = start, time.monotonic()
        if not self._is_watching:
            self._is_watching = True
            self._place.watch(self._poll)

    def drop(self) -> None:
        """Forget what was wanted."""
        self._start = None

    def _poll(self) -> bool:
        is_early = self.is_running or time.monotonic() - self._since < SETTLE_SECONDS
        if self._start is not None and is_early:
            return True
        start, self._start, self._is_watching = self._start, None, False
        if start is not None and self._place.is_free:
            start()
            self._run = self._place.run
        return False
