# SPDX-License-Identifier: GPL-3.0-or-later
"""STL files, text or binary, through trimesh."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import MeshFileError
from .scene import SourceScene, Surface


def read_stl(path: Path) -> SourceScene:
    """Read an STL file, one surface per solid; MeshFileError if it is damaged or not STL."""
    data = path.read_bytes()
    try:
        loaded = _load(data)
    except (ValueError, LookupError, DeprecationWarning) as error:
        raise MeshFileError(f"{path.name} is not an STL file, or truncated") from error
    solids: dict[str, dict[str, Any]] = loaded.get("geometry", {path.stem: loaded})
    surfaces = [
        Surface(
            name=name or path.stem,
            positions=np.asarray(solid["vertices"], dtype=np.float64),
            triangles=np.asarray(solid["faces"], dtype=np.int32),
        )
        for name, solid in solids.items()
        if "faces" in solid
    ]
    return SourceScene(tuple(surfaces))


def _load(data: bytes) -> dict[str, Any]:
    """trimesh's arrays of one solid, or of several under "geometry"."""
    from trimesh.exchange.stl import HeaderError, load_stl_ascii, load_stl_binary

    try:
        return load_stl_binary(io.BytesIO(data))
    except HeaderError:
        # Binary files tell their length: this one is text, or damaged.
        text = data.decode("utf-8", "replace")
    with warnings.catch_warnings():
        # numpy reports text that is not numbers by a DeprecationWarning and a shortened array.
        warnings.simplefilter("error", DeprecationWarning)
        return load_stl_ascii(io.StringIO(text))
