# SPDX-License-Identifier: GPL-3.0-or-later
"""The face graph against known angles, and against brute force on arbitrary triangles."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.errors import MeshError
from backend.geometry import Mesh
from backend.refinement import FaceGraph, build_face_graph
from backend.refinement.face_graph import _sorted_edges
from backend.refinement.welding import weld_vertices
from tests.built_meshes import cube, joined, plate, renumbered, two_spheres, unwelded, with_flipped

small_meshes = st.builds(
    lambda seed, vertices, faces, grid: Mesh(
        np.random.default_rng(seed).integers(0, grid, (vertices, 3)).astype(float),
        np.random.default_rng(seed + 1).integers(0, vertices, (faces, 3)),
    ),
    seed=st.integers(0, 2**32),
    vertices=st.integers(3, 12),
    faces=st.integers(1, 12),
    grid=st.integers(2, 4),
)


def pair_counts(graph: FaceGraph) -> Counter[tuple[int, int]]:
    return Counter(tuple(sorted(pair)) for pair in graph.edges[~graph.is_link].tolist())


def angles_by_pair(graph: FaceGraph) -> dict[tuple[int, int], float]:
    return {
        tuple(sorted(pair)): angle for pair, angle in zip(graph.edges.tolist(), graph.dihedral, strict=True)
    }


def assert_same_angles(graph: FaceGraph, other: FaceGraph) -> None:
    expected = angles_by_pair(graph)
    actual = angles_by_pair(other)
    assert actual.keys() == expected.keys()
    assert [actual[pair] for pair in expected] == pytest.approx(list(expected.values()), abs=1e-6)


def test_cube_has_ridges_of_a_right_angle_and_flat_diagonals() -> None:
    graph = build_face_graph(cube(side=2))
    assert len(graph.edges) == 18
    diagonal = np.isclose(graph.edge_length, 2 * np.sqrt(2))
    assert diagonal.sum() == 6
    assert graph.dihedral[diagonal] == pytest.approx(0, abs=1e-12)
    assert graph.dihedral[~diagonal] == pytest.approx(np.pi / 2)
    assert graph.edge_length[~diagonal] == pytest.approx(2)
    assert graph.face_areas == pytest.approx(2)
    assert graph.diagonal == pytest.approx(2 * np.sqrt(3))


def test_neck_between_two_spheres_is_the_only_valley() -> None:
    mesh = two_spheres()
    graph = build_face_graph(mesh)
    upper = mesh.corners().mean(axis=1)[:, 2] > 0
    at_neck = upper[graph.edges[:, 0]] != upper[graph.edges[:, 1]]
    assert at_neck.sum() == 36
    assert (graph.dihedral[at_neck] < -1).all()
    assert (graph.dihedral[~at_neck] > -1e-9).all()


@given(angle=st.floats(-2.7, 2.7), flip=st.booleans(), scale=st.sampled_from([1e-3, 1.0, 1e4]))
def test_open_fold_has_the_angle_it_was_built_with(angle: float, flip: bool, scale: float) -> None:
    vertices = np.array([[0, 0, 0], [0, 1, 0], [-1, 0.5, 0], [np.cos(angle), 0.5, -np.sin(angle)]])
    sheet = Mesh(vertices * scale, np.array([[0, 1, 2], [1, 0, 3]]))
    graph = build_face_graph(with_flipped(sheet, np.array([flip, flip])))
    # Seen from the back, a ridge is a valley.
    assert graph.dihedral == pytest.approx(-angle if flip else angle)


@given(seed=st.integers(0, 1000), inside_out=st.booleans())
def test_careless_winding_of_a_closed_mesh_changes_no_angle(seed: int, inside_out: bool) -> None:
    mesh = two_spheres(rings=6, around=8)
    random_flips = np.random.default_rng(seed).random(mesh.face_count) < 0.4
    flips = np.ones_like(random_flips) if inside_out else random_flips
    assert_same_angles(build_face_graph(mesh), build_face_graph(with_flipped(mesh, flips)))


def test_moebius_strip_survives() -> None:
    steps, width = 20, 0.3
    turn = np.arange(steps) * (2 * np.pi / steps)
    edge = []
    for side in (-width, width):
        radius = 1 + side * np.cos(turn / 2)
        edge.append(np.stack([radius * np.cos(turn), radius * np.sin(turn), side * np.sin(turn / 2)], axis=1))
    low, high = np.arange(steps), np.arange(steps) + steps
    next_low, next_high = np.roll(low, -1), np.roll(high, -1)
    next_low[-1], next_high[-1] = steps, 0  # half a turn
    triangles = np.stack([low, next_low, next_high, low, next_high, high], axis=1).reshape(-1, 3)
    graph = build_face_graph(Mesh(np.concatenate(edge), triangles))
    assert len(graph.edges) == 2 * steps
    assert np.abs(graph.dihedral).max() < 0.8  # bends gently everywhere, also where windings clash


@pytest.mark.parametrize("jitter", [0.0, 1e-8])
def test_seams_do_not_cut_the_graph(jitter: float) -> None:
    mesh = two_spheres(rings=6, around=10)
    seams = unwelded(mesh)
    noise = np.random.default_rng(0).uniform(-jitter, jitter, seams.vertices.shape)
    torn = build_face_graph(Mesh(seams.vertices + noise, seams.triangles), link_shells=False)
    whole = build_face_graph(mesh, link_shells=False)
    assert pair_counts(torn) == pair_counts(whole)
    assert_same_angles(whole, torn)


def test_tolerance_of_zero_welds_equal_places_only() -> None:
    mesh = unwelded(cube())
    assert len(build_face_graph(mesh, weld_tolerance=0, link_shells=False).edges) == 18
    nudged = Mesh(mesh.vertices + np.repeat(np.arange(12), 3)[:, None] * 1e-9, mesh.triangles)
    assert len(build_face_graph(nudged, weld_tolerance=0, link_shells=False).edges) == 0
    assert len(build_face_graph(nudged, weld_tolerance=1e-6, link_shells=False).edges) == 18


@pytest.mark.parametrize("tolerance", [1e-6, 1e-4, 4e-4])
def test_welding_joins_all_that_is_near_and_nothing_that_is_far(tolerance: float) -> None:
    random = np.random.default_rng(0)
    # A lattice so coarse that no two of its places are near.
    cells = random.permutation(60**3)[:20_000]
    places = np.stack([cells // 3600, cells // 60 % 60, cells % 60], axis=1) / 60
    places += random.uniform(-1e-3, 1e-3, places.shape)
    direction = random.normal(size=places.shape)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    diagonal = np.linalg.norm(np.ptp(places, axis=0))
    near = places + 0.99 * tolerance * diagonal * direction
    group_of, positions = weld_vertices(np.concatenate([places, near]), tolerance=tolerance)
    assert (group_of[:20_000] == group_of[20_000:]).all()
    assert len(positions) == 20_000 == len(np.unique(group_of))
    assert (positions[group_of[:20_000]] == places).all()
    far = places + 7.01 * tolerance * diagonal * direction
    group_of, _ = weld_vertices(np.concatenate([places, far]), tolerance=tolerance)
    assert (group_of[:20_000] != group_of[20_000:]).all()


@settings(max_examples=60)
@given(mesh=small_meshes)
def test_adjacency_equals_brute_force_on_arbitrary_triangles(mesh: Mesh) -> None:
    try:
        graph = build_face_graph(mesh)
    except MeshError:
        return
    places = [{tuple(mesh.vertices[v]) for v in triangle} for triangle in mesh.triangles]
    sides = [
        Counter(frozenset(pair) for pair in _sides(mesh.vertices[triangle])) for triangle in mesh.triangles
    ]
    around = Counter(side for face in sides for side in face.elements())
    for first, second in combinations(range(mesh.face_count), 2):
        common = set(sides[first]) & set(sides[second])
        joined_here = pair_counts(graph)[first, second] > 0
        if not common:
            assert not joined_here
        elif max(around[side] for side in common) <= 8:
            assert joined_here
            assert len(places[first] & places[second]) >= 2
    assert len(graph.face_areas) == mesh.face_count == len(graph.shells)
    assert (graph.edges[:, 0] != graph.edges[:, 1]).all()
    assert np.isfinite(graph.dihedral).all() and np.isfinite(graph.edge_length).all()
    assert (np.abs(graph.dihedral) <= np.pi).all() and (graph.edge_length >= 0).all()
    across = graph.shells[graph.edges[:, 0]] != graph.shells[graph.edges[:, 1]]
    assert (across == graph.is_link).all()


def _sides(corners: np.ndarray) -> list[tuple[tuple[float, ...], tuple[float, ...]]]:
    places = [tuple(corner) for corner in corners.tolist()]
    return [(a, b) for a, b in zip(places, places[1:] + places[:1], strict=True) if a != b]


def test_book_of_many_pages_is_connected_in_linear_space() -> None:
    pages = 3000
    turn = np.linspace(0, 2 * np.pi, pages, endpoint=False)
    outer = np.stack([np.cos(turn), np.sin(turn), np.full(pages, 0.5)], axis=1)
    vertices = np.concatenate([[[0, 0, 0], [0, 0, 1]], outer])
    triangles = np.stack([np.zeros(pages), np.ones(pages), np.arange(pages) + 2], axis=1).astype(int)
    graph = build_face_graph(Mesh(vertices, triangles))
    assert graph.shells.max() == 0
    assert len(graph.edges) < 7 * pages


def test_three_faces_at_one_edge_all_meet() -> None:
    vertices = np.array([[0, 0, 0], [0, 0, 1], [1, 0, 0], [-1, 0, 0], [0, 1, 0]], dtype=float)
    graph = build_face_graph(Mesh(vertices, np.array([[0, 1, 2], [1, 0, 3], [0, 1, 4]])))
    assert pair_counts(graph) == {(0, 1): 1, (0, 2): 1, (1, 2): 1}
    flat = angles_by_pair(graph)
    assert flat[0, 1] == pytest.approx(0)
    assert abs(flat[0, 2]) == abs(flat[1, 2]) == pytest.approx(np.pi / 2)


@pytest.mark.parametrize("reverse", [False, True])
def test_copies_of_a_face_lie_flat_on_each_other(reverse: bool) -> None:
    mesh = cube()
    copy = mesh.triangles[:, ::-1] if reverse else mesh.triangles
    graph = build_face_graph(Mesh(mesh.vertices, np.concatenate([mesh.triangles, copy])))
    assert graph.face_count == 24
    assert graph.shells.max() == 0
    copies = np.abs(graph.edges[:, 0] - graph.edges[:, 1]) == 12
    assert copies.sum() == 36  # three sides each
    assert (graph.dihedral[copies] == 0).all()


def test_collapsed_faces_survive() -> None:
    mesh = cube()
    collapsed = np.array([[0, 0, 1], [5, 5, 5]])
    graph = build_face_graph(Mesh(mesh.vertices, np.concatenate([mesh.triangles, collapsed])))
    assert graph.face_count == 14
    assert (graph.face_areas[12:] == 0).all()
    assert (graph.edges == 12).any(), "a face collapsed to an edge touches the faces at that edge"
    assert (graph.edges[graph.is_link] == 13).any(), "a face collapsed to a point is linked"
    assert np.isfinite(graph.dihedral).all()


def test_sliver_in_a_crease_passes_the_crease_on() -> None:
    # Two faces at a right angle; between them a triangle without height, as T-junctions leave behind.
    vertices = np.array([[0, 0, 0], [0, 1, 0], [0, 0.5, 0], [-1, 0.5, 0], [0, 0, -1.0]])
    triangles = np.array([[0, 1, 3], [1, 0, 2], [2, 0, 4], [1, 2, 4]])
    graph = build_face_graph(Mesh(vertices, triangles))
    angles = angles_by_pair(graph)
    total = angles[0, 1] + angles[1, 2]
    assert total == pytest.approx(np.pi / 2)
    assert {round(abs(angle), 6) for angle in (angles[0, 1], angles[1, 2])} == {0.0, round(np.pi / 2, 6)}


def test_near_shells_are_linked_and_far_ones_are_not() -> None:
    near = build_face_graph(joined(cube(), cube(center=(1.01, 0, 0))))
    assert near.is_link.any()
    assert set(near.shells) == {0, 1}
    crossing = near.shells[near.edges[:, 0]] != near.shells[near.edges[:, 1]]
    assert (crossing == near.is_link).all()
    facing = {2 * side + half for side in (5,) for half in (0, 1)}  # the first cube's side x = 0.5
    assert {int(face) for face in near.edges[near.is_link].min(axis=1)} & facing
    assert not build_face_graph(joined(cube(), cube(center=(3, 0, 0)))).is_link.any()
    assert not build_face_graph(joined(cube(), cube(center=(1.01, 0, 0))), link_shells=False).is_link.any()


def test_small_shell_above_one_large_face_is_linked() -> None:
    button = cube(center=(0.7, 0.4, 0.011), side=0.02)
    graph = build_face_graph(joined(plate(1, 1), button))
    assert graph.is_link.any()


def test_triangle_soup_is_linked_in_bounded_space() -> None:
    random = np.random.default_rng(0)
    corners = random.uniform(size=(3000, 1, 3)) + 0.02 * random.normal(size=(3000, 3, 3))
    graph = build_face_graph(Mesh(corners.reshape(-1, 3), np.arange(9000).reshape(-1, 3)))
    assert graph.is_link.all() and len(graph.edges) > 2000
    assert len(graph.edges) < 2 * (20_000 + 4 * 3000)


@given(seed=st.integers(0, 1000))
def test_vertex_order_does_not_matter(seed: int) -> None:
    mesh = two_spheres(rings=5, around=7)
    graph, other = build_face_graph(mesh), build_face_graph(renumbered(mesh, seed=seed))
    assert pair_counts(graph) == pair_counts(other)
    assert_same_angles(graph, other)


@settings(max_examples=12)  # links make each graph cost a tenth of a second
@given(scale=st.floats(1e-3, 1e5), shift=st.floats(-1e3, 1e3))
def test_translation_and_scale_do_not_matter(scale: float, shift: float) -> None:
    mesh = joined(two_spheres(rings=5, around=7), cube(center=(0, 0, 2.31)))
    moved = Mesh(mesh.vertices * scale + shift * scale, mesh.triangles)
    graph, other = build_face_graph(mesh), build_face_graph(moved)
    assert pair_counts(graph) == pair_counts(other)
    assert_same_angles(graph, other)
    assert other.face_areas == pytest.approx(graph.face_areas * scale**2, rel=1e-6)
    assert other.diagonal == pytest.approx(graph.diagonal * scale)


@pytest.mark.parametrize("part", ["vertices", "triangles"])
def test_meshes_that_cannot_be_segmented_are_refused(part: str) -> None:
    mesh = cube()
    vertices = mesh.vertices.copy()
    vertices[3] = np.nan
    broken = Mesh(vertices, mesh.triangles) if part == "vertices" else Mesh(mesh.vertices, np.zeros((0, 3)))
    with pytest.raises(MeshError):
        build_face_graph(broken)


def test_unused_vertices_may_be_anything() -> None:
    mesh = cube()
    padded = Mesh(np.concatenate([[[np.nan] * 3, [1e9] * 3], mesh.vertices]), mesh.triangles + 2)
    assert_same_angles(build_face_graph(mesh), build_face_graph(padded))
    assert build_face_graph(padded).diagonal == build_face_graph(mesh).diagonal


@pytest.mark.parametrize("large", [1, 1 << 44])
def test_half_edges_come_in_the_order_of_their_edges(large: int) -> None:
    """In one number with the edge where that fits, beside it where not."""
    keys = large * np.random.default_rng(0).integers(0, 40, 90)
    numbers = np.sort(np.random.default_rng(1).permutation(3 * 10**6)[:90]).astype(np.int32)
    order = np.argsort(keys, kind="stable")
    key, half_edges = _sorted_edges(keys.copy(), numbers)
    np.testing.assert_array_equal(key, keys[order])
    np.testing.assert_array_equal(half_edges, numbers[order])
    assert half_edges.dtype == np.int32
