# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the backend's environment lives: complete ones side by side, and a pointer to the one in use."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger(__name__)

POINTER = "environment.json"
UNFINISHED = "unfinished"
STALE_SECONDS = 24 * 3600.0


@dataclass(frozen=True)
class EnvironmentFolder:
    """Environments under `root`, a folder of the user's that survives updates of the add-on.

    A virtual environment cannot be moved after it was made, so a new one is built under a name of its own
    and comes into use by one atomic write of the pointer. An unfinished one is never pointed at.
    """

    root: Path

    def python(self) -> Path | None:
        """The interpreter of the environment in use; None where there is none."""
        name = self._pointer().get("folder")
        if not isinstance(name, str) or Path(name).name != name:
            return None
        python = interpreter_of(self.root / name)
        return python if python.is_file() else None

    def is_current(self, requirements: Path) -> bool:
        """Whether the environment in use was made from just these requirements."""
        return self.python() is not None and self._pointer().get("requirements") == fingerprint(requirements)

    def begin(self) -> Path:
        """Make the folder for a new environment, marked unfinished. Raises OSError."""
        folder = self.root / f"env-{uuid.uuid4().hex[:8]}"
        folder.mkdir(parents=True)
        (folder / UNFINISHED).touch()
        return folder

    def activate(self, folder: Path, requirements: Path) -> None:
        """Bring a finished environment into use. Raises OSError, and then the old one stays in use."""
        entry = {"folder": folder.name, "requirements": fingerprint(requirements)}
        partial = self.root / f"{POINTER}.{os.getpid()}.partial"
        try:
            partial.write_text(json.dumps(entry), encoding="utf-8")
            (folder / UNFINISHED).unlink(missing_ok=True)
            partial.replace(self.root / POINTER)
        finally:
            partial.unlink(missing_ok=True)

    def discard(self, folder: Path) -> None:
        """Remove a folder that `begin` made."""
        _remove(folder)

    def remove_unused(self) -> None:
        """Remove environments that are not in use, except one that another Blender may be building."""
        in_use = self._pointer().get("folder")
        for folder in self.root.glob("env-*"):
            marker = folder / UNFINISHED
            building = marker.exists() and time.time() - marker.stat().st_mtime < STALE_SECONDS
            if folder.name != in_use and not building:
                _remove(folder)

    def remove_all(self) -> None:
        """Remove the environment in use and all others."""
        (self.root / POINTER).unlink(missing_ok=True)
        for folder in self.root.glob("env-*"):
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


def _remove(folder: Path) -> None:
    """Remove a tree; what a running process still holds (Windows) stays until the next time."""
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        logger.warning("could not remove all of %s; it may still be in use", folder)
