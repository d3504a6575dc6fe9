# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps the process's standard input and output for protocol bytes alone."""

from __future__ import annotations

import os
import sys
from io import FileIO
from pathlib import Path


def claim_standard_streams() -> tuple[FileIO, FileIO]:
    """Take over standard input and output; returns (source, sink), unbuffered.

    Afterwards whatever any library prints, from Python or from native code, goes to standard error, and
    nothing but the holder of the returned streams can read the input.
    """
    source, sink = FileIO(os.dup(0), "rb"), FileIO(os.dup(1), "wb")
    if sys.platform == "win32":
        import msvcrt

        msvcrt.setmode(source.fileno(), os.O_BINARY)
        msvcrt.setmode(sink.fileno(), os.O_BINARY)
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return source, sink
