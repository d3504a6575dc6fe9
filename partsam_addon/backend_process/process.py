# SPDX-License-Identifier: GPL-3.0-or-later
"""The backend process: one on first use, kept warm, restarted by the user after a crash."""

from __future__ import annotations

import atexit
import enum
import itertools
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...backend.errors import Cancelled, PartSAMError
from ...backend.service.protocol import Message
from . import requests
from .connection import Closed, Connection, Event, Unsendable
from .crash import CrashReport, explain_exit
from .job import BackendDied, Job, JobState, RequestFailed, Result
from .launching import launcher_command
from .log_file import BackendLog
from .requests import Request

logger = logging.getLogger(__name__)

CANCEL_CONFIRM_SECONDS = 0.5
SHUTDOWN_GRACE_SECONDS = 2.0
CLOSED_GRACE_SECONDS = 0.5
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class BackendSettings:
    """How to start the backend.

    python: the interpreter of the backend's environment (see `partsam_addon.environment`)
    working_folder: a folder of the user's for logs and compiled Python files; made if absent
    packages: a folder of modules that `python` finds besides its own; None for none
    idle_release_seconds: give (video) memory back after so long without a request; 0 for never
    """

    python: Path
    working_folder: Path
    packages: Path | None = None
    idle_release_seconds: float = 300.0


class BackendState(enum.Enum):
    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
    CRASHED = "crashed"


class BackendProcess:
    """Sends requests to the backend subprocess and turns what it says into the states of jobs.

    Methods must be called from one thread. Nothing but `wait` and `shutdown` takes noticeable time.

    info: the fields of the reply to `hello`; None until then
    crash: the report on the last crash; None while all is well
    """

    def __init__(self, settings: BackendSettings) -> None:
        self.settings = settings
        self.info: dict[str, Any] | None = None
        self.crash: CrashReport | None = None
        self._connection: Connection | None = None
        self._jobs: dict[int, Job] = {}
        self._cancelled_at: dict[int, float] = {}
        self._ids = itertools.count(1)
        self._complaint: str | None = None
        self._log = BackendLog(settings.working_folder / "logs")

    @property
    def state(self) -> BackendState:
        if self._connection is None:
            return BackendState.STOPPED if self.crash is None else BackendState.CRASHED
        return BackendState.STARTING if self.info is None else BackendState.READY

    @property
    def is_alive(self) -> bool:
        return self._connection is not None and self._connection.process.poll() is None

    @property
    def pid(self) -> int | None:
        """Process id of the running backend (of the interpreter that was started)."""
        return None if self._connection is None else self._connection.process.pid

    @property
    def log_path(self) -> Path:
        return self._log.path

    @property
    def is_busy(self) -> bool:
        """Whether a job waits for an answer (then `pump` should be called)."""
        return bool(self._jobs)

    def log_tail(self) -> tuple[str, ...]:
        """The last lines of the log."""
        return self._log.tail()

    def start(self) -> Job:
        """Start the process if it is not running; returns the job of its `hello`.

        Raises PartSAMError if the program cannot be started. Clears an earlier crash.
        """
        if self._connection is None:
            self.crash, self.info, self._complaint = None, None, None
            self._log.open()
            self._log.mark(f"starting {self.settings.python}")
            try:
                self._connection = Connection(self._command(), log=self._log)
            except OSError as error:
                self._log.close()
                raise PartSAMError(
                    f"the backend's Python cannot be started ({self.settings.python}: {error.strerror}); "
                    "choose or install its environment in the add-on's preferences"
                ) from error
            atexit.register(self.shutdown)
        return self._submit(requests.hello())

    def restart(self) -> Job:
        """Shut down what runs and start afresh. Jobs under way fail."""
        self.shutdown()
        return self.start()

    def send(
        self,
        request: Request,
        *,
        on_progress: Callable[[Job], None] | None = None,
        on_done: Callable[[Job], None] | None = None,
    ) -> Job:
        """Queue `request`, starting the process on first use. Requests are answered one after another.

        Raises BackendDied after a crash, until `restart`.
        """
        if self.crash is not None:
            raise BackendDied(self.crash)
        if self._connection is None:
            self.start()
        return self._submit(request, on_progress=on_progress, on_done=on_done)

    def pump(self) -> int:
        """Handle all events that have come; returns their number. Calls the jobs' callbacks. Never waits."""
        count = 0
        while self._connection is not None and (event := self._connection.receive()) is not None:
            self._handle(event)
            count += 1
        self._end_unconfirmed()
        return count

    def wait(self, job: Job, timeout: float | None = None) -> Result:
        """Pump until `job` is final; returns its result or raises its error.

        timeout: seconds; TimeoutError when they have passed (the job goes on)
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while not job.poll():
            remaining = POLL_SECONDS if deadline is None else min(POLL_SECONDS, deadline - time.monotonic())
            if remaining <= 0:
                raise TimeoutError(f"no answer to {job.request.kind!r} within {timeout} s")
            if self._connection is not None:
                event = self._connection.receive(remaining)
                if event is not None:
                    self._handle(event)
            self.pump()
        return job.result()

    def shutdown(self, *, grace: float = SHUTDOWN_GRACE_SECONDS) -> None:
        """End the process: ask, then terminate, then kill; within `grace` + 4 seconds. Cancels all jobs."""
        atexit.unregister(self.shutdown)
        connection, self._connection = self._connection, None
        self.info, self.crash = None, None
        if connection is not None:
            connection.send(Message("shutdown"))
            exit_code = connection.close(grace=grace)
            self._log.mark(f"shut down, exit code {exit_code}")
        self._fail_all(Cancelled("the backend was shut down"))
        self._log.close()

    def _command(self) -> list[str]:
        return launcher_command(
            self.settings.python,
            self.settings.packages,
            "serve",
            f"--parent-pid={os.getpid()}",
            f"--idle-release={self.settings.idle_release_seconds}",
            compiled_files=self.settings.working_folder / "pycache",
        )

    def _submit(
        self,
        request: Request,
        *,
        on_progress: Callable[[Job], None] | None = None,
        on_done: Callable[[Job], None] | None = None,
    ) -> Job:
        assert self._connection is not None
        job = Job(next(self._ids), request, cancel=self._cancel, on_progress=on_progress, on_done=on_done)
        self._jobs[job.id] = job
        arrays = {} if request.arrays_on_demand else request.arrays
        self._connection.send(Message(request.kind, job.id, request.fields, arrays))
        return job

    def _cancel(self, job: Job) -> None:
        if self._connection is not None:
            self._cancelled_at[job.id] = time.monotonic()
            self._connection.send(Message("cancel", job.id))

    def _handle(self, event: Event) -> None:
        if isinstance(event, Closed):
            self._handle_closed(event)
        elif isinstance(event, Unsendable):
            self._fail(event.message.id, RequestFailed(str(event.error), kind="protocol"))
        elif event.kind == "progress":
            job = self._jobs.get(event.id)
            if job is not None and job.state is JobState.WAITING:
                job.advance(str(event.fields.get("stage", "")), float(event.fields.get("fraction", 0.0)))
        elif event.kind == "result":
            self._handle_result(event)
        elif event.kind == "error":
            self._handle_error(event)
        else:
            logger.warning("the backend sent an unknown message %r", event.kind)

    def _handle_result(self, message: Message) -> None:
        job = self._take(message.id)
        if job is None:
            return
        if job.request.kind == "hello":
            self.info = dict(message.fields)
        notices = tuple(str(notice) for notice in message.fields.get("notices", ()))
        job.finish(Result(message.fields, message.arrays, notices))

    def _handle_error(self, message: Message) -> None:
        kind = str(message.fields.get("error", "bug"))
        text = str(message.fields.get("message", "the backend gave no reason"))
        job = self._jobs.get(message.id)
        if kind == "need_arrays" and job is not None and job.state is JobState.WAITING:
            assert self._connection is not None
            self._connection.send(Message(job.request.kind, job.id, job.request.fields, job.request.arrays))
            return
        error = Cancelled(text) if kind == "cancelled" else RequestFailed(text, kind=kind)
        if message.id == 0:  # about the stream as a whole; the backend ends after it
            self._complaint = text
        else:
            self._fail(message.id, error)

    def _handle_closed(self, event: Closed) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        atexit.unregister(self.shutdown)
        # A closed output with a living process is no use either; end it before reporting.
        exit_code = connection.close(grace=CLOSED_GRACE_SECONDS)
        last_line = next(iter(self._log.tail()[-1:]), "")
        complaint = self._complaint or event.error
        summary = explain_exit(exit_code, complaint=complaint, last_line=last_line)
        self._log.mark(summary)
        self._log.close()
        self.crash = CrashReport(summary, exit_code, self._log.tail(), self._log.path)
        self.info = None
        self._fail_all(BackendDied(self.crash))

    def _take(self, job_id: int) -> Job | None:
        """The job that the backend has ended; None where it is unknown or was given up."""
        self._cancelled_at.pop(job_id, None)
        job = self._jobs.pop(job_id, None)
        if job is not None:
            job.confirmed = True
        return job

    def _fail(self, job_id: int, error: PartSAMError) -> None:
        job = self._take(job_id)
        if job is not None:
            job.fail(error)

    def _fail_all(self, error: PartSAMError) -> None:
        jobs, self._jobs = self._jobs, {}
        self._cancelled_at.clear()
        for job in jobs.values():
            job.fail(error)

    def _end_unconfirmed(self) -> None:
        """End the jobs whose cancellation the backend has not confirmed in time, so that nobody waits."""
        now = time.monotonic()
        for job_id, since in list(self._cancelled_at.items()):
            if now - since > CANCEL_CONFIRM_SECONDS:
                self._jobs[job_id].fail(Cancelled())
