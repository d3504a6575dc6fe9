# SPDX-License-Identifier: GPL-3.0-or-later
"""Mesh files that are either complete or not there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ..errors import MeshFileError
from ..whole_files import appearing_whole


@contextmanager
def atomic_writer(path: Path) -> Iterator[IO[bytes]]:
    """Open a binary file that takes the place of `path` only when the block ends without an error.

    A failing block or a full disk leaves what was at `path` before, and no temporary file.
    Raises MeshFileError where the operating system refuses.
    """
    try:
        with appearing_whole(path) as partial, partial.open("wb") as file:
            yield file
    except OSError as error:
        raise MeshFileError(f"cannot write {path}: {error.strerror or error}; nothing was changed") from error
