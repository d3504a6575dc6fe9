# SPDX-License-Identifier: GPL-3.0-or-later
"""Point clouds of any size: a sample that the network reads, its parts, and the part of every point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

from ..errors import MeshError
from ..geometry.mesh import LARGEST_COORDINATE, FloatArray, IntArray
from ..refinement import FaceGraph, dissolve_islands
from ..segmentation.point_normals import surface_at

if TYPE_CHECKING:
    from ..segmentation import EncodedShape, Parts
    from ..segmentation.atoms import AtomTree
    from ..segmentation.every_part import Progress
    from ..segmenter import Segmenter

NO_PART = -1
"""Label of points that are not finite, as depth cameras write them for what they did not see."""

_CHUNK = 1 << 20
"""Points whose nearest sample is looked up at once."""
_POINTS_FOR_PLANES = 200_000
_POINTS_FOR_SIDES = 40_000


@dataclass(frozen=True)
class CloudParts:
    """The parts of a point cloud.

    parts: of the sample; cloud: float64 [N, 3], all points, in the caller's units
    sample: float64 [S, 3], the points that the network read, noise taken off
    graph: which of them are neighbours on the surface
    """

    parts: Parts
    cloud: FloatArray
    sample: FloatArray
    graph: FaceGraph

    def sample_labels(self, granularity: float = 0.5, *, parts: int | None = None) -> IntArray:
        """Part of each point of the sample, int32 [S], 0 .. P-1; islands of leaked masks are dissolved."""
        labels = dissolve_islands(self.graph, self.parts.point_labels(granularity, parts=parts))
        return np.unique(labels, return_inverse=True)[1].astype(np.int32).reshape(-1)

    def atom_tree(self) -> AtomTree:
        """The labels of every granularity step; its atoms are of all points, int32 [N]."""
        from ..segmentation.atoms import tree_of_labels

        tree = tree_of_labels(
            self.parts,
            lambda partition: dissolve_islands(self.graph, partition.labels[self.parts.sites.of_point]),
        )
        return replace(tree, atoms=self._of_nearest(tree.atoms))

    def labels(self, granularity: float = 0.5, *, parts: int | None = None) -> IntArray:
        """Part of every point of the cloud, int32 [N]: that of the nearest point of the sample.

        -1 for points that are not finite. A million points at a time: ten million take as much memory.
        """
        return self._of_nearest(self.sample_labels(granularity, parts=parts))

    def _of_nearest(self, of_sample: IntArray) -> IntArray:
        """For every point of the cloud the value of the nearest point of the sample, int32 [N]."""
        tree = cKDTree(self.sample)
        labels = np.full(len(self.cloud), NO_PART, dtype=np.int32)
        for start in range(0, len(self.cloud), _CHUNK):
            rows = slice(start, start + _CHUNK)
            finite = _usable(self.cloud[rows])
            found = tree.query(self.cloud[rows][finite], workers=-1)[1]
            labels[rows][finite] = of_sample[found]
        return labels


def segment_cloud(
    segmenter: Segmenter,
    points: FloatArray,
    normals: FloatArray | None = None,
    colors: FloatArray | None = None,
    *,
    seed: int = 0,
    prompts: int = 512,
    poses: int = 1,
    prompt_batch: int | None = None,
    count: int | None = None,
    progress: Progress | None = None,
    cancel: Callable[[], bool] | None = None,
) -> CloudParts:
    """Find the parts of a cloud: points [N, 3], normals and sRGB colours [N, 3] where they are known.

    count: points that the network reads; None for as many as it was trained with
    prompts, poses: as `Segmenter.segment_every_part` takes them

    Raises MeshError for clouds that have less than four finite points, or no extent.
    """
    from ..segmentation.sites import graph_of_points

    shape, _ = encode_cloud(segmenter, points, normals, colors, seed=seed, count=count)
    parts = segmenter.segment_every_part(
        shape, prompts=prompts, poses=poses, prompt_batch=prompt_batch, progress=progress, cancel=cancel
    )
    graph = graph_of_points(parts.sites, shape.normals)
    return CloudParts(parts, np.asarray(points, dtype=np.float64), parts.sites.locations, graph)


def encode_cloud(
    segmenter: Segmenter,
    points: FloatArray,
    normals: FloatArray | None = None,
    colors: FloatArray | None = None,
    *,
    seed: int = 0,
    count: int | None = None,
) -> tuple[EncodedShape, IntArray]:
    """Encode a cloud of any size: (encoded shape, which points it was encoded from, int64 [S])."""
    count = count or segmenter.config.points
    points = np.asarray(points, dtype=np.float64)
    random = np.random.default_rng(seed)
    finite = np.flatnonzero(_usable(points))
    if len(finite) < 4:
        points_text = "1 finite point" if len(finite) == 1 else f"{len(finite)} finite points"
        raise MeshError(f"the cloud has {points_text}; at least 4 are needed")
    if normals is None:
        # Planes need more neighbours than the network's points, and so do thin walls, whose sides differ.
        dense = random.permutation(finite)[:_POINTS_FOR_PLANES]
        chosen = even_sample(points[dense], count, random)
        others = np.setdiff1d(np.arange(len(dense))[:_POINTS_FOR_SIDES], chosen)
        surface = surface_at(points[dense], at=np.concatenate([chosen, others]))
        sample, (places, sample_normals) = dense[chosen], (rows[: len(chosen)] for rows in surface)
    else:
        sample = finite[even_sample(points[finite], count, random)]
        places, sample_normals = points[sample], np.asarray(normals)[sample]
    sample_colors = None if colors is None else np.asarray(colors)[sample]
    return segmenter.encode_points(places, sample_normals, sample_colors), sample


def even_sample(points: FloatArray, count: int, random: np.random.Generator) -> IntArray:
    """At most `count` of points [N, 3], spread evenly over the surface whatever their density, int64.

    One point from each cell of the coarsest grid that has enough occupied cells, in random order.
    """
    order = random.permutation(len(points))
    if len(points) <= count:
        return order
    shifted = points[order] - points.min(axis=0)
    extent = float(shifted.max())
    chosen, low, high = np.arange(len(order)), 1.0, 4096.0
    for _ in range(14):
        cells = np.sqrt(low * high)
        keys = np.minimum((shifted * (cells / extent)).astype(np.int64), 8191) @ [1, 1 << 13, 1 << 26]
        first = np.unique(keys, return_index=True)[1]
        if len(first) >= count:
            chosen, high = first, cells
        else:
            low = cells
    return order[random.permutation(chosen)[:count]]


def _usable(points: FloatArray) -> np.ndarray:
    """bool [N]: finite and within what the network's arithmetic holds."""
    return np.asarray((np.abs(points) < LARGEST_COORDINATE).all(axis=1))
