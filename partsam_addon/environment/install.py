# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the backend's environment: virtual environment, pinned packages, check; then it comes into use.

Nothing is installed into Blender's Python, nothing needs administrator rights or a compiler, and nothing is
downloaded unless the caller says that the user allows it.
"""

from __future__ import annotations

import enum
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .check import REQUIRED_MODULES, EnvironmentReport, check_environment
from .folder import EnvironmentFolder, interpreter_of
from .install_errors import InstallFailed, explain_failure
from .running import run_step
from .task import Progress, Task

REQUIREMENTS = Path(__file__).resolve().parents[2] / "backend" / "requirements.txt"
TORCH_INDEX = "https://download.pytorch.org/whl"
GIGABYTE = 2**30
PIP_OPTIONS = (
    *("--no-input", "--disable-pip-version-check", "--progress-bar=off"),
    *("--no-cache-dir", "--no-compile"),  # a cache would double the disk space; compiling takes half a minute
)


class Compute(enum.Enum):
    """Which build of torch to install. Macs have one build for all, which can use their GPU."""

    AUTO = "auto"
    NVIDIA = "nvidia"
    CPU = "cpu"

    def resolved(self) -> Compute:
        """AUTO decided for this machine: NVIDIA where its driver is installed."""
        if self is not Compute.AUTO:
            return self
        has_driver = sys.platform != "darwin" and shutil.which("nvidia-smi") is not None
        return Compute.NVIDIA if has_driver else Compute.CPU


@dataclass(frozen=True)
class InstallSettings:
    """What to install, and from where.

    base_python: an interpreter that `find_pythons` calls usable
    compute: which torch
    requirements: pip requirements file
    packages: a folder of wheels to use instead of the network (an installation without internet)
    modules: what must be importable before the environment is put to use
    space: bytes of disk that the download and the environment take together; None for an estimate
    """

    base_python: Path
    compute: Compute = Compute.AUTO
    requirements: Path = REQUIREMENTS
    packages: Path | None = None
    modules: tuple[str, ...] = REQUIRED_MODULES
    space: int | None = None

    @property
    def needs_network(self) -> bool:
        return self.packages is None

    def needed_bytes(self) -> int:
        """`space`, or what torch and the rest take, roughly."""
        if self.space is not None:
            return self.space
        nvidia = self.compute.resolved() is Compute.NVIDIA
        return (12 if nvidia else 3) * GIGABYTE

    def pip_arguments(self) -> list[str]:
        """Arguments of `pip install`, for this machine."""
        arguments = ["--only-binary=:all:", "-r", str(self.requirements)]
        if self.packages is not None:
            return [*arguments, "--no-index", "--find-links", str(self.packages)]
        nvidia = self.compute.resolved() is Compute.NVIDIA
        # PyPI's own torch is the right one for Linux with an NVIDIA card and for Macs. The builds of the
        # extra index have versions such as 2.13.0+cpu, which pip prefers over the plain 2.13.0.
        if sys.platform == "win32" and nvidia:
            return [*arguments, "--extra-index-url", f"{TORCH_INDEX}/cu130"]
        if sys.platform == "linux" and not nvidia:
            return [*arguments, "--extra-index-url", f"{TORCH_INDEX}/cpu"]
        return arguments


def start_install(
    environments: EnvironmentFolder, settings: InstallSettings, *, online_access: bool
) -> Task[EnvironmentReport]:
    """Install in the background; the task's result is the report on the new environment.

    online_access: whether the user lets Blender use the network (`bpy.app.online_access`)
    The task raises InstallFailed, or Cancelled. Unless it succeeds, the environment in use stays as it was.
    """
    return Task(lambda progress: install(environments, settings, progress, online_access=online_access))


def install(
    environments: EnvironmentFolder, settings: InstallSettings, progress: Progress, *, online_access: bool
) -> EnvironmentReport:
    """As `start_install`, in this thread."""
    if settings.needs_network and not online_access:
        raise InstallFailed(
            "Installing needs the internet, and Blender's online access is off. Switch it on in Preferences "
            "> System > Network, or make the environment by hand (see the instructions) and choose it."
        )
    try:
        progress.begin("Preparing", 0.0)
        environments.root.mkdir(parents=True, exist_ok=True)
        environments.remove_unused()
        _check_space(environments.root, settings.needed_bytes())
        report = _build_and_activate(environments, settings, progress)
        environments.remove_unused()  # the one before
    except OSError as error:
        raise InstallFailed(explain_failure([str(error)]), lines=progress.lines) from error
    progress.begin("Done", 1.0)
    return report


def manual_instructions(settings: InstallSettings, folder: Path) -> str:
    """The commands that do the same by hand, one a line."""
    python = interpreter_of(folder)
    pip = _command_line([str(python), "-m", "pip", "install", *settings.pip_arguments()])
    return "\n".join([_command_line([str(settings.base_python), "-m", "venv", str(folder)]), pip])


def _build_and_activate(
    environments: EnvironmentFolder, settings: InstallSettings, progress: Progress
) -> EnvironmentReport:
    folder = environments.begin()
    try:
        report = _build(folder, settings, progress)
        environments.activate(folder, settings.requirements)
    except BaseException:
        environments.discard(folder)
        raise
    return report


def _build(folder: Path, settings: InstallSettings, progress: Progress) -> EnvironmentReport:
    progress.begin("Making a virtual environment", 0.02)
    run_step([str(settings.base_python), "-I", "-m", "venv", str(folder)], progress)
    python = interpreter_of(folder)
    progress.begin("Installing packages (this can take several minutes)", 0.05)
    scratch = folder / "tmp"
    scratch.mkdir()
    run_step(
        [str(python), "-I", "-m", "pip", "install", *PIP_OPTIONS, *settings.pip_arguments()],
        progress,
        watched=folder,
        # pip unpacks what it downloads into the temporary folder; here it is on the disk that was
        # checked for space, counts as progress, and goes with the rest.
        environment={"TMPDIR": str(scratch), "TEMP": str(scratch), "TMP": str(scratch)},
        expected_bytes=settings.needed_bytes(),
        fractions=(0.05, 0.9),
    )
    shutil.rmtree(scratch, ignore_errors=True)
    progress.begin("Checking", 0.92)
    report = check_environment(python, modules=settings.modules)
    progress.check()
    if not report.is_usable:
        raise InstallFailed(
            f"The packages were installed but do not work: {'; '.join(report.problems)}", lines=progress.lines
        )
    return report


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise InstallFailed(
            f"Not enough disk space: about {needed / GIGABYTE:.1f} GB are needed in {folder}, "
            f"and {free / GIGABYTE:.1f} GB are free."
        )


def _command_line(words: Sequence[str]) -> str:
    return subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words)
