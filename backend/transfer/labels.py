# SPDX-License-Identifier: GPL-3.0-or-later
"""Labels from a mesh to another by votes of what corresponds, refined over the target's edges."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ..errors import Cancelled, MeshError
from ..geometry import Mesh, face_areas, face_centroids, face_normals, sample_surface, validate_mesh
from ..geometry.mesh import FloatArray, IntArray
from ..refinement import build_face_graph, dissolve_islands, refine_labels
from ..refinement.energy import EnergySettings
from .correspondence import Correspondence

_SAMPLES = 60_000
_LEAST_EVIDENCE = 1e-4
_INSIDE_OUT = 0.9
"""Share of the target's distance to the source, in place and normal, below which that with all its normals
turned around says that its faces are wound the other way, as those of a copy that was mirrored and had its
scale applied.
"""

_ORIENTED_BY = 4096
"""Faces of the target that are asked for that."""

_SMOOTHNESS = EnergySettings(smoothness=0.1)
"""Votes of a few near faces jump where a network's evidence is soft: twice as smooth as usual."""


@dataclass(frozen=True)
class TransferSettings:
    """neighbors: points of the source that vote for each face of the target
    normal_weight: share of the diagonal by which opposite normals are apart: the two sides of a sheet differ
    strength: of the graph cut over the target's edges; 0 leaves the votes
    """

    neighbors: int = 6
    normal_weight: float = 0.05
    strength: float = 1.0
    seed: int = 0


def transfer_labels(
    source: Mesh,
    labels: IntArray,
    target: Mesh,
    *,
    correspondence: Correspondence | None = None,
    settings: TransferSettings | None = None,
    progress: Callable[[str, float], None] | None = None,
    cancel: Callable[[], bool] | None = None,
) -> NDArray[np.int32]:
    """Part of each face of `target`, int32 [G], in the numbers of `labels`.

    labels: int [F] of the source's faces, from 0
    correspondence: from `correspond`, for another shape; None takes the nearest surface, for the same shape
        after retopology, decimation or a remesh, in the same place
    progress: told of each stage and how far it is; cancel: asked between stages and moves of the graph cut

    Raises MeshError for meshes that cannot be used and labels that do not fit, Cancelled.
    """
    settings = settings or TransferSettings()

    def stage(name: str) -> None:
        if cancel is not None and cancel():
            raise Cancelled()
        if progress is not None:
            progress(name, 0.0)

    stage("transfer")
    labels = np.asarray(labels)
    for mesh in (source, target):
        validate_mesh(mesh)
    if labels.shape != (source.face_count,) or labels.min() < 0:
        raise MeshError(f"labels {labels.shape} for {source.face_count} faces; one from 0 is needed for each")
    names, compact = np.unique(labels, return_inverse=True)
    if correspondence is None:
        of_target, weights = _nearest_surface(source, target, settings)
    else:
        of_target, weights = correspondence.faces, correspondence.weights
    votes = compact.reshape(-1)[of_target]
    # 32 bits: for a million faces and a hundred parts this is the largest array of all.
    evidence = np.full((target.face_count, len(names)), _LEAST_EVIDENCE, dtype=np.float32)
    for column, weight in zip(votes.T, weights.T, strict=True):
        evidence[np.arange(target.face_count), column] += weight
    evidence /= evidence.sum(axis=1, keepdims=True)
    found = evidence.argmax(axis=1).astype(np.int32)
    if settings.strength > 0 and len(names) > 1:
        stage("refine")
        graph = build_face_graph(target)
        found = dissolve_islands(graph, found)
        found = refine_labels(
            graph, evidence, found, strength=settings.strength, settings=_SMOOTHNESS, cancel=cancel
        )
    return names[found].astype(np.int32)


def _nearest_surface(source: Mesh, target: Mesh, settings: TransferSettings) -> tuple[IntArray, FloatArray]:
    """Faces of the source near each face of the target [G, k], by place and normal, and their weights."""
    sample = sample_surface(source, _SAMPLES, seed=settings.seed)
    # Small faces must be there, too, however few points fall on them.
    points = np.concatenate([sample.points, face_centroids(source)])
    normals = np.concatenate([sample.normals, face_normals(source)])
    faces = np.concatenate([sample.faces, np.arange(source.face_count)])
    diagonal = float(np.linalg.norm(np.ptp(points, axis=0)))
    scale = settings.normal_weight * diagonal / 2
    tree = cKDTree(np.column_stack([points, normals * scale]))
    queries = np.column_stack([face_centroids(target), face_normals(target) * scale])
    turned = queries * [1, 1, 1, -1, -1, -1]
    some = np.unique(np.linspace(0, target.face_count - 1, _ORIENTED_BY).astype(np.int64))
    areas = face_areas(target)[some]
    as_wound, inside_out = (tree.query(rows[some], workers=-1)[0] @ areas for rows in (queries, turned))
    if inside_out < _INSIDE_OUT * as_wound:
        queries = turned
    count = min(settings.neighbors, len(points))
    distance, near = tree.query(queries, k=count, workers=-1)
    distance, near = distance.reshape(-1, count), near.reshape(-1, count)
    spacing = max(float(np.median(distance)), 1e-12 * diagonal)
    nearest = distance[:, :1]
    return faces[near], np.exp(-(((distance - nearest) / spacing) ** 2))
