# SPDX-License-Identifier: GPL-3.0-or-later
"""Setting up and checking what runs the backend, and importing models, in the background."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import bpy

from ...backend.errors import Cancelled, PartSAMError
from ..environment import (
    REQUIREMENTS,
    BackendPython,
    EnvironmentReport,
    InstallFailed,
    InstallSettings,
    Progress,
    Task,
    TorchPlan,
    check_environment,
    find_uv,
    import_model,
    install,
)
from ..wording import say
from .choices import chosen_python, environment_folder, model_file, models_folder, preferences
from .workplace import Workplace

CLOSE_SECONDS = 5.0


class Setup:
    """One task at a time: Set Up, Check or Import.

    title: what runs; "" for nothing
    report: what the last check found; None before the first
    problem: why the last task failed; printed: the last lines of what it printed
    """

    def __init__(self, place: Workplace) -> None:
        self._place = place
        self._task: Task[EnvironmentReport] | None = None
        self._done: Callable[[], None] | None = None
        self.title = ""
        self.report: EnvironmentReport | None = None
        self.problem: str | None = None
        self.printed: tuple[str, ...] = ()

    @property
    def progress(self) -> Progress | None:
        """Of the task in progress."""
        return None if self._task is None else self._task.progress

    @property
    def is_outdated(self) -> bool:
        """Whether the environment in use was made for another version of PartSAM."""
        folder = environment_folder()
        return folder.python() is not None and not folder.is_current(REQUIREMENTS)

    def start_install(self, plan: TorchPlan) -> None:
        """Make an environment and use it. Raises PartSAMError where that cannot begin."""
        uv, packages = find_uv(sys.path), offline_packages()
        if uv is None:
            raise PartSAMError(
                "uv is missing from this installation of PartSAM; install its light or full zip"
            )
        folder, online = environment_folder(), bpy.app.online_access
        settings = InstallSettings(uv, plan, packages=packages)
        self._start(
            "Setting up",
            lambda progress: install(folder, settings, progress, online_access=online),
            done=self.use_environment,
        )

    def use_environment(self) -> None:
        """Use what was set up, also where another Python was chosen before."""
        chosen = preferences()
        if chosen.python_path:
            self._place.notices += (f"PartSAM uses what was set up now, no longer {chosen.python_path}",)
            chosen.python_path = ""

    def start_check(self) -> None:
        """Look into the chosen Python, with the chosen model. Raises PartSAMError where none is chosen."""
        python, model = _python(), str(model_file())
        device = preferences().device.lower()
        self._start(
            "Checking",
            lambda progress: check_environment(python, model=model, device=device, progress=progress),
        )

    def start_import(self, source: Path) -> None:
        """Check a weights file, keep a copy of it and choose that. Raises PartSAMError where none can run."""
        python, target = _python(), models_folder() / source.name

        def choose() -> None:
            chosen = preferences()
            chosen.model_path, chosen.model_source = str(target), "FILE"

        self._start(
            "Checking the model",
            lambda progress: import_model(python, source, target, progress),
            done=choose,
        )

    def remove(self) -> None:
        """Remove what Set Up made; the backend must have ended. Raises PartSAMError while another sets up."""
        self._refuse_second()
        folder = environment_folder()
        with folder.lock():
            folder.remove_all()
        self.report, self.problem, self.printed = None, None, ()

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def close(self) -> None:
        """End what runs, its processes included."""
        if self._task is not None:
            self._task.cancel()
            self._task.join(CLOSE_SECONDS)
            self._task = None

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
            if self._done is not None:
                self._done()
        except Cancelled:
            self.problem = "Cancelled; nothing was changed"
        except PartSAMError as error:
            self.problem = str(error)
            self.printed = error.lines if isinstance(error, InstallFailed) else ()
        except Exception as error:
            self.problem = f"Unexpected error: {error!r}. Please report it, with Copy Report"
        return False

    def text(self) -> str:
        """All that is known about the last task, for the clipboard."""
        lines = [self.problem] if self.problem else []
        if self.report is not None:
            lines += [f"Python: {self.report.interpreter}", self.report.system, *self.report.lines()]
        return "\n".join([*lines, *self.printed])

    def _start(
        self,
        title: str,
        work: Callable[[Progress], EnvironmentReport],
        *,
        done: Callable[[], None] | None = None,
    ) -> None:
        self._refuse_second()
        self._task, self.title, self._done = Task(work), title, done
        self.problem, self.printed = None, ()
        self._place.watch(self.poll)

    def _refuse_second(self) -> None:
        if self._task is not None:
            raise PartSAMError(say("{title} is still in progress", title=say(self.title)))


def offline_packages() -> Path | None:
    """The folder of wheels that the user named instead of the network. Raises PartSAMError."""
    named = preferences().wheels_folder
    if not named:
        return None
    folder = Path(bpy.path.abspath(named))
    if not any(folder.glob("*.whl")):
        raise PartSAMError(
            say("there are no wheels in {folder}; choose the folder that holds the .whl files", folder=folder)
        )
    return folder


def _python() -> BackendPython:
    python = chosen_python()
    if python is None:
        raise PartSAMError("Choose a Python or press Set Up first")
    return python
