# SPDX-License-Identifier: GPL-3.0-or-later
"""What to tell the user when the backend process has ended by itself."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path

from ...backend.service.protocol import DEVICE_FAILED_EXIT, ENVIRONMENT_UNUSABLE_EXIT

WINDOWS_STATUS = {
    0xC0000005: "it crashed in native code (access violation), often a faulty or outdated graphics driver",
    0xC0000017: "it ran out of memory",
    0xC0000135: "a DLL was not found; reinstall the backend's environment in the preferences",
    0xC000013A: "it was interrupted",
    0xC00000FD: "it ran out of stack",
}


@dataclass(frozen=True)
class CrashReport:
    """Why the backend ended.

    summary: one sentence with the likely cause and what to do
    exit_code: as the operating system reported it (negative: the signal); None where it is unknown
    log_tail: the last lines that the backend wrote to its log
    log_path: the whole log
    """

    summary: str
    exit_code: int | None
    log_tail: tuple[str, ...]
    log_path: Path

    def text(self) -> str:
        """The report in full, for a text block or the clipboard."""
        lines = [self.summary, f"Exit code: {self.exit_code}", f"Log: {self.log_path}", "", *self.log_tail]
        return "\n".join(lines)


def explain_exit(exit_code: int | None, *, complaint: str | None = None, last_line: str = "") -> str:
    """Two sentences: why the backend stopped, and the next step.

    complaint: what one side found wrong with the other's messages, where that was the reason
    last_line: the last that the backend wrote to its log
    """
    restart = "Your scene is unchanged; press Restart Backend to go on."
    if complaint is not None:
        return f"The PartSAM backend was stopped because of a broken message: {complaint}. {restart}"
    if exit_code == ENVIRONMENT_UNUSABLE_EXIT:
        return (
            f"The Python environment of the PartSAM backend is incomplete: {last_line}. "
            "Set it up, or choose another one, in the add-on's preferences."
        )
    return f"The PartSAM backend stopped: {_cause(exit_code)}. {restart}"


def _cause(exit_code: int | None) -> str:
    if exit_code is None:
        return "it closed its output but did not end, and was killed"
    if exit_code == 0:
        return "it ended by itself"
    if exit_code == DEVICE_FAILED_EXIT:
        return "the graphics device failed (a driver reset or an outdated driver)"
    if exit_code in WINDOWS_STATUS:
        return WINDOWS_STATUS[exit_code]
    if exit_code < 0:
        return _signal_cause(-exit_code)
    return f"it ended with exit code {exit_code}; the log says more"


def _signal_cause(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    causes = {
        "SIGKILL": "it was killed (SIGKILL), usually by the system because memory ran out: "
        "close other programs or use a smaller mesh",
        "SIGSEGV": "it crashed in native code (SIGSEGV), often a faulty or outdated graphics driver",
        "SIGBUS": "it crashed in native code (SIGBUS), sometimes because a disk is full",
        "SIGILL": "this processor lacks an instruction that the installed libraries use (SIGILL)",
        "SIGTERM": "another program ended it (SIGTERM)",
    }
    return causes.get(name, f"it was ended by {name}")
