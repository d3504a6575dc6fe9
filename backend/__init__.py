# SPDX-License-Identifier: GPL-3.0-or-later
"""PartSAM's backend: from a mesh to its parts. Runs with or without Blender; never imports bpy.

`Segmenter` and `Mesh` are loaded on first use, so that the numpy-only modules (`backend.geometry`,
`backend.service.protocol`) can be imported by Blender's Python, and `doctor` by one that has nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import PartSAMError

if TYPE_CHECKING:
    from .geometry import Mesh
    from .segmenter import Segmenter

__all__ = ["Mesh", "PartSAMError", "Segmenter"]

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name == "Mesh":
        from .geometry import Mesh

        return Mesh
    if name == "Segmenter":
        from .segmenter import Segmenter

        return Segmenter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
