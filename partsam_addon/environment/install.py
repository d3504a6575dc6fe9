# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the backend's environment with uv: virtual environment, locked packages, a trial; then it is used.

Nothing is installed into Blender's Python, nothing needs administrator rights or a compiler, and nothing is
downloaded unless the caller says that the user allows it.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from ...backend.whole_files import appearing_whole
from .check import EnvironmentReport, check_environment
from .faults import TRANSIENT, InstallFailed, explain_failure
from .folder import EnvironmentFolder, interpreter_of
from .graphics import TorchPlan
from .interpreter import BackendPython
from .running import run_step
from .task import Progress

REQUIREMENTS = Path(__file__).resolve().parents[2] / "backend" / "requirements.lock"
PYTHON = "3.11"
"""What the environment is made with where it can be chosen: the version that everything is tested with."""
PYTHON_RANGE = ">=3.11,<3.14"
TRIES = 3
RETRY_SECONDS = 5.0


@dataclass(frozen=True)
class InstallSettings:
    """What to install, and from where.

    uv: the uv program as Blender unpacked it
    torch: which build
    blender_python: to make the environment from where no other Python can be had
    requirements: uv requirements file, with hashes for what comes from the network
    packages: a folder of wheels to use instead (an installation without internet), as pip fetches them for
        the .txt file beside `requirements`
    modules, model: what must be importable and what must run before the environment is put to use
    base_python: an interpreter to make the environment from; None finds one
    """

    uv: Path
    torch: TorchPlan
    blender_python: Path = field(default_factory=lambda: Path(sys.executable))
    requirements: Path = REQUIREMENTS
    packages: Path | None = None
    modules: tuple[str, ...] | None = None
    model: str | None = "small"
    base_python: Path | None = None

    @property
    def needs_network(self) -> bool:
        return self.packages is None

    def pip_arguments(self) -> list[str]:
        """Arguments of `uv pip install`."""
        arguments = ["--only-binary=:all:", "-r"]
        if self.packages is not None:
            pinned = self.requirements.with_suffix(".txt")
            return [*arguments, str(pinned), "--no-index", "--find-links", str(self.packages)]
        return [
            *arguments,
            str(self.requirements),
            *([f"--torch-backend={self.torch.build}"] if self.torch.build else []),
        ]


def install(
    environments: EnvironmentFolder, settings: InstallSettings, progress: Progress, *, online_access: bool
) -> EnvironmentReport:
    """Make an environment, try it and bring it into use; the report on it. Takes minutes: use a `Task`.

    online_access: whether the user lets Blender use the network (`bpy.app.online_access`)
    Raises InstallFailed or Cancelled, and then the environment in use stays as it was.
    """
    if settings.needs_network and not online_access:
        raise InstallFailed(
            "Setting up needs the internet, and Blender's online access is off. Switch it on in Preferences "
            "> System > Network, or choose an offline folder of wheels."
        )
    try:
        with environments.lock():
            progress.begin("Preparing", 0.0)
            environments.remove_unused()
            _check_space(environments.root, settings.torch.disk)
            report = _build_and_activate(environments, settings, progress)
            environments.remove_unused()  # the one before
    except OSError as error:
        raise InstallFailed(explain_failure([str(error)]), lines=progress.lines) from error
    progress.begin("Done", 1.0)
    return report


def own_uv(source: Path, root: Path) -> Path:
    """Our copy of the uv program, which may be run: Blender unpacks it without that right. Raises OSError."""
    copy = root / "uv" / source.name
    if not copy.is_file() or copy.stat().st_size != source.stat().st_size:
        copy.parent.mkdir(parents=True, exist_ok=True)
        with appearing_whole(copy) as partial:
            shutil.copyfile(source, partial)
            partial.chmod(0o755)
    return copy


def _build_and_activate(
    environments: EnvironmentFolder, settings: InstallSettings, progress: Progress
) -> EnvironmentReport:
    folder = environments.begin()
    try:
        report = _Builder(environments.root, settings, progress).build(folder)
        progress.check()
        environments.activate(folder, settings.requirements, torch=settings.torch.build)
    except BaseException:
        environments.remove_unused()
        raise
    return report


class _Builder:
    """The steps of one installation."""

    def __init__(self, root: Path, settings: InstallSettings, progress: Progress) -> None:
        self._root = root
        self._settings = settings
        self._progress = progress
        self._uv = own_uv(settings.uv, root)

    def build(self, folder: Path) -> EnvironmentReport:
        base = self._settings.base_python or self._find_python()
        self._progress.begin("Making an environment", 0.05)
        self._run("venv", "--allow-existing", f"--python={base}", str(folder))
        python = interpreter_of(folder)
        self._progress.begin("Downloading and installing PyTorch (minutes)", 0.1)
        self._install(python)
        self._progress.begin("Trying it", 0.92)
        report = check_environment(
            BackendPython(python),
            modules=self._settings.modules,
            model=self._settings.model,
            progress=self._progress,
        )
        self._progress.lines.extend(report.lines())
        if not report.is_usable:
            raise InstallFailed(
                f"It was installed but does not work: {'; '.join(report.problems)}",
                lines=self._progress.lines,
            )
        return report

    def _find_python(self) -> str:
        """A Python that stays when Blender is removed: uv's own, else the system's; else Blender's."""
        self._progress.begin("Looking for Python", 0.02)
        if self._settings.needs_network:
            try:
                self._run("python", "install", PYTHON)
                return self._run("python", "find", "--managed-python", PYTHON)[-1]
            except InstallFailed as error:
                self._progress.lines.append(f"No Python of its own: {error}")
        try:
            return self._run("python", "find", "--system", "--no-python-downloads", PYTHON_RANGE)[-1]
        except InstallFailed:
            return str(self._settings.blender_python)

    def _install(self, python: Path) -> None:
        for attempt in range(1, TRIES + 1):
            try:
                self._run(
                    *("pip", "install", f"--python={python}", *self._settings.pip_arguments()),
                    watched=self._root,
                    expected_bytes=self._settings.torch.disk,
                    fractions=(0.1, 0.9),
                )
                return
            except InstallFailed as error:
                if attempt == TRIES or not TRANSIENT.search("\n".join(error.lines[-40:])):
                    raise
                self._progress.lines.append("A file is held by another program; trying again")
                time.sleep(RETRY_SECONDS)

    def _run(
        self,
        *words: str,
        watched: Path | None = None,
        expected_bytes: int = 0,
        fractions: tuple[float, float] = (0.0, 1.0),
    ) -> list[str]:
        return run_step(
            [str(self._uv), "--no-progress", "--color=never", *words],
            self._progress,
            environment={
                "UV_CACHE_DIR": str(self._root / "cache"),
                "UV_PYTHON_INSTALL_DIR": str(self._root / "python"),
                "UV_SYSTEM_CERTS": "true",  # of a company's proxy, for one
                "UV_HTTP_TIMEOUT": os.environ.get("UV_HTTP_TIMEOUT", "60"),
            },
            watched=watched,
            expected_bytes=expected_bytes,
            fractions=fractions,
        )


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise InstallFailed(
            f"Not enough disk space: about {needed / 1e9:.1f} GB are needed in {folder}, "
            f"and {free / 1e9:.1f} GB are free."
        )
