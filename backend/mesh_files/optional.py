# SPDX-License-Identifier: GPL-3.0-or-later
"""Libraries that only some formats need: named, with the line that installs them, when they are missing."""

from __future__ import annotations

import importlib
from typing import Any

from ..errors import MeshFileError

PACKAGES = {
    "DracoPy": "DracoPy==2.2.0",
    "meshopt": "meshopt==0.1.1",
    "assimp_py": "assimp-py==1.1.0",
    "lib3mf": "lib3mf==2.5.0",
    "pxr": "usd-core==26.11",
    "cascadio": "cascadio==0.1.1",
    "pyFM": "pyfmaps==1.3.1",
    "pyarrow": "pyarrow==26.0.1",
    "ray": "ray[data]==2.60.0",
}
"""Module -> what pip installs, in the version that is tested."""


def optional_module(name: str, purpose: str) -> Any:
    """Import an optional module ("pyarrow.parquet" looks for pyarrow); MeshFileError with the pip line."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = PACKAGES[name.partition(".")[0]]
        raise MeshFileError(
            f'{purpose} needs a library that is not installed: python -m pip install "{package}"'
        ) from error
