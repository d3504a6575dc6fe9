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
from meshes import add_object

ROOT = Path(__file__).resolve().parent.parent.parent
LEFT_BALL, RIGHT_BALL = slice(0, 128), slice(128, 256)
"""Polygons of the dumbbell's shells."""

BACKEND_PYTHON = Path(
    os.environ.get("PARTSAM_BACKEND_PYTHON")
    or ROOT / ".venv" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
)
SECONDS = 240.0

needs_backend = pytest.mark.skipif(
    not BACKEND_PYTHON.is_file(), reason="no .venv with torch beside the repository's sources"
)


def use_real_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """Choose the interpreter with torch, and the bundled model."""
    monkeypatch.setenv("PARTSAM_BACKEND_PYTHON", str(BACKEND_PYTHON))
    monkeypatch.delenv("PARTSAM_MODEL", raising=False)


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
    """Two spheres joined by a thin rod, one mesh of 3 shells; active and selected.

    Always the same arrays, so that the backend encodes it once for all tests.
    """
    turn = np.linspace(0.0, np.pi, 9)
    ball = [(-np.cos(t), np.sin(t)) for t in turn]
    shells = [
        turned([(x - 2, r) for x, r in ball]),
        turned([(x + 2, r) for x, r in ball]),
        turned([(-1.5, 0.0), (-1.5, 0.25), (0.0, 0.25), (1.5, 0.25), (1.5, 0.0)]),
    ]
    points: list[list[float]] = []
    polygons: list[list[int]] = []
    for shell_points, shell_polygons in shells:
        polygons += [[index + len(points) for index in polygon] for polygon in shell_polygons]
        points += shell_points
    return add_object(name, points, polygons)


def turned(
    profile: list[tuple[float, float]], *, sides: int = 16
) -> tuple[list[list[float]], list[list[int]]]:
    """Points and quads of a profile (place on the X axis, radius) turned around that axis."""
    angles = np.arange(sides) * 2 * np.pi / sides
    points = [[x, r * np.cos(angle), r * np.sin(angle)] for x, r in profile for angle in angles]
    quads = [
        [ring * sides + side, ring * sides + after, (ring + 1) * sides + after, (ring + 1) * sides + side]
        for ring in range(len(profile) - 1)
        for side, after in zip(range(sides), [*range(1, sides), 0], strict=True)
    ]
    return points, quads
