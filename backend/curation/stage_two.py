# SPDX-License-Identifier: GPL-3.0-or-later
"""Stage two: parts of over-fragmented assets, found by the model and kept if the model can be led to them.

Faces are clustered by the encoder's features over the mesh's connectivity into 10, 20 and 30 clusters.
A cluster is kept as a mask if simulated clicks reach it: IoU@1 > 0.6 or IoU@10 > 0.9. A shape is kept if
more than 5 masks are.
"""

from __future__ import annotations

import warnings
import zlib
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from ..errors import DataError
from ..geometry import Mesh, face_areas, face_centroids
from ..geometry.mesh import FloatArray, IntArray
from ..labelled_meshes.shards import UNLABELLED
from ..refinement import FaceGraph, build_face_graph
from .stage_one import Labeling, Rejected, StageOneRules

if TYPE_CHECKING:
    from ..segmenter import EncodedShape, Segmenter


@dataclass(frozen=True)
class StageTwoRules:
    """clusters: numbers of clusters; min_first_iou, min_final_iou: of simulated clicks, either suffices
    clicks: in all; min_masks: a shape needs more than this many kept masks
    """

    clusters: tuple[int, ...] = (10, 20, 30)
    min_first_iou: float = 0.6
    min_final_iou: float = 0.9
    clicks: int = 10
    min_masks: int = 5
    seed: int = 0


def label_fragmented(
    mesh: Mesh, segmenter: Segmenter, rules: StageTwoRules, limits: StageOneRules, *, key: str = ""
) -> list[Labeling] | Rejected:
    """Labelings of kept masks, one per number of clusters that has any.

    limits: a mask must lie within stage one's area limits
    key: names the shape; with `rules.seed` it seeds the clicks
    """
    shape = segmenter.encode(mesh, seed=rules.seed)
    centroids = shape.normalization.apply(face_centroids(mesh))
    features = segmenter.field(shape, centroids)
    levels = cluster_faces(features, build_face_graph(mesh), rules.clusters)
    masks, level_of_mask = _candidate_masks(levels, face_areas(mesh), limits)
    if not len(masks):
        return Rejected("few_valid_masks", "no cluster lies within the area limits")
    first, final = _click_ious(segmenter, shape, masks, rules, key)
    valid = (first > rules.min_first_iou) | (final > rules.min_final_iou)
    valid &= ~_repeated(masks, valid, level_of_mask)
    if valid.sum() <= rules.min_masks:
        detail = (
            f"{int(valid.sum())} of {len(masks)} masks can be reached by clicks; more than {rules.min_masks}"
        )
        return Rejected("few_valid_masks", f"{detail} are needed")
    return [
        _labeling(f"cluster-{count}", masks[valid & (level_of_mask == level)])
        for level, count in enumerate(rules.clusters)
        if (valid & (level_of_mask == level)).any()
    ]


def need_clustering() -> None:
    """Raise DataError where the library for it is missing."""
    if find_spec("sklearn") is None:
        raise DataError("stage two of the curation needs scikit-learn; install it and try again")


def cluster_faces(features: FloatArray, graph: FaceGraph, counts: tuple[int, ...]) -> list[IntArray]:
    """Agglomerative (Ward) clustering of faces over the face graph, cut at each of `counts`.

    features: float [F, C]; returns one int [F] labeling per count, numbers from 0
    """
    need_clustering()
    from sklearn.cluster import ward_tree

    faces = len(features)
    rows, columns = graph.edges.T
    adjacency = coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(faces, faces))
    with warnings.catch_warnings():
        # Separate pieces are joined where their features are nearest, which is what is wanted here.
        warnings.filterwarnings("ignore", message="the number of connected components")
        children = ward_tree(features.astype(np.float64), connectivity=(adjacency + adjacency.T).tocsr())[0]
    return [cut_tree(children, faces, count) for count in counts]


def cut_tree(children: IntArray, leaves: int, count: int) -> IntArray:
    """Cluster number of each leaf after all but the last count - 1 merges, int [leaves].

    children: int [leaves - 1, 2], nodes joined by each merge; merge m makes node leaves + m
    """
    merges = max(leaves - count, 0)
    parent = leaves + np.repeat(np.arange(merges), 2)
    edges = coo_matrix(
        (np.ones(2 * merges), (parent, children[:merges].ravel())), shape=(2 * leaves, 2 * leaves)
    )
    number = connected_components(edges, directed=False)[1][:leaves]
    return np.unique(number, return_inverse=True)[1]


def _candidate_masks(
    levels: list[IntArray], areas: FloatArray, limits: StageOneRules
) -> tuple[NDArray[np.bool_], IntArray]:
    """All clusters within the area limits: masks bool [M, F] and their level int [M]."""
    masks, level_of_mask = [], []
    for level, labels in enumerate(levels):
        share = np.bincount(labels, weights=areas) / areas.sum()
        for cluster in np.flatnonzero((share >= limits.min_part_area) & (share <= limits.max_part_area)):
            masks.append(labels == cluster)
            level_of_mask.append(level)
    return np.array(masks, dtype=bool).reshape(len(masks), len(areas)), np.array(
        level_of_mask, dtype=np.int64
    )


def _click_ious(
    segmenter: Segmenter, shape: EncodedShape, masks: NDArray[np.bool_], rules: StageTwoRules, key: str
) -> tuple[FloatArray, FloatArray]:
    """IoU of each mask [M, F] after the first and the last simulated click, float32 [M] each."""
    import torch

    from ..evaluation.interactive import InteractiveSettings, simulate_clicks

    assert shape.point_faces is not None  # it was encoded from a mesh
    targets = torch.as_tensor(masks.take(shape.point_faces, axis=1))
    sampled = targets.any(dim=1)
    first = np.zeros(len(masks), dtype=np.float32)
    final = np.zeros(len(masks), dtype=np.float32)
    if not bool(sampled.any()):
        return first, final
    device = torch.device(segmenter.device)
    generator = torch.Generator(device).manual_seed(zlib.crc32(key.encode()) + rules.seed)
    points = torch.as_tensor(shape.points, device=device)
    settings = InteractiveSettings(clicks=rules.clicks)
    rounds = simulate_clicks(segmenter, shape, points, targets[sampled].to(device), settings, generator)
    ious = rounds.ious.cpu().numpy()
    first[sampled.numpy()], final[sampled.numpy()] = ious[:, 0], ious[:, -1]
    return first, final


def _repeated(masks: NDArray[np.bool_], valid: NDArray[np.bool_], level: IntArray) -> NDArray[np.bool_]:
    """Whether a coarser level has the very same valid mask: it must not count twice, bool [M]."""
    keys: set[bytes] = set()
    repeated = np.zeros(len(masks), dtype=bool)
    for index in np.argsort(level, kind="stable"):
        if not valid[index]:
            continue
        key = np.packbits(masks[index]).tobytes()
        repeated[index] = key in keys
        keys.add(key)
    return repeated


def _labeling(name: str, masks: NDArray[np.bool_]) -> Labeling:
    """Disjoint masks [M, F] as one labeling."""
    labels = np.full(masks.shape[1], UNLABELLED, dtype=np.uint8)
    for number, mask in enumerate(masks):
        labels[mask] = number
    return Labeling(name, labels, len(masks))
