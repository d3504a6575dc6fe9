# SPDX-License-Identifier: GPL-3.0-or-later
"""A point cloud with its parts as a PLY file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..geometry.mesh import FloatArray, IntArray
from ..mesh_files import PointCloud, part_color
from ..mesh_files.atomic import atomic_writer

_CHUNK = 1 << 20
_GREY = 0.5


def write_cloud(path: Path, cloud: PointCloud, labels: IntArray, *, part_colors: bool | None = None) -> None:
    """Write a binary PLY file with positions, normals where they are known, colours and `part`.

    labels: int [N]; -1, no part, is grey where parts are coloured
    part_colors: True shows parts instead of the cloud's colours; None does so where it has none

    Raises MeshFileError if the file cannot be written.
    """
    if part_colors is None:
        part_colors = cloud.colors is None
    position = "f4" if _fits_float32(cloud.positions) else "f8"
    fields = [(axis, f"<{position}") for axis in "xyz"]
    fields += [(axis, "<f4") for axis in ("nx", "ny", "nz")] if cloud.normals is not None else []
    fields += [(channel, "u1") for channel in ("red", "green", "blue")] + [("part", "<i4")]
    palette = np.array([part_color(label) for label in range(int(labels.max(initial=0)) + 1)] + [[_GREY] * 3])
    with atomic_writer(path) as file:
        file.write(_header(fields, len(labels)))
        for start in range(0, len(labels), _CHUNK):
            rows = slice(start, start + _CHUNK)
            table = np.zeros(len(labels[rows]), dtype=fields)
            for column, axis in enumerate("xyz"):
                table[axis] = cloud.positions[rows, column]
            for column, axis in enumerate(("nx", "ny", "nz") if cloud.normals is not None else ()):
                table[axis] = cloud.normals[rows, column]  # type: ignore[index]
            colors = palette[labels[rows]] if part_colors or cloud.colors is None else cloud.colors[rows]
            for column, channel in enumerate(("red", "green", "blue")):
                table[channel] = np.round(colors[:, column] * 255)
            table["part"] = labels[rows]
            file.write(table.tobytes())


def _fits_float32(positions: FloatArray) -> bool:
    """Whether 32 bits hold a cloud to a millionth of its size."""
    finite = positions[np.isfinite(positions).all(axis=1)]
    if not len(finite):
        return True
    return bool(np.abs(finite).max() * 2.0**-24 <= 1e-6 * np.ptp(finite, axis=0).max())


def _header(fields: list[tuple[str, str]], count: int) -> bytes:
    names = {"<f4": "float", "<f8": "double", "u1": "uchar", "<i4": "int"}
    lines = [
        "ply",
        "format binary_little_endian 1.0",
        "comment PartSAM for Blender",
        f"element vertex {count}",
    ]
    lines += [f"property {names[kind]} {name}" for name, kind in fields]
    return "\n".join([*lines, "end_header", ""]).encode()
