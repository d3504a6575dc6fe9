# SPDX-License-Identifier: GPL-3.0-or-later
"""How much each vertex belongs to each part: wholly, or blended across the borders."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import bpy
import numpy as np

from ..mesh_exchange.arrays import (
    BoolArray,
    FloatArray,
    IntArray,
    corner_polygons,
    corner_vertices,
    distinct,
    edge_vertices,
    ranges,
    vertex_positions,
)
from ..mesh_exchange.elements import is_cloud
from ..parts.polygon_graph import weld

_SLICE = 1024
"""Vertices that are handled as Python objects at a time: many take longer, each."""


_WEIGHT_STEPS = 1024
"""Blended weights are multiples of one part in so many, so that Blender takes many equal ones at a time."""


@dataclass(frozen=True)
class VertexWeights:
    """Vertices int32 [N] of a part and their weights float32 [N] in (0, 1]."""

    vertices: IntArray
    weights: FloatArray


@dataclass(frozen=True)
class Connectivity:
    """What weights are calculated from, read from a mesh; all else here needs no Blender data.

    positions: float32 [V, 3]; edges: int32 [E, 2]; vertices, polygons: int32 [C], of each face corner
    is_cloud: there are no faces, and the vertices themselves are in parts
    """

    positions: FloatArray
    edges: IntArray
    vertices: IntArray
    polygons: IntArray
    is_cloud: bool

    @classmethod
    def read(cls, mesh: bpy.types.Mesh) -> Connectivity:
        """Not in Edit mode."""
        return cls(
            vertex_positions(mesh),
            edge_vertices(mesh),
            corner_vertices(mesh),
            corner_polygons(mesh),
            is_cloud(mesh),
        )


@dataclass(frozen=True)
class VertexGraph:
    """Neighbours of each vertex: `targets[starts[v]:starts[v + 1]]`. positions: float64 [V, 3], of all."""

    starts: IntArray
    targets: IntArray
    positions: FloatArray


@dataclass(frozen=True)
class WeightTable:
    """The weights of all vertex groups, vertex by vertex.

    Those of vertex v are the rows `starts[v]` to `starts[v + 1]` of groups int32 [N] and weights float32 [N].
    """

    starts: IntArray
    groups: IntArray
    weights: FloatArray

    def of(self, vertices: IntArray) -> Iterator[tuple[int, VertexWeights]]:
        """The groups that hold some of `vertices` [n], with positions in `vertices` as vertices."""
        counts = self.starts[vertices + 1] - self.starts[vertices]
        local = np.repeat(np.arange(len(vertices), dtype=np.int32), counts)
        rows = ranges(self.starts[vertices], counts)
        groups, weights = self.groups[rows], self.weights[rows]
        order = np.argsort(groups, kind="stable")
        present, first = np.unique(groups[order], return_index=True)
        for group, here in zip(present.tolist(), np.split(order, first[1:]), strict=False):
            yield group, VertexWeights(local[here], weights[here])


def read_weight_table(obj: bpy.types.Object) -> WeightTable:
    """The weights of all vertices. Goes vertex by vertex: 0.4 s for 500,000."""
    count = len(obj.data.vertices)
    return weight_table(read_weight_rows(obj, 0, count), count)


def read_weight_rows(obj: bpy.types.Object, start: int, stop: int) -> np.ndarray:
    """The weights of a range of vertices: rows of vertex, group and weight, in the order of the vertices."""
    row = [("vertex", np.int32), ("group", np.int32), ("weight", np.float32)]
    vertices = obj.data.vertices if len(obj.vertex_groups) else ()
    entries: Iterator[tuple[int, int, float]] = (
        (index, entry.group, entry.weight)
        for first in range(start, min(stop, len(vertices)), _SLICE)
        for index, vertex in enumerate(vertices[first : min(first + _SLICE, stop)], first)
        for entry in vertex.groups
    )
    return np.fromiter(entries, dtype=row)


def weight_table(rows: np.ndarray, count: int) -> WeightTable:
    """The rows of `count` vertices as a table."""
    counts = np.bincount(rows["vertex"], minlength=count)
    return WeightTable(np.concatenate([[0], np.cumsum(counts)]), rows["group"], rows["weight"])


def read_weights(obj: bpy.types.Object, table: WeightTable | None = None) -> list[VertexWeights]:
    """The weights of each vertex group, in the object's order; see `read_weight_table`.

    table: what that has read already
    """
    nothing = VertexWeights(np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.float32))
    table = table or read_weight_table(obj)
    found = dict(table.of(np.arange(len(obj.data.vertices), dtype=np.int32)))
    return [found.get(index, nothing) for index in range(len(obj.vertex_groups))]


def membership(mesh: Connectivity, part_ids: IntArray) -> dict[int, BoolArray]:
    """For each part id the vertices that its faces touch, bool [V]; border vertices are in several.

    In a mesh without faces the vertices themselves are in parts.
    """
    if mesh.is_cloud:
        return {part_id: part_ids == part_id for part_id in np.unique(part_ids).tolist()}
    ids = part_ids[mesh.polygons]
    masks = {}
    for part_id in distinct(part_ids)[0].tolist():
        mask = np.zeros(len(mesh.positions), dtype=bool)
        mask[mesh.vertices[ids == part_id]] = True
        masks[part_id] = mask
    return masks


def whole_weights(mesh: Connectivity, part_ids: IntArray) -> dict[int, VertexWeights]:
    """Weight 1 for every vertex that a part touches."""
    return {part_id: _ones(mask) for part_id, mask in membership(mesh, part_ids).items()}


def rigid_weights(mesh: Connectivity, part_ids: IntArray) -> dict[int, VertexWeights]:
    """Weight 1 for one part a vertex: the one with most face corners there; ties go to the smaller id.

    Vertices at the same place go to the same part, so that doubled vertices do not tear open.
    """
    places = weld(mesh.positions)
    vertices, ids = places[mesh.vertices], part_ids[mesh.polygons]
    owner = np.full(len(mesh.positions), -1, dtype=np.int32)
    owner[vertices] = ids
    disputed = np.zeros(len(owner), dtype=bool)
    disputed[vertices[owner[vertices] != ids]] = True
    voting = disputed[vertices]
    winners, winning = _most_frequent(vertices[voting], ids[voting])
    owner[winners] = winning
    owner = owner[places]
    return {part_id: _ones(owner == part_id) for part_id in distinct(owner[owner >= 0])[0].tolist()}


def _most_frequent(vertices: IntArray, ids: IntArray) -> tuple[IntArray, IntArray]:
    """Each vertex once, with the id that it has most often; ties go to the smaller id."""
    width = int(ids.max(initial=0)) + 1
    keys, counts = np.unique(vertices.astype(np.int64) * width + ids, return_counts=True)
    order = np.lexsort((keys % width, -counts, keys // width))
    vertices, ids = keys[order] // width, keys[order] % width
    first = np.r_[True, vertices[1:] != vertices[:-1]] if len(vertices) else np.zeros(0, dtype=bool)
    return vertices[first], ids[first]


def blended_weights(
    mesh: Connectivity, part_ids: IntArray, *, width: float, scale: FloatArray
) -> dict[int, VertexWeights]:
    """Weights that pass smoothly from one part to the next within `width` of the border on either side.

    width: in world units, measured along edges
    scale: float64 [3, 3], the linear part of the object's world matrix

    The weights of a vertex add up to 1, faces without a part included.
    """
    positions = mesh.positions
    places = weld(positions)
    graph = _vertex_graph(positions.astype(np.float64) @ scale.T, places[mesh.edges])
    # Membership at places, shared by doubled vertices.
    masks = {part_id: _at_places(mask, places) for part_id, mask in membership(mesh, part_ids).items()}
    shared = np.sum(list(masks.values()), axis=0) > 1
    total = np.zeros(len(positions))
    weights: dict[int, VertexWeights] = {}
    for part_id, mask in masks.items():
        distance = bounded_distances(graph, np.flatnonzero(mask & shared), limit=width)
        # All others have the weight 0.
        vertices = np.flatnonzero(mask | np.isfinite(distance))
        side = np.where(mask[vertices], distance[vertices], -distance[vertices]) / width
        weights[part_id] = VertexWeights(vertices, _smoothstep(0.5 + 0.5 * np.clip(side, -1, 1)))
        total[vertices] += weights[part_id].weights
    return {part: _spread(entry, places) for part, entry in _shares(weights, total).items()}


def _shares(weights: dict[int, VertexWeights], total: FloatArray) -> dict[int, VertexWeights]:
    """Weights as shares of `total` [V], in steps; what rounding leaves over goes to the largest."""
    left = np.where(total > 0, _WEIGHT_STEPS, 0)
    largest, owner = np.zeros(len(total)), np.full(len(total), -1)
    steps: dict[int, IntArray] = {}
    for number, (part_id, entry) in enumerate(weights.items()):
        here = entry.vertices
        shares = entry.weights / np.where(total[here] > 0, total[here], 1)
        steps[part_id] = np.rint(shares * _WEIGHT_STEPS).astype(np.int64)
        left[here] -= steps[part_id]
        leads = shares > largest[here]
        largest[here[leads]], owner[here[leads]] = shares[leads], number
    found = {}
    for number, (part_id, entry) in enumerate(weights.items()):
        here = entry.vertices
        steps[part_id] += np.where(owner[here] == number, left[here], 0)
        found[part_id] = VertexWeights(here, (steps[part_id] / _WEIGHT_STEPS).astype(np.float32))
    return found


def _spread(entry: VertexWeights, places: IntArray) -> VertexWeights:
    """Weights at places, given to all vertices there."""
    weights = np.zeros(len(places), dtype=np.float32)
    weights[entry.vertices] = entry.weights
    weights = weights[places]
    vertices = np.flatnonzero(weights).astype(np.int32)
    return VertexWeights(vertices, weights[vertices])


def bounded_distances(graph: VertexGraph, sources: IntArray, *, limit: float) -> FloatArray:
    """Distance along edges to the nearest source, float64 [V]; infinite beyond `limit`.

    Label-correcting shortest paths, a whole front at a time: only the band within `limit` is visited.
    """
    distance = np.full(len(graph.starts) - 1, np.inf)
    distance[sources] = 0
    front = np.asarray(sources)
    while len(front):
        counts = graph.starts[front + 1] - graph.starts[front]
        links = ranges(graph.starts[front], counts)
        reached, origins = graph.targets[links], np.repeat(front, counts)
        spans = graph.positions[origins] - graph.positions[reached]
        candidates = distance[origins] + np.nan_to_num(np.linalg.norm(spans, axis=1))
        better = (candidates <= limit) & (candidates < distance[reached])
        reached, candidates = reached[better], candidates[better]
        order = np.lexsort((candidates, reached))
        reached, candidates = reached[order], candidates[order]
        first = np.r_[True, reached[1:] != reached[:-1]] if len(reached) else np.zeros(0, dtype=bool)
        front = reached[first]
        distance[front] = candidates[first]
    return distance


def _vertex_graph(positions: FloatArray, ends: IntArray) -> VertexGraph:
    ends = ends[ends[:, 0] != ends[:, 1]]
    sources = np.concatenate([ends[:, 0], ends[:, 1]])
    targets = np.concatenate([ends[:, 1], ends[:, 0]])
    counts = np.bincount(sources, minlength=len(positions))
    starts = np.concatenate([[0], np.cumsum(counts)])
    return VertexGraph(starts, targets[np.argsort(sources, kind="stable")], positions)


def _at_places(mask: BoolArray, places: IntArray) -> BoolArray:
    joined = np.zeros_like(mask)
    joined[places[mask]] = True
    return joined


def _smoothstep(t: FloatArray) -> FloatArray:
    return t * t * (3 - 2 * t)


def _ones(mask: BoolArray) -> VertexWeights:
    vertices = np.flatnonzero(mask).astype(np.int32)
    return VertexWeights(vertices, np.ones(len(vertices), dtype=np.float32))
