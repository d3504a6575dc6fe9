# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of a batch, wherever they are: on a disk, or in a store that has a URI."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from ..errors import MeshFileError
from ..mesh_files.optional import optional_module


@contextmanager
def local_file(place: str) -> Iterator[Path]:
    """The file behind a path or a URI (`s3://`, `gs://`, `file://`, as pyarrow has them) as one on the disk.

    What is fetched is that one file: textures and buffers must be in it, as they are in a GLB. Raises
    MeshFileError where it cannot be fetched.
    """
    if "://" not in place:
        yield Path(place)
        return
    stores = optional_module("pyarrow.fs", f"reading {place.partition('://')[0]}:// files")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, PurePosixPath(place).name)
        try:
            store, path = stores.FileSystem.from_uri(place)
            with store.open_input_stream(path) as source, copy.open("wb") as file:
                while chunk := source.read(1 << 22):
                    file.write(chunk)
        except (OSError, ValueError) as error:
            raise MeshFileError(f"{place} cannot be fetched: {' '.join(str(error).split())[:200]}") from error
        yield copy
