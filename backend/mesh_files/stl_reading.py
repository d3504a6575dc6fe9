# SPDX-License-Identifier: GPL-3.0-or-later
"""STL files, text or binary, through trimesh."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import MeshFileError
from .scene import SourceScene, Surface


def read_stl(path: Path) -> SourceScene:
    """Read an STL file, one surface per solid; MeshFileError if it is damaged or not STL."""
    from trimesh.exchange.stl import HeaderError, load_stl

    try:
        with path.open("rb") as file, warnings.catch_warnings():
            # numpy reports text that is not numbers by a DeprecationWarning and a shortened array.
            warnings.simplefilter("error", DeprecationWarning)
            loaded = load_stl(file)
    except (ValueError, LookupError, HeaderError, DeprecationWarning) as error:
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
