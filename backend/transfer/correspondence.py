# SPDX-License-Identifier: GPL-3.0-or-later
"""Which face of one shape corresponds to which of another of its kind, by the encoder's field.

The field of the network says of a place what it is part of, much the same for all legs of all chairs. Faces
whose features are near, and which lie in like places of the two boxes, correspond.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ..geometry import Mesh, face_centroids, face_normals
from ..geometry.mesh import FloatArray

if TYPE_CHECKING:
    from ..segmentation import EncodedShape
    from ..segmenter import Segmenter

_NEIGHBORS = 12
_COMPONENTS = 48
PLACE_WEIGHT = 0.6
"""Of the place in the box beside the features; measured on labelled pairs, see docs/transfer.md."""
NORMAL_WEIGHT = 0.1


@dataclass(frozen=True)
class Correspondence:
    """faces: int64 [G, k], faces of the source that correspond to each face of the target, best first
    weights: float64 [G, k], how much each counts
    """

    faces: NDArray[np.int64]
    weights: FloatArray


def correspond(
    segmenter: Segmenter,
    source: EncodedShape,
    target: EncodedShape,
    *,
    place_weight: float = PLACE_WEIGHT,
) -> Correspondence:
    """Match every face of `target` with faces of `source`; both were encoded from meshes."""
    described = []
    for shape in (source, target):
        if shape.mesh is None:
            raise ValueError("a correspondence is between meshes")
        described.append((shape.mesh, face_features(segmenter, shape)))
    return match_faces(*described, place_weight=place_weight)


def match_faces(
    source: tuple[Mesh, FloatArray], target: tuple[Mesh, FloatArray], *, place_weight: float = PLACE_WEIGHT
) -> Correspondence:
    """`correspond` from each mesh and its `face_features`."""
    first, second = common_components(source[1], target[1])
    places = [_places(mesh) for mesh, _ in (source, target)]
    normals = [face_normals(mesh) for mesh, _ in (source, target)]
    rows = [
        np.column_stack([feature, place_weight * place, NORMAL_WEIGHT * normal])
        for feature, place, normal in zip((first, second), places, normals, strict=True)
    ]
    count = min(_NEIGHBORS, len(rows[0]))
    distance, near = cKDTree(rows[0]).query(rows[1], k=count, workers=-1)
    distance, near = distance.reshape(-1, count), near.reshape(-1, count)
    spread = max(float(np.median(distance)) / 4, 1e-12)
    return Correspondence(near.astype(np.int64), np.exp(-((distance - distance[:, :1]) / spread)))


def face_features(segmenter: Segmenter, shape: EncodedShape) -> FloatArray:
    """The field at the faces' centroids, float64 [F, C], each row of length 1.

    The network sees the mesh as it stands in its file: shapes set upright by themselves may face anywhere,
    and their fields do not compare. So a shape that was turned to be segmented is encoded again.
    """
    if shape.mesh is None:
        raise ValueError("a correspondence is between meshes")
    seen = segmenter.turned(shape, np.eye(3))
    places = seen.normalization.apply(face_centroids(shape.mesh))
    values = np.concatenate(
        [segmenter.field(seen, places[start : start + 16384]) for start in range(0, len(places), 16384)]
    ).astype(np.float64)
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)


def common_components(first: FloatArray, second: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Both in the main directions of their union: fewer numbers, and a search that trees are good at."""
    both = np.concatenate([first - first.mean(axis=0), second - second.mean(axis=0)])
    _, axes = np.linalg.eigh(both.T @ both)
    main = axes[:, ::-1][:, :_COMPONENTS]
    scale = max(float((both @ main).std()) * np.sqrt(main.shape[1]), 1e-12)
    return both[: len(first)] @ main / scale, both[len(first) :] @ main / scale


def _places(mesh: Mesh) -> FloatArray:
    """Where each face lies in the mesh's box, -1 to 1 along each axis that has an extent."""
    corners = mesh.corners().reshape(-1, 3)
    low, high = corners.min(axis=0), corners.max(axis=0)
    half = np.maximum((high - low) / 2, 1e-9 * (high - low).max())
    return (face_centroids(mesh) - (low + high) / 2) / half
