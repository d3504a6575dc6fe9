# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of named arrays."""

from __future__ import annotations

import zipfile
import zlib
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray


def read_arrays(file: BinaryIO) -> dict[str, NDArray]:
    """All arrays of an `.npz`. Raises OSError where it cannot be read, ValueError for what is damaged or
    something else."""
    try:
        stored = np.load(file, allow_pickle=False)
        if isinstance(stored, np.ndarray):
            raise ValueError("it holds one array without a name")
        with stored:
            return {name: stored[name] for name in stored.files}
    except (EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(str(error)) from error
