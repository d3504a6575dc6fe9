# SPDX-License-Identifier: GPL-3.0-or-later
"""One program of an installation: its lines and its growing folder as progress, ended when cancelled."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import IO, cast

from ...backend.errors import Cancelled
from ..backend_process.connection import child_environment
from .faults import InstallFailed, explain_failure
from .task import Progress

POLL_SECONDS = 0.1
SIZE_SECONDS = 2.0

SUPERVISOR = Path(__file__).with_name("supervise.py")

# What would make uv put things elsewhere. The user's mirrors, proxies and certificates stay in force.
DIVERSIONS = {
    *("VIRTUAL_ENV", "CONDA_PREFIX", "UV_PYTHON", "UV_SYSTEM_PYTHON", "UV_BREAK_SYSTEM_PACKAGES"),
    *("UV_CONSTRAINT", "UV_OVERRIDE", "UV_PROJECT_ENVIRONMENT", "UV_TORCH_BACKEND", "UV_LINK_MODE"),
}


def run_step(
    command: Sequence[str],
    progress: Progress,
    *,
    environment: Mapping[str, str] | None = None,
    watched: Path | None = None,
    expected_bytes: int = 0,
    fractions: tuple[float, float] = (0.0, 1.0),
) -> list[str]:
    """Run `command` to its end; what it printed. Raises InstallFailed if it fails, Cancelled if told to.

    However this ends, the program has ended, too.

    watched, expected_bytes: a folder whose growth to so many bytes moves the progress through `fractions`
    """
    variables = {k: v for k, v in child_environment().items() if k.upper() not in DIVERSIONS}
    process = subprocess.Popen(
        [sys.executable, "-I", str(SUPERVISOR), *command],
        stdin=subprocess.PIPE,  # held open: the supervisor ends the program when we are gone
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        env={**variables, **(environment or {})},
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        start_new_session=True,  # so that its children can be ended with it
    )
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    reader = threading.Thread(target=_read_lines, args=(process, lines), daemon=True)
    reader.start()
    try:
        printed = _follow(lines, progress, watched, expected_bytes, fractions)
    except BaseException:
        _kill_tree(process)
        raise
    finally:
        process.wait()
        reader.join()
        cast(IO[str], process.stdin).close()
    if process.returncode != 0:
        raise InstallFailed(explain_failure(printed), lines=progress.lines)
    return printed


def capture(
    command: Sequence[str], *, progress: Progress | None, timeout: float
) -> subprocess.CompletedProcess[bytes]:
    """Run `command` and keep what it prints.

    Raises OSError, subprocess.TimeoutExpired, and Cancelled if told to. However this ends, the program has
    ended, too; it also ends when this process does.
    """
    theirs, ours = os.pipe()  # the supervisor ends the program when our end is closed
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", str(SUPERVISOR), *command],
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=child_environment(),
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            start_new_session=True,
        )
        try:
            return _communicate(process, progress, timeout)
        except BaseException:
            _kill_tree(process)
            process.communicate()
            raise
    finally:
        os.close(theirs)
        os.close(ours)


def _communicate(
    process: subprocess.Popen[bytes], progress: Progress | None, timeout: float
) -> subprocess.CompletedProcess[bytes]:
    deadline = time.monotonic() + timeout
    while True:
        try:
            output, errors = process.communicate(timeout=POLL_SECONDS)
            return subprocess.CompletedProcess(process.args, process.returncode, output, errors)
        except subprocess.TimeoutExpired:
            if progress is not None:
                progress.check()
            if time.monotonic() > deadline:
                raise


def folder_bytes(folder: Path) -> int:
    """Size of all files in a folder, while others may be changing it."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size  # noqa: PTH118  (three times faster)
            except OSError:
                continue  # it has just been removed
    return total


def _follow(
    lines: queue.SimpleQueue[str | None],
    progress: Progress,
    watched: Path | None,
    expected_bytes: int,
    fractions: tuple[float, float],
) -> list[str]:
    """Pass lines on until the program closes its output; returns them."""
    printed: list[str] = []
    measured = time.monotonic()
    while True:
        if progress.is_cancelled:
            raise Cancelled()
        try:
            line = lines.get(timeout=POLL_SECONDS)
        except queue.Empty:
            if watched is not None and expected_bytes and time.monotonic() - measured > SIZE_SECONDS:
                low, high = fractions
                share = min(1.0, folder_bytes(watched) / expected_bytes)
                progress.fraction = low + share * (high - low)
                measured = time.monotonic()
            continue
        if line is None:
            return printed
        printed.append(line)
        progress.lines.append(line)


def _read_lines(process: subprocess.Popen[str], lines: queue.SimpleQueue[str | None]) -> None:
    with cast(TextIOWrapper, process.stdout) as output:
        for line in output:
            lines.put(line.rstrip())
    lines.put(None)


def _kill_tree(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    if sys.platform == "win32":
        # A virtual environment's python.exe starts the real one; ending the first would leave the second.
        subprocess.run(
            ["taskkill", "/T", "/F", "/PID", str(process.pid)],
            capture_output=True,
            creationflags=subprocess.CREATE_NO_WINDOW,
        )
        return
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # it has ended meanwhile
