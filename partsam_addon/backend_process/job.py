# SPDX-License-Identifier: GPL-3.0-or-later
"""A request under way: its state, progress, and result or error."""

from __future__ import annotations

import dataclasses
import enum
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from ...backend.errors import Cancelled, PartSAMError
from .crash import CrashReport
from .requests import Request

logger = logging.getLogger(__name__)


class RequestFailed(PartSAMError):
    """The backend refused or failed a request; its message is meant for the user.

    kind: "user" (the input; the message says the remedy), "missing" (the backend no longer holds the
    shape, parts or prediction: send `encode` again), "out_of_memory", "device" (it failed, and
    the backend ended), "protocol", or "bug" (the traceback is in the log)
    """

    def __init__(self, message: str, *, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


class BackendDied(PartSAMError):
    """The backend process ended while the request was waiting."""

    def __init__(self, report: CrashReport) -> None:
        super().__init__(report.summary)
        self.report = report


class JobState(enum.Enum):
    """WAITING and CANCELLING go on to one of the three others, which are final."""

    WAITING = "waiting"
    CANCELLING = "cancelling"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


FINAL_STATES = frozenset({JobState.DONE, JobState.FAILED, JobState.CANCELLED})


@dataclass(frozen=True)
class Result:
    """A successful reply.

    fields: JSON values; arrays: numpy arrays (see docs/protocol.md for each request)
    notices: sentences for the user about what was done otherwise than asked (a smaller batch, the CPU)
    """

    fields: Mapping[str, Any]
    arrays: Mapping[str, NDArray]
    notices: tuple[str, ...] = ()


class Job:
    """A request that was sent. Only `BackendProcess.pump` and `wait` move it on.

    stage, fraction: the latest progress, e.g. "encode" and 0..1 ("" and 0.0 before the first event)
    error: set when FAILED (RequestFailed or BackendDied) or CANCELLED (Cancelled)
    confirmed: whether the backend itself has ended it; a cancelled job may be final before that
    on_progress, on_done: called with the job, from `pump`; an exception in them is logged, not raised
    """

    def __init__(
        self,
        job_id: int,
        request: Request,
        *,
        cancel: Callable[[Job], None],
        on_progress: Callable[[Job], None] | None = None,
        on_done: Callable[[Job], None] | None = None,
    ) -> None:
        self.id = job_id
        self.request = request
        self.on_progress = on_progress
        self.on_done = on_done
        self.state = JobState.WAITING
        self.stage = ""
        self.fraction = 0.0
        self.error: PartSAMError | None = None
        self.confirmed = False
        self._cancel = cancel
        self._result: Result | None = None

    def poll(self) -> bool:
        """Whether the job has ended, in whatever way. Never waits."""
        return self.state in FINAL_STATES

    def result(self) -> Result:
        """The reply; raises `error` where there is none. Call it when `poll` says that the job has ended."""
        if self.error is not None:
            raise self.error
        if self._result is None:
            raise RuntimeError(f"the {self.request.kind} job has not ended")
        return self._result

    def cancel(self) -> None:
        """Ask to stop: CANCELLED when the backend confirms, at the latest half a second later.

        What the backend still returns for it is dropped. No effect on a job that has ended.
        """
        if self.state is JobState.WAITING:
            self.state = JobState.CANCELLING
            self._cancel(self)

    def advance(self, stage: str, fraction: float) -> None:
        """Record a progress event."""
        self.stage, self.fraction = stage, fraction
        self._notify(self.on_progress)

    def finish(self, result: Result) -> None:
        """End as DONE; a job that is being cancelled ends as CANCELLED, whatever the backend returned."""
        if self.state is JobState.CANCELLING:
            self._end(JobState.CANCELLED, error=Cancelled())
        else:
            self._end(JobState.DONE, result=result)

    def fail(self, error: PartSAMError) -> None:
        """End as FAILED, or as CANCELLED where that was asked for."""
        if self.state is JobState.CANCELLING or isinstance(error, Cancelled):
            self._end(JobState.CANCELLED, error=Cancelled())
        else:
            self._end(JobState.FAILED, error=error)

    def _end(
        self, state: JobState, *, result: Result | None = None, error: PartSAMError | None = None
    ) -> None:
        if self.poll():
            return
        self.state, self._result, self.error = state, result, error
        # A finished job that is kept for its result must not keep a large mesh alive.
        self.request = dataclasses.replace(self.request, arrays={})
        self._notify(self.on_done)

    def _notify(self, callback: Callable[[Job], None] | None) -> None:
        if callback is None:
            return
        try:
            callback(self)
        except Exception:
            logger.exception("callback of a %s job failed", self.request.kind)
