# SPDX-License-Identifier: GPL-3.0-or-later
"""One running backend: the process, and the threads that serve its three pipes."""

from __future__ import annotations

import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from io import FileIO
from typing import BinaryIO, cast

from ...backend.errors import PartSAMError, ProtocolError
from ...backend.service.protocol import Message, read_message, write_message
from .log_file import BackendLog

logger = logging.getLogger(__name__)

JOIN_SECONDS = 1.0


@dataclass(frozen=True)
class Unsendable:
    """A message that could not be sent; its request fails, the connection goes on."""

    message: Message
    error: ProtocolError


@dataclass(frozen=True)
class Closed:
    """The backend's output has ended. error: what was wrong with it, None for a plain end."""

    error: str | None


Event = Message | Unsendable | Closed


class Connection:
    """Starts `command` and moves messages between its pipes and two queues.

    `send` and `receive` never block on the pipes. After the first `Closed` event nothing more comes.
    Raises OSError if the program cannot be started.
    """

    def __init__(self, command: Sequence[str], *, log: BackendLog) -> None:
        self._outbox: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._inbox: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._log = log
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env=child_environment(),
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        self._threads = [
            threading.Thread(target=target, name=f"partsam-{target.__name__}", daemon=True)
            for target in (self._write_pipe, self._read_pipe, self._read_errors)
        ]
        for thread in self._threads:
            thread.start()

    def send(self, message: Message) -> None:
        """Queue `message` for sending."""
        self._outbox.put(message)

    def receive(self, timeout: float = 0.0) -> Event | None:
        """The next event, waiting up to `timeout` seconds for it; None if there is none."""
        try:
            return self._inbox.get(timeout=timeout) if timeout > 0 else self._inbox.get_nowait()
        except queue.Empty:
            return None

    def close(self, *, grace: float) -> int | None:
        """End the process: close its input, after `grace` seconds terminate, then kill; its exit code.

        Takes at most `grace` plus about 3 seconds.
        """
        self._outbox.put(None)
        for wait, harder in ((grace, self.process.terminate), (1.0, self.process.kill), (1.0, None)):
            try:
                self.process.wait(wait)
                break
            except subprocess.TimeoutExpired:
                if harder is not None:
                    harder()
        deadline = time.monotonic() + JOIN_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return self.process.poll()

    def _write_pipe(self) -> None:
        stdin = cast(FileIO, self.process.stdin)
        _survive_broken_pipes()
        # Closing the pipe is what tells the backend to end, so it is done on every way out.
        try:
            while (message := self._outbox.get()) is not None:
                try:
                    write_message(stdin, message)
                except ProtocolError as error:
                    self._inbox.put(Unsendable(message, error))
        except OSError as error:
            logger.debug("the backend no longer reads: %s", error)
        finally:
            _close_quietly(stdin)

    def _read_pipe(self) -> None:
        stdout = cast(FileIO, self.process.stdout)
        error: str | None = None
        try:
            while (message := read_message(stdout)) is not None:
                self._inbox.put(message)
        except (PartSAMError, OSError) as problem:
            error = str(problem)
        finally:
            _close_quietly(stdout)
        self._inbox.put(Closed(error))

    def _read_errors(self) -> None:
        self._log.copy_from(cast(BinaryIO, self.process.stderr))


def child_environment() -> dict[str, str]:
    """Blender's environment without what would break another Python (PYTHONHOME kills it at start)."""
    blocked = {"PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONEXECUTABLE", "__PYVENV_LAUNCHER__"}
    environment = {name: value for name, value in os.environ.items() if name.upper() not in blocked}
    if sys.platform == "darwin":
        # Operations that Metal lacks run on the CPU instead of failing.
        environment.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
    return environment


def _survive_broken_pipes() -> None:
    """Writing to a backend that has died must be an error in this thread, not the end of the program.

    Python ignores SIGPIPE, but Blender starts its Python without signal handlers: there the signal would
    kill Blender, and the scene with it. It is blocked for the calling thread only.
    """
    if hasattr(signal, "SIGPIPE"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE})


def _close_quietly(stream: FileIO) -> None:
    try:
        stream.close()
    except OSError as error:
        logger.debug("closing a pipe: %s", error)
