# SPDX-License-Identifier: GPL-3.0-or-later
"""STEP files through cascadio, an optional library: OpenCASCADE tessellates the solids."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from .gltf_reading import read_gltf
from .optional import optional_module
from .scene import SourceScene


def read_step(path: Path) -> SourceScene:
    """Read the solids of a STEP file as meshes. Raises MeshFileError where cascadio is not installed."""
    cascadio = optional_module("cascadio", f"reading {path.suffix} files")
    if b"ISO-10303-21" not in path.read_bytes()[:4096]:
        raise ValueError("no ISO-10303-21 header")
    with tempfile.TemporaryDirectory() as folder:
        converted = Path(folder, "converted.glb")
        cascadio.step_to_glb(str(path), str(converted), tol_linear=0.01, tol_angular=0.5)
        if not converted.is_file():
            raise ValueError("it holds no shape")
        scene = read_gltf(converted)
    return replace(scene, notes=(*scene.notes, "the curved faces of the solids were tessellated"))
