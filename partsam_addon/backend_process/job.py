# SPDX-License-Identifier: GPL-3.0-or-later
"""A request under way: its state, progress, and result or error."""

from __future__ import annotations

import dataclasses
import enum
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from ...backend.errors import Cancelled, PartSAMError
from .crash import CrashReport
from .requests import Request

logger = logging.getLogger(__name__)


class RequestFailed(PartSAMError):
    """The backend refused or failed a request; its message is meant for the user.

    kind: "user" (the input; the message says the remedy), "missing" (the backend no longer holds the
    shape, parts or prediction: send `encode` again), "out_of_memory", "protocol", or "bug" (the
    traceback is in the log)
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


@dataclass(eq=False)
class Job:
    """A request that was sent. Only `BackendProcess.pump` and `wait` change it.

    stage, fraction: the latest progress, e.g. "encode" and 0..1 (0.0 before the first event)
    result: set when DONE
    error: set when FAILED (RequestFailed or BackendDied) or CANCELLED (Cancelled)
    on_progress, on_done: called from `pump` with the job; an exception in them is logged, not raised
    """

    id: int
    request: Request
    on_progress: Callable[[Job], None] | None = None
    on_done: Callable[[Job], None] | None = None
    state: JobState = JobState.WAITING
    stage: str = ""
    fraction: float = 0.0
    result: Result | None = None
    error: PartSAMError | None = None
    confirmed: bool = field(default=False, init=False)
    """The backend itself has ended the request; a cancelled job may be final before that."""

    @property
    def is_final(self) -> bool:
        return self.state in FINAL_STATES

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
        cancelled = self.state is JobState.CANCELLING or isinstance(error, Cancelled)
        if cancelled:
            self._end(JobState.CANCELLED, error=Cancelled())
        else:
            self._end(JobState.FAILED, error=error)

    def _end(
        self, state: JobState, *, result: Result | None = None, error: PartSAMError | None = None
    ) -> None:
        if self.is_final:
            return
        self.state, self.result, self.error = state, result, error
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
