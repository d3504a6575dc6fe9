# SPDX-License-Identifier: GPL-3.0-or-later
"""Setting up and checking the backend's environment, in the background."""

from __future__ import annotations

import sys
from pathlib import Path

import bpy

from ...backend.errors import Cancelled, PartSAMError
from ..environment import (
    Compute,
    EnvironmentFolder,
    EnvironmentReport,
    InstallSettings,
    Progress,
    Task,
    check_environment,
    find_pythons,
    install,
)
from .choices import chosen_python, environment_folder
from .workplace import Workplace


class Setup:
    """One task at a time: Set Up or Check.

    title: what runs; "" for nothing
    report: what the last check found; None before the first
    problem: why the last task failed
    """

    def __init__(self, place: Workplace) -> None:
        self._place = place
        self._task: Task[EnvironmentReport] | None = None
        self.title = ""
        self.report: EnvironmentReport | None = None
        self.problem: str | None = None

    @property
    def progress(self) -> Progress | None:
        """Of the task in progress."""
        return None if self._task is None else self._task.progress

    def start_install(self, compute: Compute) -> None:
        """Make an environment and use it. Raises PartSAMError where another task runs."""
        folder, online, blender = environment_folder(), bpy.app.online_access, Path(sys.executable)
        self._start(
            "Setting up",
            Task(lambda progress: _install(folder, blender, compute, progress, online_access=online)),
        )

    def start_check(self) -> None:
        """Look into the chosen environment. Raises PartSAMError where none is chosen."""
        python = chosen_python()
        if python is None:
            raise PartSAMError("Choose a Python or press Set Up first")
        self._start("Checking", Task(lambda _progress: check_environment(python)))

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def poll(self) -> bool:
        """Take the result of a finished task; False when none is in progress."""
        if self._task is None:
            return False
        self._place.redraw()
        if not self._task.poll():
            return True
        task, self._task, self.title = self._task, None, ""
        try:
            self.report = task.result()
        except Cancelled:
            self.problem = "Cancelled; nothing was changed"
        except PartSAMError as error:
            self.problem = str(error)
        return False

    def _start(self, title: str, task: Task[EnvironmentReport]) -> None:
        if self._task is not None:
            task.cancel()
            raise PartSAMError(f"{self.title} is still in progress")
        self._task, self.title, self.problem = task, title, None
        self._place.watch(self.poll)


def _install(
    folder: EnvironmentFolder, blender: Path, compute: Compute, progress: Progress, *, online_access: bool
) -> EnvironmentReport:
    progress.begin("Looking for Python", 0.0)
    candidates = find_pythons(blender)
    if not candidates or not candidates[0].is_usable:
        reasons = "; ".join(f"{found.path}: {found.problem}" for found in candidates[:3])
        raise PartSAMError(f"No usable Python was found ({reasons}); install Python 3.11 or newer")
    settings = InstallSettings(candidates[0].path, compute)
    return install(folder, settings, progress, online_access=online_access)
