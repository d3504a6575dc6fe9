# SPDX-License-Identifier: GPL-3.0-or-later
"""The published way from masks to face labels, without its two known faults.

There, points in no mask voted for the last label, and label 0 was taken for background.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ..geometry import Mesh, face_areas, face_centroids
from ..geometry.mesh import FloatArray, IntArray
from ..nearest import nearest
from ..refinement.face_graph import FaceGraph
from .candidates import suppress_overlaps
from .partition import Partition
from .parts import Parts
from .sites import Sites

MIN_SCORE = 0.65
THRESHOLD = 0.3

_CERTAIN = 4.0
"""Logit that stands for a vote: the published procedure knows no doubt."""


def published_parts(
    sites: Sites,
    masks: Tensor,
    scores: Tensor,
    mesh: Mesh | None,
    point_faces: IntArray | None,
    face_graph: Callable[[], FaceGraph | None],
    *,
    threshold: float = THRESHOLD,
) -> Parts:
    """Score filter, NMS over points, painting from large to small, majority vote of each face's points.

    masks: bool [K, N] over the encoded points; scores: float32 [K]; point_faces: int [N], with `mesh`
    face_graph: how to get the mesh's, None for a point cloud
    returns: Parts with a single partition, whose sites are all faces (or, without a mesh, the points)
    """
    good = (scores > MIN_SCORE).nonzero()[:, 0]
    kept = good[suppress_overlaps(masks[good], scores[good], threshold, limit=len(good))]
    kept = kept[masks[kept].sum(dim=1).sort(descending=True, stable=True).indices]
    values = scores[kept].cpu().numpy()
    labels = _painted(masks, kept).cpu().numpy()
    if mesh is not None and point_faces is not None:
        labels = _majority(labels, point_faces, mesh.face_count)
        areas = face_areas(mesh)
        every_face = np.arange(mesh.face_count, dtype=np.int32)
        sites = Sites(face_centroids(mesh), areas / areas.sum(), point_faces, every_face)
    labels = _fill_unlabelled(labels, sites.locations)
    used, renumbered = np.unique(labels, return_inverse=True)
    logits = np.full((len(values), len(labels)), -_CERTAIN, dtype=np.float16)
    if len(values):
        logits[labels, np.arange(len(labels))] = _CERTAIN
    partition = Partition(renumbered.astype(np.int32), used, np.zeros(0, dtype=np.int64))
    return Parts(sites, logits, values, [partition], 0, face_graph())


def _painted(masks: Tensor, kept: Tensor) -> Tensor:
    """The position of the last of the kept masks, int64 [k], over each point of masks bool [K, N]: int64 [N],
    -1 where there is none."""
    labels = torch.full(masks.shape[1:], -1, dtype=torch.long, device=masks.device)
    for label, mask in enumerate(kept.tolist()):
        labels.masked_fill_(masks[mask], label)
    return labels


def _majority(labels: IntArray, point_faces: IntArray, faces: int) -> IntArray:
    """The most frequent label among each face's labelled points, the lowest of several; -1 without any."""
    known = labels >= 0
    count = int(labels.max(initial=0)) + 1
    pairs, votes = np.unique(point_faces[known].astype(np.int64) * count + labels[known], return_counts=True)
    best = np.lexsort([-(pairs % count), votes])  # of each face the last one counts
    found = np.full(faces, -1, dtype=np.int64)
    found[pairs[best] // count] = pairs[best] % count
    return found


def _fill_unlabelled(labels: IntArray, locations: FloatArray) -> IntArray:
    """Sites without a label take that of the nearest one with a label; 0 where there is none at all."""
    known = labels >= 0
    if not known.any():
        return np.zeros_like(labels)
    filled = labels.copy()
    filled[~known] = labels[known][nearest(locations[known], locations[~known])]
    return filled
