# SPDX-License-Identifier: GPL-3.0-or-later
"""Imports the parts of the add-on that need no Blender.

The add-on reaches the backend by relative imports from their common top package, whose name inside Blender
is not fixed. Here it is `partsam_plain`, made without running the entry points, which need bpy.
"""

from __future__ import annotations

import importlib
import sys
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

for _name, _folder in (("partsam_plain", ROOT), ("partsam_plain.partsam_addon", ROOT / "partsam_addon")):
    if _name not in sys.modules:
        _package = types.ModuleType(_name)
        _package.__path__ = [str(_folder)]
        sys.modules[_name] = _package


def load(name: str) -> types.ModuleType:
    """The module `name` of the add-on, such as "backend_process"."""
    return importlib.import_module(f"partsam_plain.partsam_addon.{name}")
