# SPDX-License-Identifier: GPL-3.0-or-later
"""XYZ text files: one point per line, then its normal, its colour or both."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .scene import PointCloud, SourceScene


def read_xyz(path: Path) -> SourceScene:
    """Read the points of an XYZ file.

    Columns: x y z, x y z r g b, x y z nx ny nz or x y z nx ny nz r g b; three columns behind the position are
    normals if one of them is negative or all are of length 1, else colours in bytes or shares.
    """
    text = path.read_bytes().replace(b",", b" ").replace(b";", b" ")
    rows = np.loadtxt(io.BytesIO(text), comments=("#", "//"), ndmin=2)
    if rows.size == 0:
        return SourceScene(())
    if rows.shape[1] < 3:
        raise ValueError(f"{rows.shape[1]} columns; at least x, y and z are needed")
    positions, rest = rows[:, :3], rows[:, 3:]
    if rest.shape[1] >= 6:
        return SourceScene(
            (), cloud=PointCloud(positions, rest[:, :3].astype(np.float32), _colors(rest[:, 3:6]))
        )
    if rest.shape[1] >= 3:
        if _are_normals(rest[:, :3]):
            return SourceScene((), cloud=PointCloud(positions, rest[:, :3].astype(np.float32)))
        return SourceScene((), cloud=PointCloud(positions, colors=_colors(rest[:, :3])))
    return SourceScene((), cloud=PointCloud(positions))


def _are_normals(rows: NDArray[np.float64]) -> bool:
    return bool((rows < 0).any() or np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-2))


def _colors(rows: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.clip(rows / 255 if rows.max() > 1 else rows, 0, 1).astype(np.float32)
