# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the backend's environment lives: complete ones side by side, and a pointer to the one in use."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import shutil
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ...backend.errors import PartSAMError
from ...backend.whole_files import appearing_whole

logger = logging.getLogger(__name__)

POINTER = "environment.json"
LOCK = "install.lock"
ENVIRONMENTS = "env-*"
TOOLS = ("uv", "cache", "python")
"""Folders beside the environments: the uv program, its cache, the Python that it manages."""


@dataclass(frozen=True)
class EnvironmentFolder:
    """Environments under `root`, a folder of the user's that survives updates of the add-on and of Blender.

    A virtual environment cannot be moved after it was made, so a new one is built under a name of its own
    and comes into use by one atomic write of the pointer. What the pointer does not name is not in use,
    whatever it looks like. Only the holder of the lock makes, removes and points.
    """

    root: Path

    def python(self) -> Path | None:
        """The interpreter of the environment in use; None where there is none."""
        name = self._pointer().get("folder")
        if not isinstance(name, str) or Path(name).name != name:
            return None
        python = interpreter_of(self.root / name)
        return python if python.is_file() else None

    def torch_build(self) -> str:
        """Which build of torch the environment in use has, by uv's name; "" for the usual one."""
        return str(self._pointer().get("torch", ""))

    def is_current(self, requirements: Path) -> bool:
        """Whether the environment in use was made from just these requirements."""
        return self.python() is not None and self._pointer().get("requirements") == fingerprint(requirements)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Be the only one to change anything here. Raises PartSAMError where another Blender is, OSError.

        The system gives the lock back when a process ends, in whatever way.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / LOCK).open("a+b") as file:
            if not _try_lock(file):
                raise PartSAMError("Another Blender is setting up PartSAM; wait until it is done")
            yield

    def begin(self) -> Path:
        """Make the folder for a new environment. Raises OSError."""
        folder = self.root / f"env-{uuid.uuid4().hex[:8]}"
        folder.mkdir(parents=True)
        return folder

    def activate(self, folder: Path, requirements: Path, *, torch: str = "") -> None:
        """Bring a finished environment into use. Raises OSError, and then the old one stays in use."""
        entry = {"folder": folder.name, "requirements": fingerprint(requirements), "torch": torch}
        with appearing_whole(self.root / POINTER) as partial:
            partial.write_text(json.dumps(entry), encoding="utf-8")

    def remove_unused(self) -> None:
        """Remove all environments but the one in use: what an interrupted installation left, and old ones."""
        in_use = self._pointer().get("folder")
        for folder in self.root.glob(ENVIRONMENTS):
            if folder.name != in_use:
                _remove(folder)

    def remove_all(self) -> None:
        """Remove everything that setting up made."""
        (self.root / POINTER).unlink(missing_ok=True)
        for folder in (*self.root.glob(ENVIRONMENTS), *(self.root / name for name in TOOLS)):
            _remove(folder)

    def _pointer(self) -> dict[str, object]:
        try:
            pointer = json.loads((self.root / POINTER).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return pointer if isinstance(pointer, dict) else {}


def interpreter_of(folder: Path) -> Path:
    """The interpreter inside a virtual environment."""
    inside = ("Scripts", "python.exe") if sys.platform == "win32" else ("bin", "python")
    return folder.joinpath(*inside)


def fingerprint(requirements: Path) -> str:
    """Hash of what a requirements file asks for, comments aside."""
    lines = (line.split("#")[0].strip() for line in requirements.read_text(encoding="utf-8").splitlines())
    return hashlib.sha256("\n".join(filter(None, lines)).encode()).hexdigest()


def _try_lock(file: IO[bytes]) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _remove(folder: Path) -> None:
    """Remove a tree; what a running process still holds (Windows) stays until the next time."""
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        logger.warning("could not remove all of %s; it may still be in use", folder)
