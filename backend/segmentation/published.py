# SPDX-License-Identifier: GPL-3.0-or-later
"""The published way from masks to face labels, without its two known faults.

There, points in no mask voted for the last label, and label 0 was taken for background.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from ..geometry import Mesh, face_areas, face_centroids
from ..geometry.mesh import FloatArray, IntArray
from ..refinement import build_face_graph
from .candidates import suppress_overlaps
from .nearest import nearest
from .partition import Partition
from .parts import Parts
from .sites import Sites

MIN_SCORE = 0.65
THRESHOLD = 0.3

_CERTAIN = 4.0
"""Logit that stands for a vote: the published procedure knows no doubt."""


def published_parts(
    sites: Sites,
    masks: NDArray[np.bool_],
    scores: FloatArray,
    mesh: Mesh | None,
    point_faces: IntArray | None,
    *,
    threshold: float = THRESHOLD,
) -> Parts:
    """Score filter, NMS over points, painting from large to small, majority vote of each face's points.

    masks: bool [K, N] over the encoded points; scores: [K]; point_faces: int [N], with `mesh`
    returns: Parts with a single partition, whose sites are all faces (or, without a mesh, the points)
    """
    good = scores > MIN_SCORE
    masks, scores = masks[good], scores[good]
    kept = suppress_overlaps(
        torch.from_numpy(masks), torch.from_numpy(scores), threshold, limit=len(masks)
    ).numpy()
    order = kept[np.argsort(-masks[kept].sum(axis=1), kind="stable")]
    masks, scores = masks[order], scores[order]
    labels: IntArray = np.full(masks.shape[1], -1, dtype=np.int64)
    for label, mask in enumerate(masks):
        labels[mask] = label
    graph = None
    if mesh is not None and point_faces is not None:
        labels = _majority(labels, point_faces, mesh.face_count, len(masks))
        areas = face_areas(mesh)
        every_face = np.arange(mesh.face_count, dtype=np.int32)
        sites = Sites(face_centroids(mesh), areas / areas.sum(), point_faces, every_face)
        graph = build_face_graph(mesh)
    labels = _fill_unlabelled(labels, sites.locations)
    used, renumbered = np.unique(labels, return_inverse=True)
    logits = np.where(labels == np.arange(len(masks))[:, None], _CERTAIN, -_CERTAIN).astype(np.float16)
    partition = Partition(renumbered.astype(np.int32), used, np.zeros(0, dtype=np.int64))
    return Parts(sites, logits, scores, [partition], 0, graph)


def _majority(labels: IntArray, point_faces: IntArray, faces: int, count: int) -> IntArray:
    """The most frequent label among each face's labelled points, -1 where there are none."""
    known = labels >= 0
    votes = np.zeros((faces, max(count, 1)), dtype=np.int32)
    np.add.at(votes, (point_faces[known], labels[known]), 1)
    return np.where(votes.any(axis=1), votes.argmax(axis=1), -1)


def _fill_unlabelled(labels: IntArray, locations: FloatArray) -> IntArray:
    """Sites without a label take that of the nearest one with a label; 0 where there is none at all."""
    known = labels >= 0
    if not known.any():
        return np.zeros_like(labels)
    filled = labels.copy()
    filled[~known] = labels[known][nearest(locations[known], locations[~known])]
    return filled
