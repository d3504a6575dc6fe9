# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks into a Python: does the backend run in it, and on what? It is asked to examine itself."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from ..backend_process.launching import launcher_command
from .faults import hinted
from .interpreter import BackendPython
from .running import capture
from .task import Progress

CHECK_SECONDS = 300.0
TAIL_LINES = 20


@dataclass(frozen=True)
class EnvironmentReport:
    """What `check_environment` found; the fields are those of the backend's `Examination`.

    problems: sentences for the user; empty if the backend can run
    """

    interpreter: Path
    problems: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    python: str = ""
    executable: str = ""
    system: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    device: str = ""
    device_name: str = ""
    memory_free: int | None = None
    memory_total: int | None = None
    model: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    agreement: float | None = None

    @property
    def is_usable(self) -> bool:
        return not self.problems

    def lines(self) -> list[str]:
        """For a panel: one fact a line."""
        facts = [f"Python {self.python}"] if self.python else []
        facts += [f"{name} {version}".strip() for name, version in self.versions.items()]
        if self.device:
            facts.append(f"Device: {self.device} ({self.device_name})")
        if self.memory_free is not None and self.memory_total is not None:
            free, total = self.memory_free / 2**30, self.memory_total / 2**30
            facts.append(f"Memory: {free:.1f} of {total:.1f} GB free")
        if self.seconds:
            facts.append(", ".join(f"{stage} {spent:.1f} s" for stage, spent in self.seconds.items()))
        if self.agreement is not None:
            facts.append(f"Same part on the CPU: {self.agreement:.0%} of the area")
        facts += [f"Notice: {notice}" for notice in self.notices]
        return facts + [f"Problem: {problem}" for problem in self.problems]


def check_environment(
    python: BackendPython,
    *,
    modules: Sequence[str] | None = None,
    model: str | None = "small",
    device: str = "auto",
    timeout: float = CHECK_SECONDS,
    progress: Progress | None = None,
) -> EnvironmentReport:
    """Have `python` import what the backend needs and run `model` once. Takes seconds: use a `Task`.

    Raises Cancelled where `progress` says so.

    modules: names to import instead of the usual ones; model: name or file, None to run none
    """
    if not python.path.is_file():
        return EnvironmentReport(python.path, (f"there is no Python at {python.path}",))
    words = ["doctor", "--json", f"--device={device}"]
    words += ["--no-model"] if model is None else [f"--model={model}"]
    words += ["--modules", *modules] if modules is not None else []
    try:
        command = launcher_command(python.path, python.packages, *words)
        run = capture(command, progress=progress, timeout=timeout)
    except subprocess.TimeoutExpired:
        return EnvironmentReport(python.path, (f"it did not answer within {timeout:.0f} seconds",))
    except OSError as error:
        return EnvironmentReport(python.path, (hinted(f"it cannot be started: {error.strerror}"),))
    return _read_answer(python.path, run.returncode, run.stdout, run.stderr)


def _read_answer(path: Path, code: int, output: bytes, errors: bytes) -> EnvironmentReport:
    """A Python that is broken, or is none, may print anything."""
    known = {part.name for part in fields(EnvironmentReport)} - {"interpreter"}
    try:
        found = json.loads(output.decode("utf-8", errors="replace"))
        values = {name: value for name, value in found.items() if name in known}
        values["problems"] = tuple(map(hinted, values["problems"]))
        values["notices"] = tuple(map(hinted, values["notices"]))
    except (ValueError, AttributeError, KeyError, TypeError):
        printed = errors.decode("utf-8", errors="replace").strip().splitlines()
        last = (printed or ["it printed nothing"])[-1]
        return EnvironmentReport(path, (hinted(f"it stopped with code {code}: {last}"),))
    return EnvironmentReport(path, **values)
