# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks into an environment: does the backend run in it, and on what?"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..backend_process.connection import child_environment

REQUIRED_MODULES = ("numpy", "scipy", "torch", "safetensors", "maxflow")
CHECK_SECONDS = 120.0
PROBE_SCRIPT = Path(__file__).resolve().parents[2] / "backend" / "service" / "probe.py"

HINTS = {
    "WinError 126": "a DLL is missing: install the Microsoft Visual C++ Redistributable",
    "WinError 1114": "a DLL failed to start: install the Microsoft Visual C++ Redistributable",
    "GLIBC": "this Linux is too old for the installed package",
    "Illegal instruction": "this processor is too old for the installed package",
}


@dataclass(frozen=True)
class EnvironmentReport:
    """What `check_environment` found.

    problems: sentences for the user; empty if the backend can run
    python, versions: of the interpreter and of the modules that were asked for
    device: the torch device that "auto" means; device_name, memory_free, memory_total (bytes): of it
    """

    interpreter: Path
    problems: tuple[str, ...] = ()
    python: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    device: str = ""
    device_name: str = ""
    memory_free: int | None = None
    memory_total: int | None = None

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
            facts.append(
                f"Video memory: {self.memory_free / 2**30:.1f} of {self.memory_total / 2**30:.1f} GB free"
            )
        return facts + [f"Problem: {problem}" for problem in self.problems]


def check_environment(
    interpreter: Path, *, modules: Sequence[str] = REQUIRED_MODULES, timeout: float = CHECK_SECONDS
) -> EnvironmentReport:
    """Import `modules` in a process of `interpreter` and try its device. Takes seconds: use a `Task`."""
    if not interpreter.is_file():
        return EnvironmentReport(interpreter, (f"there is no Python at {interpreter}",))
    try:
        run = subprocess.run(
            [str(interpreter), "-I", "-B", str(PROBE_SCRIPT), *modules],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            env=child_environment(),
            stdin=subprocess.DEVNULL,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except subprocess.TimeoutExpired:
        return EnvironmentReport(interpreter, (f"it did not answer within {timeout:.0f} seconds",))
    except OSError as error:
        return EnvironmentReport(interpreter, (f"it cannot be started: {error.strerror}",))
    try:
        found = json.loads(run.stdout)
    except ValueError:
        last = (run.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        return EnvironmentReport(interpreter, (_hinted(f"it stopped with code {run.returncode}: {last}"),))
    found["problems"] = tuple(map(_hinted, found["problems"]))
    return EnvironmentReport(interpreter, **found)


def _hinted(problem: str) -> str:
    hints = [hint for sign, hint in HINTS.items() if sign in problem]
    return "; ".join([problem, *hints])
