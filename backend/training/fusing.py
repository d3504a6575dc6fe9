# SPDX-License-Identifier: GPL-3.0-or-later
"""Fuse an assembled shape into one shell, as generators deliver it, and carry its known parts over.

Remeshing by an offset surface: the unsigned distance to the surface is taken on a grid, what a flood
from outside cannot reach is filled, and marching cubes draws the level a fraction of a cell outside of
the surface. Gaps narrower than a cell close, interiors disappear, sheets become thin solids. Then
Taubin smoothing and quadric decimation round the creases off. Each new face takes colour and labels
of the nearest original surface.

Needs scikit-image and fast-simplification; numpy and scipy do the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_matrix, diags

from ..errors import DataError
from ..geometry import Mesh, face_areas
from ..geometry.mesh import FloatArray, IntArray
from ..labelled_meshes.shards import UNLABELLED, LabelledShape
from ..nearest import nearest_several

SOLID_KINDS = ("node", "component", "link", "body", "geom", "visual", "solid", "submodel", "group", "merged")
"""Kinds of labelings whose parts are solids of their own."""
BONE_KINDS = ("bone_fine", "bone_body")
"""Kinds whose borders run across a smooth surface; the nearest surface says well enough where."""

_BAND = 2.0
"""Cells from the surface up to which distances are exact; the level lies well inside."""
_BARRIER = 0.9
"""Cells from the surface that the flood from outside does not pass."""
_SAMPLES_PER_CELL = 16
_LIBRARIES = ("fast_simplification", "skimage")
_R2 = (0.7548776662466927, 0.5698402909980532)
"""Steps of the plane's R2 sequence (M. Roberts, 2018): the powers of the plastic number's inverse."""
_LARGEST_OFFSET = 3.0
"""Cells between a new face and the nearest original surface, beyond which the face gets no label."""


@dataclass(frozen=True)
class FuseSettings:
    """How coarse and how smooth the shell is; each shape draws its own values.

    cells: least and most grid cells along the longest side (drawn log-uniformly)
    offset: cells between the original surface and the shell
    smoothing: most rounds of Taubin smoothing
    faces: least and most faces after decimation (drawn log-uniformly)
    min_part_area: parts with a smaller share of the shell are left unlabelled
    min_parts: labelings of which fewer parts are left are given up
    kinds: labelings that are carried over; by default those whose parts are solids of their own, and bones.
        Borders that are only painted on would run zigzag through the decimated faces.
    """

    cells: tuple[int, int] = (56, 160)
    offset: float = 0.6
    smoothing: int = 12
    faces: tuple[int, int] = (3000, 10000)
    min_part_area: float = 0.001
    min_parts: int = 3
    kinds: tuple[str, ...] = SOLID_KINDS + BONE_KINDS

    def __post_init__(self) -> None:
        if min(self.cells) < 8 or min(self.faces) < 4:
            raise DataError("a fused shape needs at least 8 cells and 4 faces")
        if not 0 < self.offset < _BAND:
            raise DataError(f"offset must lie between 0 and {_BAND} cells")


def fuse_shape(
    shape: LabelledShape, settings: FuseSettings, *, seed: int | Sequence[int]
) -> LabelledShape | None:
    """`shape` as one shell with its labelings of the chosen kinds, or None where none of them is usable.

    Equal seeds give equal shells.
    """
    names = [str(name) for name in shape.info.get("names", [])]
    rows = [row for row, name in enumerate(names) if name in settings.kinds]
    if not rows:
        return None
    random = np.random.default_rng(seed)
    cells = _log_uniform(random, settings.cells)
    size = float(np.ptp(shape.mesh.vertices, axis=0).max()) / cells
    points, faces = _dense_samples(shape.mesh, size, random)
    vertices, triangles = _offset_surface(points, size, settings.offset)
    vertices = taubin_smoothing(vertices, triangles, rounds=int(random.integers(0, settings.smoothing + 1)))
    vertices, triangles = _decimated(vertices, triangles, _log_uniform(random, settings.faces))
    if len(triangles) == 0:
        return None
    centroids = vertices[triangles].mean(axis=1)
    distance, near = (column[:, 0] for column in nearest_several(points, centroids, 1))
    source = faces[near]
    colors = None if shape.mesh.face_colors is None else shape.mesh.face_colors[source]
    mesh = Mesh(vertices, triangles, colors)
    areas = face_areas(mesh)
    carried = np.where(distance > _LARGEST_OFFSET * size, UNLABELLED, shape.labelings[:, source])
    labelings = {row: _without_small(carried[row], areas, settings.min_part_area) for row in rows}
    usable = [row for row, labels in labelings.items() if _part_count(labels) >= settings.min_parts]
    if not usable:
        return None
    info = shape.info | {"names": [names[row] for row in usable], "fused": cells}
    return LabelledShape(mesh, np.stack([labelings[row] for row in usable]), info)


def need_libraries() -> None:
    """Raise DataError where those that fusing needs are missing."""
    if missing := [name for name in _LIBRARIES if find_spec(name) is None]:
        raise DataError(f"fusing needs {' and '.join(missing)}: pip install -r tests/requirements.txt")


def taubin_smoothing(
    vertices: FloatArray, triangles: IntArray, *, rounds: int, inward: float = 0.5, outward: float = -0.53
) -> FloatArray:
    """Vertices [V, 3] after `rounds` of smoothing that keeps the volume (G. Taubin, SIGGRAPH 1995)."""
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    edges = np.concatenate([edges, edges[:, ::-1]])
    count = len(vertices)
    adjacency = coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(count, count)).tocsr()
    adjacency.data[:] = 1  # an edge of two faces was counted twice
    mean = diags(1 / np.maximum(np.asarray(adjacency.sum(axis=1)).ravel(), 1)) @ adjacency
    for _ in range(rounds):
        for factor in (inward, outward):
            vertices = vertices + factor * (mean @ vertices - vertices)
    return vertices


def _log_uniform(random: np.random.Generator, bounds: tuple[int, int]) -> int:
    return round(float(np.exp(random.uniform(*np.log(bounds)))))


def _dense_samples(
    mesh: Mesh, size: float, random: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Points [P, 3] so dense that every cell the surface crosses holds some, and the face of each."""
    areas = face_areas(mesh)
    # Every face has a point at least, so that slivers and tiny parts leave their mark.
    counts = np.maximum(1, np.ceil(areas / size**2 * _SAMPLES_PER_CELL)).astype(np.int64)
    faces = np.repeat(np.arange(mesh.face_count), counts)
    # The R2 sequence, shifted for each face, leaves no holes; independent draws would, and the flood from
    # outside would come in through them.
    within = np.arange(len(faces)) - np.repeat(np.cumsum(counts) - counts, counts)
    shift = random.random((2, mesh.face_count))[:, faces]
    u, v = np.modf(shift + np.outer(_R2, within))[0][:, :, None]
    fold = u + v > 1
    u, v = np.where(fold, 1 - u, u), np.where(fold, 1 - v, v)
    first, second, third = np.moveaxis(mesh.corners()[faces], 1, 0)
    return first + u * (second - first) + v * (third - first), faces


def _offset_surface(points: FloatArray, size: float, offset: float) -> tuple[FloatArray, IntArray]:
    """Outer surface at `offset` cells around the points, as vertices and triangles."""
    from skimage.measure import marching_cubes

    margin = int(np.ceil(_BAND)) + 2
    origin = points.min(axis=0) - margin * size
    shape = np.ceil(np.ptp(points, axis=0) / size).astype(int) + 2 * margin + 1
    cell = np.rint((points - origin) / size).astype(int)
    near = np.zeros(shape, dtype=bool)
    near[tuple(cell.T)] = True
    near = ndimage.binary_dilation(near, np.ones((3, 3, 3)), iterations=int(np.ceil(_BAND)))
    centers = np.argwhere(near)
    distance = nearest_several(points, origin + centers * size, 1, within=(_BAND + 1) * size)[0][:, 0]
    field = np.full(shape, _BAND, dtype=np.float32)
    field[tuple(centers.T)] = np.minimum(distance / size, _BAND)
    # What lies beyond the level and is not connected to the border of the grid is inside. The flood keeps a
    # distance, and then takes one more step.
    pieces, _ = ndimage.label(field > max(offset, _BARRIER))
    outside = ndimage.binary_dilation(pieces == pieces[0, 0, 0], np.ones((3, 3, 3)))
    field[(field > offset) & ~outside] = 0
    vertices, triangles, _, _ = marching_cubes(field, offset, gradient_direction="descent")
    return origin + vertices.astype(np.float64) * size, triangles.astype(np.int64)


def _decimated(vertices: FloatArray, triangles: IntArray, faces: int) -> tuple[FloatArray, IntArray]:
    import fast_simplification

    if len(triangles) <= faces:
        return vertices, triangles
    points, kept = fast_simplification.simplify(
        vertices.astype(np.float32), triangles.astype(np.int32), target_count=faces
    )
    return points.astype(np.float64), kept.astype(np.int64)


def _without_small(labels: NDArray[np.uint8], areas: FloatArray, least: float) -> NDArray[np.uint8]:
    share = np.bincount(labels, weights=areas, minlength=UNLABELLED + 1) / areas.sum()
    return np.where(share[labels] < least, UNLABELLED, labels).astype(np.uint8)


def _part_count(labels: NDArray[np.uint8]) -> int:
    return len(np.unique(labels[labels != UNLABELLED]))
