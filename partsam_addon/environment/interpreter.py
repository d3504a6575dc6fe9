# SPDX-License-Identifier: GPL-3.0-or-later
"""A Python that can run the backend: an environment's, the user's, or Blender's own with unpacked wheels."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

WHEEL_MODULES = ("torch", "scipy", "safetensors", "maxflow")
"""What the full zip brings as wheels. numpy is Blender's own."""


@dataclass(frozen=True)
class BackendPython:
    """path: the interpreter; packages: a folder of modules that it finds besides its own, None for none."""

    path: Path
    packages: Path | None = None


def blenders_own(modules: Sequence[str] = WHEEL_MODULES) -> BackendPython | None:
    """Blender's Python, where Blender has unpacked wheels of all `modules`; else None. Imports none."""
    folders = set()
    for name in modules:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            return None
        folders.add(Path(spec.origin).parents[1])
    if len(folders) != 1:
        return None
    return BackendPython(Path(sys.executable), folders.pop())
