# SPDX-License-Identifier: GPL-3.0-or-later
"""Islands and regions with known answers, and against a slow, literal reading of the rules."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from backend.geometry import Mesh, face_centroids
from backend.refinement import (
    build_face_graph,
    connect_labels,
    dissolve_islands,
    dissolve_small_regions,
    number_regions,
)
from tests.built_meshes import cube, joined, plate, renumbered

Labels = NDArray[np.integer]


def path_graph(lengths: list[float]) -> tuple[Labels, NDArray[np.float64]]:
    """Nodes in a row, with the border length between each and the next."""
    nodes = np.arange(len(lengths))
    return np.stack([nodes, nodes + 1], axis=1), np.array(lengths, dtype=float)


def painted(mesh: Mesh, rules: list[tuple[float, float, float, float, int]], base: int = 0) -> Labels:
    """Label of each face of a plate: `base`, then rectangles (x0, x1, y0, y1, label) painted over it."""
    x, y, _ = face_centroids(mesh).T
    labels = np.full(mesh.face_count, base)
    for x0, x1, y0, y1, label in rules:
        labels[(x > x0) & (x < x1) & (y > y0) & (y < y1)] = label
    return labels


def test_island_takes_the_label_around_it_and_the_part_itself_stays() -> None:
    mesh = plate(100, 100)
    labels = painted(mesh, [(0, 30, 0, 100, 1), (60, 61, 50, 51, 1), (10, 11, 20, 21, 0)])
    expected = painted(mesh, [(0, 30, 0, 100, 1)])
    assert (dissolve_islands(build_face_graph(mesh), labels) == expected).all()


@pytest.mark.parametrize(("side", "stays"), [(1, False), (2, True)])
def test_feature_size_is_relative_to_the_diagonal(side: int, stays: bool) -> None:
    mesh = plate(100, 100, size=0.02)  # diagonal 141 squares: the limit is an island of 1.41 squares' side
    labels = painted(mesh, [(0, 0.6, 0, 2, 1), (1.2, 1.2 + 0.02 * side, 1, 1 + 0.02 * side, 1)])
    dissolved = dissolve_islands(build_face_graph(mesh), labels, min_size=0.01)
    assert ((dissolved == labels).all()) == stays


def test_longest_border_wins() -> None:
    mesh = plate(100, 100)
    # An island of 3 x 1 squares, one long side on label 1, the rest on label 2.
    labels = painted(
        mesh, [(0, 50, 0, 100, 1), (50, 100, 0, 100, 2), (90, 93, 90, 93, 0), (49, 50, 40, 43, 0)]
    )
    labels[painted(mesh, [(0, 20, 0, 20, 9)]) == 9] = 0
    dissolved = dissolve_islands(build_face_graph(mesh), labels, min_size=0.03)
    inside = painted(mesh, [(49, 50, 40, 43, 5)]) == 5
    assert (dissolved[inside] == 1).all(), "1 holds three sides of it"
    assert (dissolved[painted(mesh, [(90, 93, 90, 93, 5)]) == 5] == 2).all()


def test_only_region_of_a_label_stays_down_to_noise() -> None:
    mesh = plate(200, 200)  # diagonal 283: min 2.83 squares' side, noise 0.71
    labels = painted(mesh, [(100, 102, 100, 102, 1), (50, 51, 50, 51, 2)])
    graph = build_face_graph(mesh)
    assert (dissolve_islands(graph, labels) == labels).all()
    dissolved = dissolve_islands(graph, labels, noise_size=0.005)
    assert (dissolved[labels == 1] == 1).all()
    assert (dissolved[labels == 2] == 0).all()


def test_twins_stay_and_their_crumbs_go() -> None:
    mesh = plate(200, 200)
    eyes = [(80, 82, 100, 102, 1), (120, 122, 100, 102, 1)]
    labels = painted(mesh, [*eyes, (20, 21, 20, 21, 1)])
    assert (dissolve_islands(build_face_graph(mesh), labels) == painted(mesh, eyes)).all()


def test_button_of_its_own_shell_stays_however_small() -> None:
    button = cube(center=(50, 50, 0.06), side=0.1)  # 0.24 of 141: below what counts as noise
    mesh = joined(plate(100, 100), button)
    labels = np.repeat([0, 1], [20_000, 12])
    graph = build_face_graph(mesh)
    assert graph.is_link.any(), "there is a neighbour that could take it"
    assert (dissolve_islands(graph, labels) == labels).all()
    # The same shell with the label of a larger part elsewhere is debris.
    labels[painted(plate(100, 100), [(0, 20, 0, 20, 1)]).nonzero()[0]] = 1
    dissolved = dissolve_islands(graph, labels)
    assert (dissolved[20_000:] == 0).all()
    # A corner of the button is no shell.
    labels = np.repeat([0, 1, 2], [20_000, 10, 2])
    assert (dissolve_islands(graph, labels)[20_000:] == 1).all()


def test_island_that_keeps_two_regions_apart_joins_all_three() -> None:
    edges, lengths = path_graph([2, 1, 1])
    areas = np.array([1, 0.1, 1, 5])
    merged = dissolve_small_regions(areas, edges, lengths, np.array([7, 3, 7, 3]), min_area=0.5)
    assert merged.tolist() == [7, 7, 7, 3]
    # Alone each of the outer ones is an island of 7, together they are not.
    areas = np.array([1, 0.1, 1, 5, 20])
    edges, lengths = path_graph([2, 1, 1, 1])
    merged = dissolve_small_regions(areas, edges, lengths, np.array([7, 3, 7, 3, 7]), min_area=1.9)
    assert merged.tolist() == [7, 7, 7, 3, 7]
    # If one of the two was the part itself (here: half of the largest), so is the whole.
    areas = np.array([1.5, 0.1, 0.5, 5, 2.9])
    merged = dissolve_small_regions(areas, edges, lengths, np.array([7, 3, 7, 3, 7]), min_area=2.5)
    assert merged.tolist() == [7, 7, 7, 3, 7]


def test_smallest_go_first_and_may_save_each_other() -> None:
    edges, lengths = path_graph([1, 5, 1])
    labels = np.array([0, 1, 2, 3])
    areas = np.array([10, 0.6, 0.5, 10])
    everything_else = np.array([[0, 4], [0, 5]])
    # 1 and 2 have large regions elsewhere, so that both are islands here.
    areas, labels = np.append(areas, [10, 10]), np.append(labels, [1, 2])
    edges, lengths = np.concatenate([edges, everything_else]), np.append(lengths, [1, 1])
    assert dissolve_small_regions(areas, edges, lengths, labels, min_area=1).tolist() == [0, 1, 1, 3, 1, 2]
    assert dissolve_small_regions(areas, edges, lengths, labels, min_area=2).tolist() == [0, 0, 0, 3, 1, 2]


def test_region_without_neighbours_stays() -> None:
    none = np.zeros((0, 2), dtype=int)
    labels = np.array([0, 0, 1])
    assert dissolve_small_regions(np.array([9, 0.1, 5]), none, np.zeros(0), labels, min_area=1).tolist() == [
        0,
        0,
        1,
    ]
    assert dissolve_small_regions(np.zeros(0), none, np.zeros(0), np.zeros(0, int), min_area=1).size == 0


def near_cubes() -> tuple[Mesh, Labels]:
    """Two cubes with a narrow gap between them, and the faces of the first that look into it."""
    mesh = joined(cube(), cube(center=(1.001, 0, 0)))
    facing = np.flatnonzero((face_centroids(mesh)[:, 0] > 0.49) & (np.arange(24) < 12))
    assert len(facing) == 2
    return mesh, facing


def test_a_real_border_outweighs_any_link() -> None:
    mesh, facing = near_cubes()
    labels = np.repeat([0, 1], 12)
    labels[facing] = 2
    dissolved = dissolve_islands(build_face_graph(mesh), labels, min_size=0.6, noise_size=0.6)
    assert (dissolved == np.repeat([0, 1], 12)).all()


def test_a_label_that_leaks_across_a_gap_is_an_island_there() -> None:
    mesh, facing = near_cubes()
    labels = np.repeat([0, 1], 12)
    labels[facing] = 1
    graph = build_face_graph(mesh)
    assert connect_labels(graph, labels).max() == 1, "over the links it is connected"
    assert (dissolve_islands(graph, labels, min_size=0.6) == np.repeat([0, 1], 12)).all()


def test_a_small_shell_next_to_its_own_part_is_no_island() -> None:
    # It lies over the other label, and within reach of its own.
    mesh = joined(plate(100, 100), cube(center=(40.6, 50, 0.11), side=0.2))
    labels = np.append(painted(plate(100, 100), [(0, 40, 0, 100, 1)]), np.ones(12, dtype=int))
    graph = build_face_graph(mesh)
    linked = labels[graph.edges[graph.is_link].min(axis=1)]
    assert (linked == 0).sum() > (linked == 1).sum() > 0
    assert (dissolve_islands(graph, labels) == labels).all()


def test_connected_regions_are_numbered_by_label_and_first_face() -> None:
    edges, _ = path_graph([1] * 6)
    labels = np.array([5, 5, 2, 2, 5, 2, 9])
    assert number_regions(7, edges, labels).tolist() == [2, 2, 0, 0, 3, 1, 4]
    mesh = plate(4, 1)
    striped = np.array([0, 0, 1, 1, 0, 0, 1, 1])
    assert connect_labels(build_face_graph(mesh), striped).tolist() == [0, 0, 2, 2, 1, 1, 3, 3]


def test_links_connect_labels_unless_told_otherwise() -> None:
    graph = build_face_graph(joined(cube(), cube(center=(1.01, 0, 0)), cube(center=(5, 0, 0))))
    labels = np.zeros(36, dtype=int)
    assert connect_labels(graph, labels).tolist() == [0] * 24 + [1] * 12
    assert connect_labels(graph, labels, across_links=False).tolist() == [0] * 12 + [1] * 12 + [2] * 12


@given(seed=st.integers(0, 10_000))
def test_regions_are_connected_maximal_and_pure(seed: int) -> None:
    random = np.random.default_rng(seed)
    edges = random.integers(0, 40, (50, 2))
    labels = random.integers(0, 4, 40)
    regions = number_regions(40, edges, labels)
    assert sorted(set(regions.tolist())) == list(range(regions.max() + 1))
    for region in range(regions.max() + 1):
        nodes = np.flatnonzero(regions == region)
        assert len(set(labels[nodes].tolist())) == 1
        reached, grown = set(), {int(nodes[0])}
        while grown != reached:
            reached = set(grown)
            for a, b in edges.tolist():
                if labels[a] == labels[b] and (a in grown or b in grown):
                    grown |= {a, b}
        assert reached == set(nodes.tolist())


def dissolved_literally(
    areas: NDArray[np.float64],
    edges: Labels,
    lengths: NDArray[np.float64],
    labels: Labels,
    *,
    min_area: float,
    noise_area: float,
) -> Labels:
    """The documented rules, with everything found anew after each step."""
    labels, count = labels.copy(), len(labels)
    regions = number_regions(count, edges, labels)
    area_of = np.bincount(regions, areas)
    limits = np.zeros(count)
    for label in set(labels.tolist()):
        of_label = sorted(set(regions[labels == label].tolist()))
        largest = max(area_of[r] for r in of_label)
        for region in of_label:
            main = area_of[region] >= largest / 2
            limits[regions == region] = min(noise_area, min_area) if main else min_area
    while True:
        regions = number_regions(count, edges, labels)
        candidates = []
        for region in range(regions.max() + 1):
            inside = regions == region
            limit = limits[inside].min()
            limits[inside] = limit  # of united regions the lower limit holds
            crossing = inside[edges[:, 0]] != inside[edges[:, 1]]
            if areas[inside].sum() < limit and crossing.any():
                candidates.append((areas[inside].sum(), region, crossing))
        if not candidates:
            return labels
        _, island, crossing = min(candidates)
        inside = regions == island
        outer = np.where(inside[edges[crossing, 0]], edges[crossing, 1], edges[crossing, 0])
        target = int(np.bincount(regions[outer], lengths[crossing]).argmax())
        labels[inside] = labels[regions == target][0]
        limits[inside] = limits[regions == target][0]


@settings(max_examples=150)
@given(
    seed=st.integers(0, 100_000),
    nodes=st.integers(2, 30),
    label_count=st.integers(2, 5),
    min_area=st.floats(0, 6),
    noise_area=st.floats(0, 2),
)
def test_dissolving_follows_the_rules_to_the_letter(
    seed: int, nodes: int, label_count: int, min_area: float, noise_area: float
) -> None:
    random = np.random.default_rng(seed)
    edges = random.integers(0, nodes, (2 * nodes, 2))
    lengths, areas = random.uniform(0.1, 1, len(edges)), random.uniform(0.1, 2, nodes)
    labels = random.integers(0, label_count, nodes)
    limits = {"min_area": min_area, "noise_area": noise_area}
    expected = dissolved_literally(areas, edges, lengths, labels, **limits)
    assert dissolve_small_regions(areas, edges, lengths, labels, **limits).tolist() == expected.tolist()


def test_vertex_order_place_and_scale_do_not_matter() -> None:
    mesh = plate(60, 60)
    random = np.random.default_rng(0)
    labels = painted(mesh, [(0, 25, 0, 60, 1), (25, 60, 0, 30, 2)])
    noisy = random.random(len(labels)) < 0.15
    labels[noisy] = random.integers(0, 3, noisy.sum())
    expected = dissolve_islands(build_face_graph(mesh), labels, min_size=0.03)
    assert len(np.unique(connect_labels(build_face_graph(mesh), expected))) == 3
    moved = Mesh(mesh.vertices * 128 + [3, 4, 5], mesh.triangles)
    for other in (renumbered(mesh, seed=1), moved):
        assert (dissolve_islands(build_face_graph(other), labels, min_size=0.03) == expected).all()
