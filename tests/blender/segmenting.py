# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests with the real backend process share."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
MODEL = "small" if (ROOT / "backend" / "models" / "small.safetensors").is_file() else "small-untrained"
BACKEND_PYTHON = Path(
    os.environ.get("PARTSAM_BACKEND_PYTHON")
    or ROOT / ".venv" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
)
SECONDS = 240.0

needs_backend = pytest.mark.skipif(
    not BACKEND_PYTHON.is_file(), reason="no .venv with torch beside the repository's sources"
)


def use_real_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """Choose the interpreter with torch and the model for the tests."""
    monkeypatch.setenv("PARTSAM_BACKEND_PYTHON", str(BACKEND_PYTHON))
    monkeypatch.setenv("PARTSAM_MODEL", MODEL)


def tick_until(session: object, condition: Callable[[], bool]) -> None:
    """Do what Blender's timer does, which never fires without a window."""
    limit = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < limit, "it never happened"
        session.tick()
        time.sleep(0.01)


def part_ids(obj: bpy.types.Object) -> np.ndarray:
    """The face attribute partsam_part of `obj`, int32 [P]."""
    values = np.empty(len(obj.data.polygons), dtype=np.int32)
    obj.data.attributes["partsam_part"].data.foreach_get("value", values)
    return values


def dumbbell(*, name: str = "dumbbell") -> bpy.types.Object:
    """Two spheres joined by a thin rod, one mesh of 3 shells; active and selected."""
    bpy.ops.mesh.primitive_uv_sphere_add(segments=16, ring_count=8, location=(-2, 0, 0))
    first = bpy.context.object
    bpy.ops.mesh.primitive_uv_sphere_add(segments=16, ring_count=8, location=(2, 0, 0))
    second = bpy.context.object
    bpy.ops.mesh.primitive_cylinder_add(radius=0.25, depth=3, rotation=(0, np.pi / 2, 0), vertices=12)
    for part in (first, second):
        part.select_set(True)
    bpy.ops.object.join()
    bpy.context.object.name = name
    return bpy.context.object
