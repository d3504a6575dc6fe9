# SPDX-License-Identifier: GPL-3.0-or-later
"""Baselines that anyone can rerun: connected components, and clusters of the model's field.

Clustering sees what the encoder sees, but neither prompts nor decoder; of an untrained encoder it
says what position and colour alone give away.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, Protocol

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.cluster.vq import kmeans2
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from ..geometry import Mesh, face_centroids, sample_surface
from ..geometry.mesh import FloatArray, IntArray
from ..nearest import nearest
from .automatic import Truth
from .shapes import KnownShape

ORACLE_CLUSTERS = (2, 3, 4, 6, 8, 12, 16, 24, 32)

ClusterMethod = Literal["kmeans", "agglomerative"]
CLUSTER_METHODS: tuple[ClusterMethod, ...] = ("kmeans", "agglomerative")


class FieldPredictor(Protocol):
    """What clustering needs of a model; `backend.Segmenter` is one."""

    def encode(self, mesh: Mesh, *, seed: int = 0) -> Any: ...
    def field(self, shape: Any, locations: FloatArray) -> FloatArray:
        """Features float32 [Q, D] at locations float [Q, 3] in the network's cube."""


@dataclass(frozen=True)
class FieldSettings:
    """clusters: the fixed number of clusters; samples: points that are clustered; seed: of both draws"""

    clusters: int = 8
    samples: int = 2048
    seed: int = 0


def component_labels(mesh: Mesh) -> IntArray:
    """Connected component of each face, int32 [F]; vertices at the same position are one."""
    _, welded = np.unique(mesh.vertices, axis=0, return_inverse=True)
    corners = welded.reshape(-1)[mesh.triangles]
    start, end = corners.reshape(-1), np.roll(corners, -1, axis=1).reshape(-1)
    count = int(corners.max()) + 1
    steps = csr_array((np.ones(len(start), dtype=np.int8), (start, end)), shape=(count, count))
    of_vertex = connected_components(steps, directed=False)[1]
    return np.unique(of_vertex[corners[:, 0]], return_inverse=True)[1].reshape(-1).astype(np.int32)


@dataclass(frozen=True)
class BaselineLabels:
    """A baseline's face labels int [F], and the number of clusters that they were asked for, if any."""

    labels: IntArray
    clusters: int | None = None


def baseline_labelings(
    item: KnownShape,
    truth: Truth,
    models: Mapping[str, FieldPredictor],
    names: Collection[str],
    settings: FieldSettings,
) -> dict[str, BaselineLabels]:
    """Labelings of the baselines `names` (of `evaluation.BASELINES`) on one shape.

    models: `trained` and `untrained`, or whichever of them to cluster
    Keys: `components`, `kmeans_trained`, `kmeans_trained_oracle` (the number of clusters with the best mIoU
    on this very shape), and so on.
    """
    found = {}
    if "components" in names:
        found["components"] = BaselineLabels(component_labels(item.mesh))
    methods = [method for method in CLUSTER_METHODS if method in names]
    for state, model in models.items() if methods else ():
        shape = model.encode(item.mesh, seed=settings.seed)
        features = _field_features(model, shape, item.mesh, settings)
        for method in methods:
            cluster = field_clusters(*features, method=method, seed=settings.seed)
            best = truth.oracle(ORACLE_CLUSTERS, cluster)
            name = f"{method}_{state}"
            found[name] = BaselineLabels(cluster(settings.clusters), settings.clusters)
            found[f"{name}_oracle"] = BaselineLabels(cluster(best), best)
    return found


def field_clusters(
    samples: FloatArray, faces: FloatArray, *, method: ClusterMethod, seed: int
) -> Callable[[int], IntArray]:
    """A function from a number of clusters to face labels int32 [F].

    samples: unit features [Q, D] of surface points, which are clustered
    faces: unit features [F, D] at the faces' centroids; each joins the cluster with the nearest mean
    """
    distinct = len(np.unique(samples, axis=0))  # k-means cannot start at more places than there are
    tree = linkage(samples, method="ward") if method == "agglomerative" else None

    @cache
    def labels(clusters: int) -> IntArray:
        if tree is None:
            of_sample = _kmeans(samples, min(clusters, distinct), seed)
        else:
            of_sample = fcluster(tree, clusters, criterion="maxclust")
        _, row = np.unique(of_sample, return_inverse=True)
        sums = np.stack([np.bincount(row, weights=column) for column in samples.T], axis=1)
        means = sums / np.bincount(row)[:, None]
        return nearest(means, faces)

    return labels


def _field_features(
    model: FieldPredictor, shape: Any, mesh: Mesh, settings: FieldSettings
) -> tuple[FloatArray, FloatArray]:
    """Unit features of points on the surface and at the faces' centroids."""
    points = sample_surface(mesh, settings.samples, seed=settings.seed).points
    to_cube = shape.normalization.apply
    samples = model.field(shape, to_cube(points))
    return _unit(samples), _unit(model.field(shape, to_cube(face_centroids(mesh))))


def _kmeans(samples: FloatArray, clusters: int, seed: int) -> IntArray:
    """Cluster of each sample; starts at samples spread by k-means++ and tolerates clusters that run empty."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="One of the clusters is empty")
        return kmeans2(samples, clusters, minit="++", seed=np.random.default_rng(seed))[1]


def _unit(features: FloatArray) -> FloatArray:
    features = np.asarray(features, dtype=np.float64)
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
