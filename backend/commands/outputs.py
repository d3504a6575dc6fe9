# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of a command's files before the work: notes, and whether its outputs can be written."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from ..errors import MeshFileError


def print_notes(notes: Iterable[str]) -> None:
    """What of a file is not read or not written, one line each, on standard error."""
    for note in notes:
        print(f"note: {note}", file=sys.stderr)


def check_outputs(outputs: Iterable[Path | None], inputs: Iterable[Path]) -> None:
    """Raises MeshFileError for places that cannot be written, and those of the command's own inputs."""
    read = [path for path in inputs if path.exists()]
    for path in outputs:
        if path is None:
            continue
        if not path.parent.is_dir():
            raise MeshFileError(f"cannot write {path}: the folder {path.parent} does not exist")
        if path.is_dir():
            raise MeshFileError(f"cannot write {path}: it is a folder")
        if not os.access(path.parent, os.W_OK):
            raise MeshFileError(f"cannot write {path}: nothing may be written to the folder {path.parent}")
        if path.exists() and any(path.samefile(other) for other in read):
            raise MeshFileError(f"{path} is an input; choose another name for the output")
