# SPDX-License-Identifier: GPL-3.0-or-later
"""What is computed in arrays for large meshes, compared with the plain way: one element after the other."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from types import ModuleType

import bpy
import numpy as np
import pytest
from meshes import grid, voxels

Addon = Callable[[str], ModuleType]
Labeled = tuple[bpy.types.Object, np.ndarray]

pytestmark = pytest.mark.blender


@pytest.fixture
def doubled(addon: Addon) -> Labeled:
    """Two blocks of quads in three parts, some vertices doubled and pulled off their place a little."""
    obj, _ = voxels({1: ((0, 0, 0), (4, 3, 2)), 2: ((4, 0, 0), (7, 3, 1)), 3: ((0, 3, 0), (2, 5, 2))})
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.select_all(action="SELECT")
    bpy.ops.mesh.quads_convert_to_tris()
    bpy.ops.mesh.edge_split()
    bpy.ops.object.mode_set(mode="OBJECT")
    positions = addon("mesh_exchange.arrays").vertex_positions(obj.data)
    positions[positions[:, 2] == 1] += np.float32(0.125)
    obj.data.vertices.foreach_set("co", positions.ravel())
    random = np.random.default_rng(3)
    return obj, np.where(random.random(len(obj.data.polygons)) < 0.3, 2, 1).astype(np.int32)


def test_weights_are_those_of_each_vertex(addon: Addon) -> None:
    falloff = addon("apply.falloff")
    obj, random = grid(6), np.random.default_rng(0)
    for index in range(5):
        group = obj.vertex_groups.new(name=f"group {index}")
        for vertex in np.flatnonzero(random.random(49) < 0.2 * index).tolist():
            group.add((vertex,), float(random.random()), "REPLACE")
    found = falloff.read_weights(obj)
    assert len(found) == 5
    for group, entry in zip(obj.vertex_groups, found, strict=True):
        plain = [
            (vertex.index, element.weight)
            for vertex in obj.data.vertices
            for element in vertex.groups
            if element.group == group.index
        ]
        assert list(zip(entry.vertices.tolist(), entry.weights.tolist(), strict=True)) == plain


def test_weights_of_chosen_vertices(addon: Addon) -> None:
    falloff = addon("apply.falloff")
    obj = grid(3)
    obj.vertex_groups.new(name="none")
    obj.vertex_groups.new(name="some").add((2, 5, 7), 0.5, "REPLACE")
    found = dict(falloff.read_weight_table(obj).of(np.array([7, 1, 2], dtype=np.int32)))
    assert list(found) == [1]
    assert found[1].vertices.tolist() == [0, 2]
    assert found[1].weights.tolist() == [0.5, 0.5]


def test_falloff_is_that_of_shortest_paths(addon: Addon, doubled: Labeled) -> None:
    falloff, weld = addon("apply.falloff"), addon("parts.polygon_graph").weld
    obj, part_ids = doubled
    mesh, width = obj.data, 1.5
    places = weld(addon("mesh_exchange.arrays").vertex_positions(mesh))
    found = falloff.blended_weights(mesh, part_ids, width=width, scale=np.eye(3))
    members: dict[int, set[int]] = {1: set(), 2: set()}
    for polygon in mesh.polygons:
        members[int(part_ids[polygon.index])] |= {int(places[vertex]) for vertex in polygon.vertices}
    neighbors: dict[int, list[tuple[int, float]]] = {}
    for edge in mesh.edges:
        first, second = (int(places[vertex]) for vertex in edge.vertices)
        length = (mesh.vertices[first].co - mesh.vertices[second].co).length
        neighbors.setdefault(first, []).append((second, length))
        neighbors.setdefault(second, []).append((first, length))
    distance = _dijkstra(neighbors, members[1] & members[2])
    plain = np.zeros((3, len(mesh.vertices)))
    for vertex in range(len(mesh.vertices)):
        place = int(places[vertex])
        for part_id, inside in members.items():
            step = min(distance.get(place, np.inf) / width, 1.0) * (1 if place in inside else -1)
            t = 0.5 + 0.5 * step
            plain[part_id, vertex] = t * t * (3 - 2 * t)
    plain /= plain.sum(axis=0)
    for part_id, entry in found.items():
        dense = np.zeros(len(mesh.vertices))
        dense[entry.vertices] = entry.weights
        np.testing.assert_allclose(dense, plain[part_id], atol=2e-4)


def _dijkstra(neighbors: dict[int, list[tuple[int, float]]], sources: set[int]) -> dict[int, float]:
    distance, waiting = dict.fromkeys(sources, 0.0), [(0.0, source) for source in sources]
    while waiting:
        so_far, here = heapq.heappop(waiting)
        if so_far > distance[here]:
            continue
        for there, length in neighbors[here]:
            if so_far + length < distance.get(there, np.inf):
                distance[there] = so_far + length
                heapq.heappush(waiting, (distance[there], there))
    return distance
