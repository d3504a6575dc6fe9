# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding Python interpreters from which the backend's environment can be made."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..backend_process.connection import child_environment

OLDEST = (3, 11)
NEWEST = (3, 13)
"""The versions for which all of the backend's pinned requirements have wheels."""

PROBE_SECONDS = 15.0
PROBE = (
    "import json, struct, sys\n"
    "missing = []\n"
    "for name in ('venv', 'ensurepip'):\n"
    "    try:\n"
    "        __import__(name)\n"
    "    except ImportError:\n"
    "        missing.append(name)\n"
    "print(json.dumps([sys.executable, sys.version_info[:3], struct.calcsize('P') * 8, missing]))\n"
)


@dataclass(frozen=True)
class PythonCandidate:
    """An interpreter that was tried.

    version: "3.11.7", or "" if it did not start
    problem: why it cannot be used; "" if it can
    """

    path: Path
    version: str
    problem: str

    @property
    def is_usable(self) -> bool:
        return not self.problem


def find_pythons(blender_python: Path | None = None) -> list[PythonCandidate]:
    """All interpreters on this machine, Blender's own first, usable ones before others.

    blender_python: `sys.executable` inside Blender. Starts each candidate once; takes up to seconds.
    """
    found: dict[Path, PythonCandidate] = {}
    for path in _places(blender_python):
        if path.is_file() and not _is_trap(path):
            candidate = probe_python(path)
            found.setdefault(_identity(candidate.path), candidate)
    return sorted(found.values(), key=lambda candidate: not candidate.is_usable)


def probe_python(path: Path) -> PythonCandidate:
    """Start `path` and see whether an environment can be made from it."""
    command = [str(path), "-I", "-c", PROBE]
    try:
        run = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=PROBE_SECONDS,
            env=child_environment(),
            stdin=subprocess.DEVNULL,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        executable, version, bits, missing = json.loads(run.stdout)
    except subprocess.TimeoutExpired:
        return PythonCandidate(path, "", "it does not answer")
    except OSError as error:
        return PythonCandidate(path, "", f"it cannot be started: {error.strerror}")
    except ValueError:
        reason = (run.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        return PythonCandidate(path, "", f"it is not a working Python: {reason}")
    # A launcher (pyenv, the Windows store) is told from the interpreter that it starts.
    path = Path(executable) if executable else path
    text = ".".join(map(str, version))
    return PythonCandidate(path, text, _problem(tuple(version[:2]), bits, missing))


def _problem(version: tuple[int, ...], bits: int, missing: list[str]) -> str:
    if not OLDEST <= version <= NEWEST:
        wanted = f"{'.'.join(map(str, OLDEST))} to {'.'.join(map(str, NEWEST))}"
        return f"version {wanted} is needed, because the libraries have no packages for others"
    if bits != 64:
        return "it is a 32-bit Python; a 64-bit one is needed"
    if missing:
        names = " and ".join(missing)
        hint = "on Debian and Ubuntu: apt install python3-venv" if sys.platform == "linux" else "reinstall it"
        return f"it lacks the standard module {names} ({hint})"
    return ""


def _places(blender_python: Path | None) -> Iterator[Path]:
    if blender_python is not None:
        yield blender_python
    versions = [f"{OLDEST[0]}.{minor}" for minor in range(NEWEST[1], OLDEST[1] - 1, -1)]
    for name in (*(f"python{version}" for version in versions), "python3", "python"):
        found = shutil.which(name)
        if found is not None:
            yield Path(found)
    yield from _usual_places(versions)


def _usual_places(versions: Iterable[str]) -> Iterator[Path]:
    """Where installers put Python without telling PATH, or Blender was started without the user's PATH."""
    home = Path.home()
    for version in versions:
        if sys.platform == "win32":
            folder = f"Python{version.replace('.', '')}"
            for base in (os.environ.get("LOCALAPPDATA", ""), os.environ.get("PROGRAMFILES", "")):
                if base:
                    yield Path(base) / "Programs" / "Python" / folder / "python.exe"
                    yield Path(base) / folder / "python.exe"
        else:
            yield Path(f"/opt/homebrew/bin/python{version}")
            yield Path(f"/usr/local/bin/python{version}")
            framework = Path("/Library/Frameworks/Python.framework/Versions")
            yield framework / version / "bin" / f"python{version}"
            yield from sorted((home / ".pyenv" / "versions").glob(f"{version}.*/bin/python{version}"))


def _is_trap(path: Path) -> bool:
    """Stand-ins that open a shop or an installer instead of running Python."""
    if sys.platform == "win32":
        return "WindowsApps" in path.parts and path.stat().st_size == 0
    return sys.platform == "darwin" and path.parent == Path("/usr/bin")


def _identity(path: Path) -> Path:
    """Links to one interpreter count once; a virtual environment is not its base, though it links to it."""
    in_environment = (path.parent.parent / "pyvenv.cfg").is_file()
    return path.absolute() if in_environment else path.resolve()
