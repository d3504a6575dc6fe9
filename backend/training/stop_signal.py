# SPDX-License-Identifier: GPL-3.0-or-later
"""SIGTERM in a training run: what it ends at once, what it lets finish, and for how long."""

from __future__ import annotations

import contextlib
import faulthandler
import signal
from collections.abc import Iterator
from types import FrameType, TracebackType

GRACE = 120.0
"""Seconds that a step may take once the run was asked to stop: more than a captured step takes to compile."""


class StopSignal:
    """Around the steps of a run. `came`: SIGTERM asked it to stop, and a step that is worth saving was made.

    Before this run's first step there is nothing to save, and the signal ends the process at once.
    Afterwards it lets the step at hand finish; if that takes longer than `grace` seconds, or if the signal
    comes again, the process ends without saving: whatever it waits for may never come.
    """

    def __init__(self, grace: float = GRACE) -> None:
        self.came = False
        self._grace = grace
        self._previous: signal.Handlers | object = None
        self._installed = False

    def __enter__(self) -> StopSignal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.came:
            faulthandler.cancel_dump_traceback_later()
        if self._installed:
            # None: a handler that Python did not install, which it cannot put back either.
            signal.signal(signal.SIGTERM, self._previous or signal.SIG_DFL)  # type: ignore[arg-type]

    def step_done(self) -> None:
        """After every step of the run."""
        if self.came:
            self._wait()
        elif not self._installed:
            self._previous = signal.signal(signal.SIGTERM, self._request)
            self._installed = True

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.came = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._wait()

    def _wait(self) -> None:
        # Its own thread, without Python's lock: it also ends a process that waits inside of a driver.
        faulthandler.dump_traceback_later(self._grace, exit=True)


@contextlib.contextmanager
def shielded_children() -> Iterator[None]:
    """Processes started in here never see SIGTERM; one that comes meanwhile is delivered afterwards.

    A signal to the process group of a run (as `timeout` and schedulers send it) else ends the processes that
    compile for it. Theirs end with the run: they read from its pipe.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows has neither the call nor such signals
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def start_compile_workers() -> None:
    """Start the processes in which `torch.compile` builds kernels, out of SIGTERM's reach.

    Left to itself it starts them when the first kernel is compiled. The parent never learns of their end and
    waits for their results for ever (torch 2.13: it keeps both ends of the pipe that they answer by).
    """
    # Also warms the pool on import: not before here.
    with shielded_children():
        from torch._inductor.async_compile import AsyncCompile

        AsyncCompile.warm_pool()
