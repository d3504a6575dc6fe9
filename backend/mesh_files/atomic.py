# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are either complete or not there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ..errors import MeshFileError


@contextmanager
def atomic_writer(path: Path) -> Iterator[IO[bytes]]:
    """Open a binary file that takes the place of `path` only when the block ends without an error.

    A failing block or a full disk leaves what was at `path` before, and no temporary file.
    Raises MeshFileError where the operating system refuses.
    """
    temporary: Path | None = None
    try:
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=f".{path.name}.", suffix=".part", delete=False
        ) as file:
            temporary = Path(file.name)
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(_default_mode())
        temporary.replace(path)
        temporary = None
    except OSError as error:
        raise MeshFileError(f"cannot write {path}: {error.strerror or error}; nothing was changed") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _default_mode() -> int:
    """Permissions of an ordinary new file (temporary files are private to their owner)."""
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
