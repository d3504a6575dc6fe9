# SPDX-License-Identifier: GPL-3.0-or-later
"""Correspondence by functional maps: between the slow waves of two surfaces rather than between their points.

M. Ovsjanikov et al., "Functional Maps", SIGGRAPH 2012, fitted to the network's field and to wave kernel
signatures, then refined by ZoomOut (S. Melzi et al., SIGGRAPH Asia 2019); the optional library pyfmaps has
all of it. Needs no like pose, but surfaces that bend into each other.
"""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial import cKDTree

from ..errors import MeshError
from ..geometry import Mesh, face_centroids
from ..geometry.mesh import FloatArray, IntArray
from ..mesh_files.optional import optional_module
from .correspondence import Correspondence, common_components, face_features, match_faces

if TYPE_CHECKING:
    from ..segmentation import EncodedShape
    from ..segmenter import Segmenter

logger = logging.getLogger(__name__)

_MOST_VERTICES = 6000
"""Of the meshes that are matched; finer ones are made coarser, for what is sought is smooth."""
_WAVES, _FITTED = 80, 30
_LEAST_VERTICES = 2 * _WAVES
_DESCRIPTORS = 50
_ROUNDS, _STEP = 10, 5
_FINEST = 1e-6
"""Share of the diagonal within which vertices are one."""


def correspond_by(
    segmenter: Segmenter, source: EncodedShape, target: EncodedShape, *, method: str = "auto"
) -> tuple[Correspondence, str]:
    """`correspond`, by "maps", by "field", or "auto": maps where pyfmaps is installed and finds one.

    Returns the correspondence and by what it was found. Raises MeshFileError where pyfmaps is missing and
    wanted, MeshError where it finds no map.
    """
    if source.mesh is None or target.mesh is None:
        raise ValueError("a correspondence is between meshes")
    first = source.mesh, face_features(segmenter, source)
    second = target.mesh, face_features(segmenter, target)
    return match_by(first, second, method=method)


def match_by(
    first: tuple[Mesh, FloatArray], second: tuple[Mesh, FloatArray], *, method: str = "auto"
) -> tuple[Correspondence, str]:
    """`correspond_by` from each mesh and its `face_features`."""
    if method == "maps" or (method == "auto" and find_spec("pyFM") is not None):
        try:
            return match_by_maps(first, second), "maps"
        except MeshError as error:
            if method == "maps":
                raise
            logger.info("%s", error)
    return match_faces(first, second), "field"


@dataclass(frozen=True)
class _Coarse:
    """A mesh of few vertices [V, 3] and triangles, the vertex nearest to each of the original's corners
    [F, 3], one of the original's faces at each vertex [V], and their features [V, C].
    """

    vertices: FloatArray
    triangles: IntArray
    of_corner: IntArray
    face_of: IntArray
    features: FloatArray


def match_by_maps(source: tuple[Mesh, FloatArray], target: tuple[Mesh, FloatArray]) -> Correspondence:
    """Faces of the source for each face of the target, from each mesh and its `face_features`.

    Raises MeshFileError where pyfmaps is not installed, MeshError for meshes that it cannot match.
    """
    optional_module("pyFM", "matching by functional maps")
    first, second = _coarse(*source), _coarse(*target)
    if min(len(first.vertices), len(second.vertices)) < _LEAST_VERTICES:
        raise MeshError(f"functional maps need {_LEAST_VERTICES} vertices; use --method field")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = _vertex_map(first, second)
    except (ArithmeticError, RuntimeError, ValueError, np.linalg.LinAlgError) as error:
        raise MeshError(f"no functional map between these meshes ({error}); use --method field") from error
    faces = first.face_of[found][second.of_corner]
    return Correspondence(faces.astype(np.int64), np.ones(faces.shape))


def _vertex_map(first: _Coarse, second: _Coarse) -> IntArray:
    """The vertex of `first` for each vertex of `second`."""
    from pyFM.functional import FunctionalMapping
    from pyFM.mesh import TriMesh

    meshes = [TriMesh(mesh.vertices, mesh.triangles) for mesh in (first, second)]
    for mesh in meshes:
        mesh.process(k=_WAVES, robust=True)
    model: Any = FunctionalMapping(*meshes)
    model.preprocess(n_descr=_DESCRIPTORS, descr_type="WKS", k_process=_WAVES, k_descr=60)
    model.add_descriptors(*common_components(first.features, second.features))
    model.fit(K=(_FITTED, _FITTED), w_descr=1.0, w_lap=0.01, w_dcomm=1.0)
    return np.asarray(model.get_p2p(model.zoomout_refine(nit=_ROUNDS, step=_STEP)))


def _coarse(mesh: Mesh, features: FloatArray) -> _Coarse:
    """At most _MOST_VERTICES vertices: those that fall into one cell of a grid become one."""
    corners = mesh.corners()
    points = corners.reshape(-1, 3)
    diagonal = float(np.linalg.norm(np.ptp(points, axis=0)))
    cell = _FINEST * diagonal
    while True:
        cells = np.rint((points - points.min(axis=0)) / cell).astype(np.int64)
        _, cluster, counts = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
        if len(counts) <= _MOST_VERTICES:
            break
        cell = max(1.3 * cell, diagonal / 400)
    cluster = cluster.reshape(-1, 3)
    vertices = np.stack([np.bincount(cluster.ravel(), axis) / counts for axis in points.T], axis=1)
    flat = (cluster[:, [0, 1, 2]] == cluster[:, [1, 2, 0]]).any(axis=1)
    triangles = cluster[~flat]
    _, once = np.unique(np.sort(triangles, axis=1), axis=0, return_index=True)
    used, triangles = np.unique(triangles[np.sort(once)], return_inverse=True)
    vertices, triangles = vertices[used], triangles.reshape(-1, 3)
    place = np.full(len(counts), -1)
    place[used] = np.arange(len(used))
    of_corner = place[cluster]
    missing = of_corner < 0
    if missing.any():
        of_corner[missing] = cKDTree(vertices).query(corners[missing])[1]
    total = np.zeros((len(vertices), features.shape[1]))
    np.add.at(total, of_corner.ravel(), np.repeat(features, 3, axis=0))
    uses = np.bincount(of_corner.ravel(), minlength=len(vertices))
    nearest_face = cKDTree(face_centroids(mesh)).query(vertices)[1]
    return _Coarse(vertices, triangles, of_corner, nearest_face, total / np.maximum(uses, 1)[:, None])
