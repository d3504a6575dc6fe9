# SPDX-License-Identifier: GPL-3.0-or-later
"""Small meshes with known parts on which the bundled model is held to its level."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trimesh

from backend.evaluation.shapes import known_shapes
from backend.geometry import Mesh
from tests.built_meshes import joined

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class KnownMesh:
    """labels: int [F], -1 where nobody knows the part."""

    mesh: Mesh
    labels: np.ndarray


def _moved(source: trimesh.Trimesh, x: float, y: float, z: float) -> Mesh:
    return Mesh(source.vertices + np.array([x, y, z]), source.faces)


def _joined(*bodies: Mesh) -> KnownMesh:
    return KnownMesh(joined(*bodies), np.repeat(np.arange(len(bodies)), [body.face_count for body in bodies]))


def table() -> KnownMesh:
    """A top and four legs."""
    top = _moved(trimesh.creation.box(extents=(2, 1.2, 0.12)), 0, 0, 1)
    leg = trimesh.creation.cylinder(radius=0.07, height=0.94, sections=24)
    return _joined(top, *(_moved(leg, x, y, 0.47) for x in (-0.85, 0.85) for y in (-0.45, 0.45)))


def snowman() -> KnownMesh:
    """Three balls that intersect, and a hat."""
    balls = [
        _moved(trimesh.creation.icosphere(subdivisions=2, radius=radius), 0, 0, height)
        for radius, height in ((1.0, 0.0), (0.7, 1.4), (0.45, 2.4))
    ]
    hat = trimesh.creation.cylinder(radius=0.4, height=0.5, sections=24)
    return _joined(*balls, _moved(hat, 0, 0, 2.95))


def knight() -> KnownMesh:
    """A character of eight parts."""
    bodies = trimesh.load(DATA / "knight.glb").dump()
    return _joined(*(Mesh(body.vertices, body.faces) for body in bodies))


def labelled(name: str) -> KnownMesh:
    """One of the validation meshes in tests/data, by a part of its path."""
    shapes = known_shapes([DATA / "labelled_meshes.npz.xz"])
    shape = next(shape for shape in shapes if name in shape.key)
    return KnownMesh(shape.mesh, shape.labels)
