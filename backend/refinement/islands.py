# SPDX-License-Identifier: GPL-3.0-or-later
"""Regions of equal label: connecting them, and dissolving those too small to be meant.

The functions on plain arrays work on any graph (faces, or a few hundred atoms of faces); the two on a
FaceGraph are what most callers want.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np

from ..geometry.mesh import FloatArray, IntArray
from .components import connected_nodes
from .face_graph import FaceGraph

_LINK_SHARE = 1e-3
"""A link across a gap counts this share of its length as border, so that any real border outweighs it."""

_MAIN_REGION = 0.5
"""Regions of at least this share of their label's largest are the label itself, not islands of it."""


def dissolve_islands(
    graph: FaceGraph, labels: IntArray, *, min_size: float = 0.01, noise_size: float | None = None
) -> IntArray:
    """Give small regions the label of the neighbour with which they share the longest border.

    labels: int [F]
    min_size: regions whose feature size (square root of the area) is below this share of the shape's
        diagonal are islands, if their label has a region at least twice as large elsewhere
    noise_size: regions below this are dissolved even if they are all there is of their label; default
        a quarter of min_size. What fills most of a shell and is all there is of its label always stays.

    Returns int32 [F]; label values are kept, not renumbered.
    """
    noise_size = min_size / 4 if noise_size is None else noise_size
    labels = np.asarray(labels)
    edges, lengths = graph.edges, graph.edge_length
    if graph.is_link.any():
        kept = ~graph.is_link | _links_that_matter(graph, labels)
        edges, lengths = edges[kept], (np.where(graph.is_link, _LINK_SHARE, 1.0) * lengths)[kept]
    return dissolve_small_regions(
        graph.face_areas,
        edges,
        lengths,
        labels,
        min_area=(min_size * graph.diagonal) ** 2,
        noise_area=(noise_size * graph.diagonal) ** 2,
        shells=graph.shells,
    )


def _links_that_matter(graph: FaceGraph, labels: IntArray) -> np.ndarray:
    """bool [E]: links between different labels, and those that tie a small shell to its label.

    A link between equal labels must not save a patch that leaked onto a neighbouring shell: it counts
    only if the smaller of the two regions is most of a shell.
    """
    links = np.flatnonzero(graph.is_link)
    matters = np.zeros(len(graph.edges), dtype=bool)
    if len(links) == 0:
        return matters
    region = number_regions(graph.face_count, graph.borders, labels)
    areas = np.bincount(region, graph.face_areas)
    own_shell = _mostly_shells(region, graph.shells, graph.face_areas)
    first, second = region[graph.edges[links]].T
    smaller = np.where(areas[first] < areas[second], first, second)
    different = labels[graph.edges[links, 0]] != labels[graph.edges[links, 1]]
    matters[links] = different | own_shell[smaller]
    return matters


def connect_labels(graph: FaceGraph, labels: IntArray, *, across_links: bool = True) -> IntArray:
    """Make each connected region of equal label a label of its own.

    across_links: whether shells that nearly touch count as connected
    Returns int32 [F], 0 .. R-1, numbered by label, then by first face.
    """
    edges = graph.edges if across_links else graph.borders
    return number_regions(graph.face_count, edges, labels)


def number_regions(count: int, edges: IntArray, labels: IntArray) -> IntArray:
    """Connected regions of equal label, int32 [count], numbered by label, then by first node.

    edges: int [E, 2]; labels: int [count]
    """
    labels = np.asarray(labels)
    inside = labels.take(edges[:, 0]) == labels.take(edges[:, 1])
    region = connected_nodes(count, edges.compress(inside, axis=0))
    first = _first_occurrence(region)
    order = np.lexsort([first, labels[first]])
    rank = np.zeros(len(order), dtype=np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    return rank[region]


def _first_occurrence(numbers: IntArray) -> IntArray:
    first = np.zeros(int(numbers.max(initial=-1)) + 1, dtype=np.int64)
    first[numbers[::-1]] = np.arange(len(numbers))[::-1]
    return first


def dissolve_small_regions(
    areas: FloatArray,
    edges: IntArray,
    lengths: FloatArray,
    labels: IntArray,
    *,
    min_area: float,
    noise_area: float = 0.0,
    shells: IntArray | None = None,
) -> IntArray:
    """`dissolve_islands` on a graph of nodes.

    areas: float64 [N]; edges: int [E, 2]; lengths: float64 [E], border between two nodes; labels: int [N]
    min_area: a region below this dissolves if its label has a region at least twice as large
    noise_area: a region below this dissolves in any case, unless it is most of a shell and all of its label
    shells: int [N] or None, connected components that may stand alone as a part

    Regions go from the smallest to the largest; each may grow past the limit by what it received
    before its turn. Equal areas and borders are decided by the lower number. Regions without
    neighbours stay. Returns int32 [N].
    """
    labels = np.asarray(labels)
    region = number_regions(len(labels), edges, labels)
    if len(labels) == 0 or int(region.max()) == 0:
        return labels.astype(np.int32)
    first = _first_occurrence(region)
    region_labels = labels[first]
    region_areas = np.bincount(region, areas).astype(np.float64)
    own_shell = _mostly_shells(region, shells, areas)
    limits = _limits(region_areas, region_labels, own_shell, min_area=min_area, noise_area=noise_area)
    islands = np.flatnonzero(region_areas < limits)
    if len(islands) == 0:
        return labels.astype(np.int32)
    borders = _region_borders(region, edges, lengths)
    merging = _Merging(region_areas.tolist(), region_labels.tolist(), borders)
    merging.dissolve(islands.tolist(), limits.tolist())
    return np.asarray(merging.labels, dtype=np.int32)[region]


def _limits(
    region_areas: FloatArray,
    region_labels: IntArray,
    own_shell: np.ndarray,
    *,
    min_area: float,
    noise_area: float,
) -> FloatArray:
    """The area below which each region dissolves, float64 [R].

    own_shell: bool [R], regions that fill a shell
    """
    _, label_index = np.unique(region_labels, return_inverse=True)
    largest = np.zeros(int(label_index.max()) + 1)
    np.maximum.at(largest, label_index, region_areas)
    is_main = region_areas >= _MAIN_REGION * largest[label_index]
    limits = np.where(is_main, min(noise_area, min_area), min_area)
    alone = np.bincount(label_index)[label_index] == 1
    return np.where(alone & own_shell, 0.0, limits)


def _mostly_shells(region: IntArray, shells: IntArray | None, areas: FloatArray) -> np.ndarray:
    """bool [R]: regions that hold more than half the area of a shell."""
    holds = np.zeros(int(region.max()) + 1, dtype=bool)
    if shells is None:
        return holds
    shell_count = int(shells.max()) + 1
    keys = region.astype(np.int64) * shell_count + shells
    if len(holds) * shell_count <= len(region):  # counting takes less than sorting
        shared = np.bincount(keys, areas, minlength=len(holds) * shell_count)
        keys = np.arange(len(shared))
    else:
        keys, inverse = np.unique(keys, return_inverse=True)
        shared = np.bincount(inverse, areas)
    most = shared > 0.5 * np.bincount(shells, areas)[keys % shell_count]
    holds[keys[most] // shell_count] = True
    return holds


def _region_borders(region: IntArray, edges: IntArray, lengths: FloatArray) -> list[dict[int, float]]:
    """For each region its neighbours and the length of the border to each."""
    first, second = (region.take(end) for end in edges.T)
    crossing = np.flatnonzero(first != second)
    count = int(region.max()) + 1
    first, second = first[crossing].astype(np.int64), second[crossing].astype(np.int64)
    keys, inverse = np.unique(
        np.minimum(first, second) * count + np.maximum(first, second), return_inverse=True
    )
    sums = np.bincount(inverse, lengths[crossing])
    borders: list[dict[int, float]] = [{} for _ in range(count)]
    for key, length in zip(keys.tolist(), sums.tolist(), strict=True):
        a, b = divmod(key, count)
        borders[a][b] = length
        borders[b][a] = length
    return borders


def _longest(borders: dict[int, float]) -> int:
    return max(borders, key=lambda region: (borders[region], -region))


@dataclass
class _Merging:
    """Regions while they dissolve. A region that was absorbed passes its area and borders on.

    areas, labels: per region; borders: per region, its present neighbours and border lengths
    """

    areas: list[float]
    labels: list[int]
    borders: list[dict[int, float]]

    def dissolve(self, islands: list[int], limits: list[float]) -> None:
        """Dissolve `islands` from the smallest to the largest while they are below their limits."""
        parent = list(range(len(self.areas)))
        queue = [(self.areas[island], island) for island in islands]
        heapq.heapify(queue)
        while queue:
            area, island = heapq.heappop(queue)
            if parent[island] != island or not self.borders[island]:
                continue
            if self.areas[island] != area:  # grew since it was queued
                if self.areas[island] < limits[island]:
                    heapq.heappush(queue, (self.areas[island], island))
                continue
            target = _longest(self.borders[island])
            # Regions of the target's label that the island kept apart become one with it.
            joined = [
                r for r in self.borders[island] if r != target and self.labels[r] == self.labels[target]
            ]
            self._absorb(island, target, parent)
            for other in joined:
                target = self._unite(target, other, limits, parent)
        self._label_absorbed(parent)

    def _unite(self, first: int, second: int, limits: list[float], parent: list[int]) -> int:
        """Make two touching regions of one label one; the one with fewer borders goes, the other returns."""
        heir, gone = first, second
        if len(self.borders[heir]) < len(self.borders[gone]):
            heir, gone = gone, heir
        limits[heir] = min(limits[heir], limits[gone])
        self._absorb(gone, heir, parent)
        return heir

    def _absorb(self, gone: int, heir: int, parent: list[int]) -> None:
        parent[gone] = heir
        self.areas[heir] += self.areas[gone]
        for region, length in self.borders[gone].items():
            borders = self.borders[region]
            del borders[gone]
            if region != heir:
                borders[heir] = borders.get(heir, 0.0) + length
                self.borders[heir][region] = borders[heir]
        self.borders[gone] = {}

    def _label_absorbed(self, parent: list[int]) -> None:
        for region in range(len(parent)):
            root = region
            while parent[root] != root:
                parent[root] = parent[parent[root]]  # halves the path for those who follow
                root = parent[root]
            self.labels[region] = self.labels[root]
