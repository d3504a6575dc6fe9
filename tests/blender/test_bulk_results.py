# SPDX-License-Identifier: GPL-3.0-or-later
"""What is computed in arrays for large meshes, compared with the plain way: one element after the other."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from types import ModuleType

import bmesh
import bpy
import numpy as np
import pytest
from mathutils import Vector
from mathutils.bvhtree import BVHTree
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
    found = falloff.blended_weights(falloff.Connectivity.read(mesh), part_ids, width=width, scale=np.eye(3))
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


def test_every_vertex_goes_to_the_part_of_most_corners(addon: Addon, doubled: Labeled) -> None:
    obj, part_ids = doubled
    mesh = obj.data
    places = addon("parts.polygon_graph").weld(addon("mesh_exchange.arrays").vertex_positions(mesh))
    votes: dict[int, list[int]] = {}
    for polygon in mesh.polygons:
        for vertex in polygon.vertices:
            votes.setdefault(int(places[vertex]), []).append(int(part_ids[polygon.index]))
    falloff = addon("apply.falloff")
    found = falloff.rigid_weights(falloff.Connectivity.read(mesh), part_ids)
    owner = {int(vertex): part_id for part_id, entry in found.items() for vertex in entry.vertices}
    for vertex in range(len(mesh.vertices)):
        ids = votes[int(places[vertex])]
        assert owner[vertex] == min(set(ids), key=lambda part_id: (-ids.count(part_id), part_id))


@pytest.mark.parametrize("split", [False, True])
def test_faces_touch_where_they_share_an_edge_in_space(addon: Addon, doubled: Labeled, split: bool) -> None:
    obj = doubled[0] if split else voxels({1: ((0, 0, 0), (2, 2, 1)), 2: ((2, 2, 0), (3, 3, 1))})[0]
    graph_of = addon("parts.polygon_graph")
    mesh = obj.data
    welded = graph_of.weld(addon("mesh_exchange.arrays").vertex_positions(mesh)).tolist()
    first: dict[tuple[float, ...], int] = {}
    assert welded == [first.setdefault(tuple(v.co), v.index) for v in mesh.vertices]
    at_edge: dict[tuple[int, int], list[int]] = {}
    for polygon in mesh.polygons:
        for a, b in polygon.edge_keys:
            at_edge.setdefault((min(welded[a], welded[b]), max(welded[a], welded[b])), []).append(
                polygon.index
            )
    assert split or max(map(len, at_edge.values())) > 2  # where two blocks meet in an edge only
    plain = sorted(
        (*sorted(pair), *key)
        for key, polygons in at_edge.items()
        for pair in zip(sorted(polygons), sorted(polygons)[1:], strict=False)
    )
    graph = graph_of.build_polygon_graph(mesh)
    ends = [[welded[vertex] for vertex in mesh.edges[edge].vertices] for edge in graph.edges.tolist()]
    found = [(*sorted(pair), min(a), max(a)) for pair, a in zip(graph.pairs.tolist(), ends, strict=True)]
    assert sorted(found) == plain
    spans = [(mesh.vertices[a].co - mesh.vertices[b].co).length for a, b in ends]
    np.testing.assert_allclose(graph.lengths, spans, rtol=1e-5)


def test_equal_places_are_equal_whatever_their_sign_of_zero(addon: Addon) -> None:
    weld = addon("parts.polygon_graph").weld
    nan = np.nan
    positions = np.array([(0, 1, 2), (-0.0, 1, 2), (nan, 0, 0), (nan, 0, 0), (0, 1, 2)], dtype=np.float32)
    assert weld(positions).tolist() == [0, 0, 2, 3, 0]
    assert weld(positions[:0]).tolist() == []


def test_areas_of_triangles_are_those_of_blender(addon: Addon, doubled: Labeled) -> None:
    mesh = doubled[0].data
    found = addon("mesh_exchange.arrays").polygon_areas(mesh)
    np.testing.assert_allclose(found, [polygon.area for polygon in mesh.polygons], rtol=1e-5)


def test_distinct_values(addon: Addon) -> None:
    distinct = addon("mesh_exchange.arrays").distinct
    for values in ([3, 0, 3, 7], [10_000_000, 5], []):
        present, places = distinct(np.array(values, dtype=np.int64))
        assert present.tolist() == sorted(set(values))
        assert present[places].tolist() == values


@pytest.mark.parametrize("change", ["labels", "shape", "table", "nothing"])
def test_what_a_script_changes_is_noticed(addon: Addon, change: str) -> None:
    parts, settled = addon("parts"), addon("parts.settled")
    mesh = grid(4).data
    parts.write_labels(mesh, np.repeat([0, 1], 8))
    parts.bring_together(mesh)
    faces = addon("parts.table").read_faces(mesh)
    assert settled.is_settled(mesh, faces)
    if change == "labels":
        mesh.attributes["partsam_part"].data[0].value = 2
    elif change == "shape":
        mesh.vertices[0].co.x -= 1
    elif change == "table":
        mesh.partsam.parts[0].face_count = 3
    assert settled.is_settled(mesh, addon("parts.table").read_faces(mesh)) == (change == "nothing")
    parts.bring_together(mesh)
    assert [part.face_count for part in mesh.partsam.parts] == ([7, 9] if change == "labels" else [8, 8])
    assert mesh.partsam.area == pytest.approx(sum(polygon.area for polygon in mesh.polygons))


def test_interior_faces_are_those_that_no_ray_leaves(addon: Addon) -> None:
    interior = addon("repair.interior")
    mesh = _nested_boxes().data
    rays, openness = 16, 0.05
    arrays = addon("mesh_exchange.arrays")
    of_corner, triangles = arrays.corner_vertices(mesh), arrays.triangle_corners(mesh)
    points, owners = interior._ray_starts(arrays.vertex_positions(mesh), of_corner, *triangles)
    lift = 1e-5 * float(np.linalg.norm(np.ptp(points, axis=0)))
    tree = BVHTree.FromPolygons([v.co for v in mesh.vertices], [tuple(p.vertices) for p in mesh.polygons])
    total, escaped = np.zeros(len(mesh.polygons)), np.zeros(len(mesh.polygons))
    for point, owner in zip(points, owners, strict=True):
        for direction in interior.sphere_directions(rays):
            total[owner] += 1
            escaped[owner] += tree.ray_cast(Vector(point + lift * direction), Vector(direction))[0] is None
    found = interior.interior_faces(mesh, rays=rays, openness=openness)
    assert found.tolist() == (escaped <= np.floor(total * openness)).tolist()
    assert 0 < found.sum() < len(found)


def _nested_boxes() -> bpy.types.Object:
    """A box of unit quads with a lid ajar, wound inwards in part, around a smaller one."""
    obj, _ = voxels({1: ((0, 0, 0), (5, 5, 5))})
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.primitive_cube_add(size=1.5, location=(2.4, 2.5, 2.6), rotation=(0.3, 0.1, 0))
    bpy.ops.mesh.subdivide(number_cuts=2)
    bpy.ops.object.mode_set(mode="OBJECT")
    for polygon in list(obj.data.polygons)[::3]:
        polygon.flip()
    obj.data.update()
    return obj


@pytest.mark.parametrize("scale", [0.02, 0.3, 1.5])
def test_pixels_of_triangles_are_those_inside(addon: Addon, scale: float) -> None:
    size, random = 24, np.random.default_rng(5)
    triangles = random.random((60, 1, 2)) + scale * (random.random((60, 3, 2)) - 0.5)
    triangles[::4] = np.round(triangles[::4] * size) / size  # edges through corners of pixels
    triangles[1::4] = (np.round(triangles[1::4] * size) + 0.5) / size  # and through their centres
    canvas = np.full((size, size), -1)
    for value, corners in enumerate(triangles.astype(np.float64)):
        a, b, c = (corners - np.floor(corners.min(axis=0))) * size - 0.5
        turn = np.sign((b - a)[0] * (c - a)[1] - (b - a)[1] * (c - a)[0])
        low, high = np.min([a, b, c], axis=0), np.max([a, b, c], axis=0)
        for y in range(int(np.ceil(low[1])), int(np.floor(high[1])) + 1):
            for x in range(int(np.ceil(low[0])), int(np.floor(high[0])) + 1):
                heights = [
                    turn * ((q - p)[0] * (y - p[1]) - (q - p)[1] * (x - p[0]))
                    for p, q in ((a, b), (b, c), (c, a))
                ]
                if turn != 0 and min(heights) >= -1e-9:
                    canvas[y % size, x % size] = value
    found = addon("steps").finish(
        addon("retexture.id_map").rasterize(triangles, np.arange(60, dtype=np.int32), size)
    )
    assert (found == canvas).all()


def test_measures_of_a_part_are_those_of_points_on_it(addon: Addon) -> None:
    random = np.random.default_rng(1)
    points, triangles = random.random((9, 3)) * (4, 2, 1), random.integers(0, 9, (30, 3)).astype(np.int32)
    shape = addon("rigging.part_shapes").measure_parts(points, triangles, np.full(30, 7))[7]
    a, b, c = (points[triangles[:, k]] for k in range(3))
    areas = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    assert shape.area == pytest.approx(areas.sum())
    # The middles of the sides integrate what is quadratic over a triangle exactly.
    middles = np.concatenate([(a + b) / 2, (b + c) / 2, (c + a) / 2])
    weights = np.tile(areas, 3) / (3 * areas.sum())
    np.testing.assert_allclose(shape.center, weights @ middles)
    moment = np.einsum("n,ni,nj->ij", weights, middles - shape.center, middles - shape.center)
    np.testing.assert_allclose((shape.axes.T * shape.spread**2) @ shape.axes, moment, atol=1e-12)
    used = points[np.unique(triangles)]
    assert (shape.low == used.min(axis=0)).all() and (shape.high == used.max(axis=0)).all()


def test_layers_of_a_mesh_in_edit_mode(addon: Addon) -> None:
    elements, mesh = addon("mesh_exchange.elements"), grid(3).data
    addon("parts").write_labels(mesh, np.arange(9))
    bpy.ops.object.mode_set(mode="EDIT")
    edit_mesh = bmesh.from_edit_mesh(mesh)
    layer = edit_mesh.faces.layers.int["partsam_part"]
    found = elements.read_edit_integers(edit_mesh, "partsam_part")
    assert found.tolist() == [face[layer] for face in edit_mesh.faces] == list(range(1, 10))
    assert elements.read_edit_integers(edit_mesh, "none of these") is None
