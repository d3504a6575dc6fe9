# SPDX-License-Identifier: GPL-3.0-or-later
"""The backend's standard error as a rotating log file, with its last lines at hand."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections import deque
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import BinaryIO

logger = logging.getLogger(__name__)

ROTATE_BYTES = 1_000_000
ROTATIONS = 2
KEPT_LOGS = 8
TAIL_LINES = 40
LONGEST_LINE = 4096


class BackendLog:
    """One log per Blender process: two of them must not rotate the same file.

    A log that cannot be written (full disk, read-only folder) costs the log, not the backend:
    its lines are still kept for `tail`.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"backend-{os.getpid()}.log"
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._handler: RotatingFileHandler | None = None

    def open(self) -> None:
        """Start writing to the file, after what it already holds."""
        if self._handler is not None:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            _remove_old_logs(self.path.parent, keep=KEPT_LOGS)
            handler = RotatingFileHandler(
                self.path, maxBytes=ROTATE_BYTES, backupCount=ROTATIONS, encoding="utf-8", errors="replace"
            )
        except OSError as error:
            logger.warning("no backend log at %s: %s", self.path, error)
            return
        # A full disk must not print a traceback for each line into Blender's console.
        handler.handleError = lambda record: None  # type: ignore[method-assign]
        self._handler = handler

    def write_line(self, line: str) -> None:
        """Append one line; called from the thread that reads the backend's standard error."""
        line = line.rstrip()
        self._tail.append(line)
        handler = self._handler
        if handler is not None:
            handler.handle(logging.LogRecord("backend", logging.INFO, "", 0, "%s", (line,), None))

    def copy_from(self, stream: BinaryIO) -> None:
        """Write the lines of `stream` until it ends."""
        with stream:
            while line := stream.readline(LONGEST_LINE):
                self.write_line(line.decode("utf-8", errors="replace"))

    def mark(self, text: str) -> None:
        """Write a line of our own with the time."""
        self.write_line(f"{time.strftime('%Y-%m-%d %H:%M:%S')} [Blender] {text}")

    def tail(self) -> tuple[str, ...]:
        """The last lines, oldest first."""
        return tuple(self._tail)

    def close(self) -> None:
        handler, self._handler = self._handler, None
        if handler is not None:
            with contextlib.suppress(OSError):  # a full disk refuses what is still buffered
                handler.close()


def _remove_old_logs(folder: Path, *, keep: int) -> None:
    """Remove all but the newest `keep` logs; those of a running Blender on Windows refuse, and stay."""
    dated: list[tuple[float, Path]] = []
    for path in folder.glob("backend-*.log*"):
        with contextlib.suppress(FileNotFoundError):  # another Blender is doing the same
            dated.append((path.stat().st_mtime, path))
    for _, path in sorted(dated, reverse=True)[keep:]:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            logger.debug("old log %s stays: %s", path, error)
