# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads requests from a stream and answers them, one after another, on another.

A thread of its own reads, so that a cancellation takes effect while a request runs. What a request
means is the handler's business (`RequestHandlers`).
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol

from numpy.typing import NDArray

from ..errors import Cancelled, PartSAMError, ProtocolError
from . import fields
from .memory import is_device_failure, is_out_of_memory
from .protocol import DEVICE_FAILED_EXIT, ByteSink, ByteSource, Message, read_message, write_message

logger = logging.getLogger(__name__)

PROGRESS_SECONDS = 0.05
EXIT_GRACE_SECONDS = 1.0


class RequestRefused(PartSAMError):
    """A request that gets an `error` of a particular kind ("need_arrays", "missing", ...)."""

    def __init__(self, message: str, *, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class Reply:
    """What a handler returns: JSON fields and arrays of the `result` message."""

    fields: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, NDArray] = field(default_factory=dict)


@dataclass(frozen=True)
class Call:
    """A request being handled.

    progress: call with a stage and a fraction in [0, 1]
    cancelled: whether it should stop; long work asks often, and raises errors.Cancelled
    notices: sentences for the user to send with the result; handlers append
    """

    message: Message
    progress: Callable[[str, float], None]
    cancelled: Callable[[], bool]
    notices: list[str] = field(default_factory=list)


class Handler(Protocol):
    """Answers requests. Raises PartSAMError for what the user can act on; anything else is a bug."""

    def handle(self, call: Call) -> Reply: ...

    def release_memory(self) -> None:
        """Called when nothing was asked for a while."""


class Server:
    """Serves one client until its stream ends.

    idle_seconds: after so long without a request the handler gives memory back; 0 for never
    """

    def __init__(self, source: ByteSource, sink: ByteSink, handler: Handler, *, idle_seconds: float) -> None:
        self._source = source
        self._sink = sink
        self._handler = handler
        self._idle_seconds = idle_seconds
        self._requests: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._cancel_events: dict[int, threading.Event] = {}
        self._events_lock = threading.Lock()
        self._write_lock = threading.Lock()
        self._finished = threading.Event()

    def run(self) -> None:
        """Answer requests until the input ends, or `shutdown` is asked for."""
        threading.Thread(target=self._read_requests, name="requests", daemon=True).start()
        idle = False
        while True:
            try:
                timeout = self._idle_seconds if self._idle_seconds > 0 and not idle else None
                message = self._requests.get(timeout=timeout)
            except queue.Empty:
                idle = True
                self._handler.release_memory()
                continue
            if message is None:
                break
            idle = False
            self._answer(message)
        self._finished.set()

    def _read_requests(self) -> None:
        try:
            while (message := read_message(self._source)) is not None:
                if message.kind == "cancel":
                    self._cancel(message.id)
                    continue
                if message.kind == "shutdown":
                    self._finish(message.id, "result", {})
                    break
                self._accept(message)
        except ProtocolError as error:
            logger.error("unreadable input: %s", error)
            self._send(Message("error", 0, {"error": "protocol", "message": str(error)}))
        except OSError as error:
            logger.error("reading the input failed: %s", error)
        self._stop()

    def _accept(self, message: Message) -> None:
        with self._events_lock:
            taken = message.id in self._cancel_events
            if not taken:
                self._cancel_events[message.id] = threading.Event()
        if taken:
            error = f"request id {message.id} is in use; that request was not answered yet"
            self._send(Message("error", 0, {"error": "protocol", "message": error}))
        else:
            self._requests.put(message)

    def _stop(self) -> NoReturn:
        """End the process: gracefully if the running request stops soon, else without asking it."""
        logger.info("no more requests; ending")
        with self._events_lock:
            for event in self._cancel_events.values():
                event.set()
        self._requests.put(None)
        self._finished.wait(EXIT_GRACE_SECONDS)
        end_process()

    def _cancel(self, request_id: int) -> None:
        with self._events_lock:
            event = self._cancel_events.get(request_id)
        if event is not None:
            event.set()

    def _answer(self, message: Message) -> None:
        event = self._cancel_events[message.id]
        call = Call(message, self._progress_sender(message.id), event.is_set)
        started = time.monotonic()
        try:
            if event.is_set():
                raise Cancelled()
            reply = self._configure(message) if message.kind == "configure" else self._handler.handle(call)
            answer = {**reply.fields, "notices": call.notices}
            self._finish(message.id, "result", answer, reply.arrays)
            outcome = "done"
        except Exception as error:
            outcome = _error_kind(error)
            if outcome in ("bug", "device") or isinstance(error, ImportError):
                logger.exception("request %d (%s) failed", message.id, message.kind)
            self._finish(message.id, "error", {"error": outcome, "message": _for_people(error, outcome)})
            if outcome == "device":
                end_process(DEVICE_FAILED_EXIT)
        logger.info("%s: %s after %.2f s", message.kind, outcome, time.monotonic() - started)

    def _configure(self, message: Message) -> Reply:
        self._idle_seconds = fields.number(message, "idle_release_seconds", low=0.0, high=1e9)
        return Reply({})

    def _progress_sender(self, request_id: int) -> Callable[[str, float], None]:
        """A callback that sends progress, but not more often than anyone can look."""
        last_stage, last_time = "", 0.0

        def send(stage: str, fraction: float) -> None:
            nonlocal last_stage, last_time
            now = time.monotonic()
            if stage == last_stage and now - last_time < PROGRESS_SECONDS:
                return
            last_stage, last_time = stage, now
            self._send(Message("progress", request_id, {"stage": stage, "fraction": float(fraction)}))

        return send

    def _finish(
        self,
        request_id: int,
        kind: str,
        fields: Mapping[str, Any],
        arrays: Mapping[str, NDArray] | None = None,
    ) -> None:
        # Forget the request first: the client may reuse its id as soon as it has the answer.
        with self._events_lock:
            self._cancel_events.pop(request_id, None)
        self._send(Message(kind, request_id, fields, arrays or {}))

    def _send(self, message: Message) -> None:
        try:
            with self._write_lock:
                write_message(self._sink, message)
        except OSError as error:
            # Nobody reads any more. The end of the input follows and ends us.
            logger.warning("could not send a %s message: %s", message.kind, error)


def end_process(exit_code: int = 0) -> NoReturn:
    """Leave at once, without waiting for threads or for a computation; the system frees what we hold."""
    logging.shutdown()
    os._exit(exit_code)


def _error_kind(error: Exception) -> str:
    if isinstance(error, RequestRefused):
        return error.kind
    if isinstance(error, Cancelled):
        return "cancelled"
    if isinstance(error, ProtocolError):
        return "protocol"
    if is_out_of_memory(error):
        return "out_of_memory"
    if is_device_failure(error):
        return "device"
    return "user" if isinstance(error, PartSAMError | ImportError) else "bug"


def _for_people(error: Exception, kind: str) -> str:
    if kind == "out_of_memory":
        return (
            "There is not enough memory for this shape, on the graphics card or on the CPU. "
            f"Close other programs, or segment a smaller mesh. ({_first_line(error)})"
        )
    if kind == "device":
        return (
            f"The graphics device failed ({_first_line(error)}), and the backend had to end. Restart it; if "
            "this happens again, update the graphics driver or choose the CPU in the preferences."
        )
    if kind == "bug":
        return (
            f"The backend failed unexpectedly ({type(error).__name__}: {_first_line(error)}). "
            "Its log has the details; please report them."
        )
    if isinstance(error, ImportError):
        return (
            f"The backend's Python environment is incomplete ({_first_line(error)}). "
            "Set it up again in the add-on's preferences."
        )
    return str(error)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:200]
