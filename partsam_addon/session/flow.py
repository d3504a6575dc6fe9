# SPDX-License-Identifier: GPL-3.0-or-later
"""Work that alternates between Blender and the backend, written once for both ways of running it.

A flow is a generator that yields backend jobs and receives their results. Started from the window,
a timer resumes it whenever its job has ended, so that Blender never waits. Run from a script or in
background mode, `run_now` waits for each job. Between two jobs a flow has Blender for itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from functools import partial
from typing import TYPE_CHECKING, Any

from ...backend.errors import Cancelled
from ..steps import Steps, advance

if TYPE_CHECKING:
    from ..backend_process import BackendProcess, Job

Flow = Generator["Job | Calculation | Pause", Any, Any]

_PAUSE_SECONDS = 0.01


class Calculation:
    """A calculation in a thread of its own, which a flow can wait for like for a job of the backend.

    It must not touch Blender's data.
    """

    def __init__(self, stage: str, calculate: Callable[[], Any], *, fraction: float = 0.0) -> None:
        """stage: what it is called on screen; fraction: of the stage that is done when it begins"""
        self.stage, self.fraction = stage, fraction
        self._cancelled = False
        self._calculate = calculate
        self._value: Any = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=f"partsam-{stage}", daemon=True)
        self._thread.start()

    def poll(self) -> bool:
        """Whether it has ended. Never waits."""
        return not self._thread.is_alive()

    def result(self) -> Any:
        """The value; waits for it. Raises what the calculation has raised, or Cancelled."""
        self._thread.join()
        if self._cancelled:
            raise Cancelled
        if self._error is not None:
            raise self._error
        return self._value

    def cancel(self) -> None:
        """Its value is not wanted any more; it ends soon by itself."""
        self._cancelled = True

    def _run(self) -> None:
        try:
            self._value = self._calculate()
        except Exception as error:
            self._error = error


class Pause:
    """The end of a tick of a flow that reads for long, or waits for the user: it goes on in the next one."""

    def __init__(self, stage: str, *, fraction: float = 0.0) -> None:
        self.stage, self.fraction = stage, fraction
        self._cancelled = False
        self._until = time.monotonic() + _PAUSE_SECONDS

    def poll(self) -> bool:
        """Whether the tick in which it began is over."""
        return time.monotonic() > self._until

    def result(self) -> None:
        """Nothing. Raises Cancelled."""
        if self._cancelled:
            raise Cancelled

    def cancel(self) -> None:
        """Do not go on."""
        self._cancelled = True


def in_portions(stage: str, steps: Steps) -> Flow:
    """Run `steps` beside Blender; Cancel ends them after the portion in which it comes. Their value."""
    share: float | None = 0.0
    while share is not None:
        share, value = yield Calculation(stage, partial(advance, steps), fraction=share)
    return value


def run_now(flow: Flow, backend: BackendProcess | None = None) -> Any:
    """Run `flow` to its end, waiting for each of its jobs; its return value. Errors propagate.

    backend: needed by flows that send requests
    """
    try:
        job = next(flow)
        while True:
            try:
                if isinstance(job, Calculation | Pause):
                    answer = job.result()
                else:
                    assert backend is not None
                    answer = backend.wait(job)
            except Exception as error:
                job = flow.throw(error)
            else:
                job = flow.send(answer)
    except StopIteration as stop:
        return stop.value


class FlowRun:
    """A flow in progress, moved on by a timer.

    `title` is shown to the user. `done(value)` or `failed(error)` is called once, at its end.
    `is_cancelled`: no further answer goes to the flow, and it need not wait to write anything.
    """

    def __init__(
        self,
        title: str,
        flow: Flow,
        *,
        done: Callable[[Any], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self.title = title
        self._flow = flow
        self._done = done
        self._failed = failed
        self.is_cancelled = False
        self.ended = False
        self.job: Job | Calculation | Pause | None = None

    def start(self) -> None:
        """Run up to the first job."""
        self._resume(partial(next, self._flow))

    def poll(self) -> None:
        """Go on if the current job has ended. The caller has pumped the backend before."""
        while not self.ended and self.job is not None and self.job.poll():
            try:
                answer = self.job.result()
                if self.is_cancelled:  # after the job's end, while its result waited to be written
                    raise Cancelled
            except Exception as error:
                self._resume(partial(self._flow.throw, error))
            else:
                self._resume(partial(self._flow.send, answer))

    @property
    def may_write(self) -> bool:
        """Whether the current job has ended, so that the flow goes on at the next `poll`."""
        return self.job is not None and self.job.poll()

    def cancel(self) -> None:
        """Ask the current job to stop; the flow ends with `Cancelled` once it has."""
        self.is_cancelled = True
        if self.job is not None:
            self.job.cancel()

    def abandon(self, error: Exception) -> None:
        """End at once with `error`, whatever the backend still does with the job."""
        if self.ended:
            return
        if self.job is not None and not self.job.poll():
            self.job.cancel()
        self._flow.close()
        self._end(partial(self._failed, error))

    def _resume(self, step: Callable[[], Job | Calculation | Pause]) -> None:
        try:
            self.job = step()
        except StopIteration as stop:
            self._end(partial(self._done, stop.value))
        except Exception as error:
            self._end(partial(self._failed, error))
        else:
            if self.is_cancelled:
                self.job.cancel()

    def _end(self, report: Callable[[], None]) -> None:
        self.ended = True
        self.job = None
        report()
