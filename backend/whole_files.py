# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are either complete or not there."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def appearing_whole(path: Path) -> Iterator[Path]:
    """A file beside `path` to write to; it takes the place of `path` when the block ends without an error.

    A failing block or a full disk leaves what was at `path` before, and nothing else.
    """
    # Names may have 255 bytes, and this one is longer than the one it will get.
    partial = path.with_name(f".{path.name[:32]}.{os.getpid()}-{secrets.token_hex(4)}.partial")
    try:
        yield partial
        with partial.open("r+b") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
