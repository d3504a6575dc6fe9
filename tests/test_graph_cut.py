# SPDX-License-Identifier: GPL-3.0-or-later
"""The graph cut against brute force, the textbook's construction, and on shapes with known borders."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from backend.benchmarks.graph_cut import lumpy_torus, measure_cut, measure_once, soft_evidence
from backend.benchmarks.textbook_cut import reference_expansion, reference_sweep
from backend.errors import Cancelled
from backend.geometry import Mesh, face_centroids
from backend.refinement import (
    build_face_graph,
    dissolve_islands,
    refine_labels,
    refine_labels_published,
)
from backend.refinement.adjacency import Adjacency
from backend.refinement.band_problem import BandProblem
from backend.refinement.energy import (
    EnergySettings,
    PottsEnergy,
    crease_factors,
    evidence_energy,
    part_size_factors,
    published_energy,
)
from backend.refinement.graph_cut import border_band, default_band_rings, minimize
from backend.refinement.mask import refine_mask
from backend.refinement.minimum_cut import minimum_cut
from tests.brute_force import best_expansion, lowest_energy
from tests.built_meshes import cube, joined, plate, renumbered, two_spheres


@dataclass(frozen=True)
class Table:
    """Data costs from a table, float64 [F, P]."""

    costs: NDArray[np.float64]

    def __call__(self, faces: NDArray[np.integer], labels: NDArray[np.integer] | int) -> NDArray[np.float64]:
        return self.costs[faces, labels]


def random_problem(
    seed: int, faces: int, labels: int, smoothness: float
) -> tuple[PottsEnergy, NDArray[np.int32]]:
    """A random graph (parallel edges and zero weights included), random costs and random labels."""
    random = np.random.default_rng(seed)
    edges = random.integers(0, faces, (2 * faces, 2))
    edges = edges[edges[:, 0] != edges[:, 1]]
    weights = smoothness * np.maximum(random.uniform(-0.3, 1, len(edges)), 0)
    energy = PottsEnergy(Table(random.uniform(size=(faces, labels))), edges, weights)
    return energy, random.integers(0, labels, faces).astype(np.int32)


def problems(faces: int, labels: int) -> st.SearchStrategy[tuple[PottsEnergy, NDArray[np.int32]]]:
    return st.builds(
        random_problem,
        seed=st.integers(0, 2**32),
        faces=st.integers(2, faces),
        labels=st.integers(2, labels),
        smoothness=st.sampled_from([0.0, 0.1, 0.5, 2.0]),
    )


@given(problem=problems(faces=8, labels=2))
def test_two_labels_reach_the_global_minimum_from_anywhere(
    problem: tuple[PottsEnergy, NDArray[np.int32]],
) -> None:
    energy, labels = problem
    best, _ = lowest_energy(energy, [(0, 1)] * len(labels))
    result = minimize(energy, labels, offered=(0, 1))
    assert energy.total(result) == pytest.approx(best, abs=1e-9)


@given(problem=problems(faces=12, labels=2), rings=st.integers(1, 2))
def test_two_labels_reach_the_minimum_of_the_band(
    problem: tuple[PottsEnergy, NDArray[np.int32]], rings: int
) -> None:
    energy, labels = problem
    labels = np.sort(labels)
    band = border_band(energy.edges, labels, rings, Adjacency.of_faces(len(labels), energy.edges))
    choices = [(0, 1) if free else (label,) for free, label in zip(band, labels.tolist(), strict=True)]
    best, _ = lowest_energy(energy, choices)
    result = minimize(energy, labels, band=band, reach=1)
    assert energy.total(result) == pytest.approx(best, abs=1e-9)


@given(problem=problems(faces=40, labels=3), seed=st.integers(0, 1000))
def test_a_proposal_is_adopted_exactly_if_the_energy_falls(
    problem: tuple[PottsEnergy, NDArray[np.int32]], seed: int
) -> None:
    energy, labels = problem
    random = np.random.default_rng(seed)
    changed = np.flatnonzero(random.random(len(labels)) < 0.3)
    proposed = labels.copy()
    proposed[changed] = (labels[changed] + random.integers(1, 3, len(changed))) % 3
    proposed = np.minimum(proposed, energy.data.costs.shape[1] - 1)
    changed = np.flatnonzero(proposed != labels)
    present = BandProblem.around(energy, np.ones(len(labels), dtype=bool), labels)
    proposal = changed, proposed[changed], energy.data(changed, proposed[changed])
    difference = energy.total(proposed) - energy.total(labels)
    assert present.energy_change(*proposal) == pytest.approx(difference, abs=1e-9)
    touched = present.adopt(*proposal)
    falls = difference < 0
    assert (present.labels == (proposed if falls else labels)).all()
    assert present.costs == pytest.approx(energy.data(np.arange(len(labels)), present.labels))
    assert bool(touched) == falls


@given(seed=st.integers(0, 2**32), nodes=st.integers(1, 40), spread=st.sampled_from([0.1, 1.0, 10.0]))
def test_flow_sent_ahead_leaves_the_same_minimum(seed: int, nodes: int, spread: float) -> None:
    random = np.random.default_rng(seed)
    first, second = random.integers(0, nodes, (2, 3 * nodes))
    first, second = first[first < second], second[first < second]
    capacity = np.maximum(random.uniform(-0.2, 1, len(first)), 0)
    change = spread * random.normal(size=nodes)
    costs = []
    for many in (0, 1000):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("backend.refinement.minimum_cut._MANY_NODES", many)
            switched = minimum_cut(first, second, capacity, change, random.random(nodes) < 0.2)
        costs.append(change[switched].sum() + capacity[switched[first] != switched[second]].sum())
    assert costs[0] == pytest.approx(costs[1], abs=1e-9)


@given(problem=problems(faces=8, labels=4), alpha=st.integers(0, 1))
def test_one_move_is_the_best_expansion(problem: tuple[PottsEnergy, NDArray[np.int32]], alpha: int) -> None:
    energy, labels = problem
    best = best_expansion(energy, labels, alpha)
    result = minimize(energy, labels, offered=[alpha], max_sweeps=1)
    assert energy.total(result) == pytest.approx(best, abs=1e-9)
    assert energy.total(reference_expansion(energy, labels, alpha)) == pytest.approx(best, abs=1e-9)
    assert ((result == labels) | (result == alpha)).all()


@settings(max_examples=40)
@given(problem=problems(faces=7, labels=4))
def test_no_expansion_improves_what_the_cut_returns(
    problem: tuple[PottsEnergy, NDArray[np.int32]],
) -> None:
    energy, labels = problem
    offered = range(energy.data.costs.shape[1])
    result = minimize(energy, labels, offered=offered, max_sweeps=50)
    total = energy.total(result)
    for alpha in offered:
        assert total <= best_expansion(energy, result, alpha) + 1e-9
    # Expansion moves are within a factor of two of the optimum for a Potts energy.
    assert total <= 2 * lowest_energy(energy, [offered] * len(labels))[0] + 1e-9


@given(
    problem=problems(faces=200, labels=9),
    rings=st.integers(0, 4),
    reach=st.none() | st.integers(1, 3),
    sweeps=st.integers(1, 4),
)
def test_energy_never_rises_and_labels_change_only_in_the_band(
    problem: tuple[PottsEnergy, NDArray[np.int32]], rings: int, reach: int | None, sweeps: int
) -> None:
    energy, labels = problem
    # Labels in blocks, or everything would be border.
    labels = np.sort(labels)
    before = labels.copy()
    band = border_band(energy.edges, labels, rings, Adjacency.of_faces(len(labels), energy.edges))
    result = minimize(energy, labels, band=band, reach=reach, max_sweeps=sweeps)
    assert energy.total(result) <= energy.total(labels) + 1e-9
    assert (result[~band] == labels[~band]).all()
    assert (labels == before).all(), "the caller's labels are not changed"
    assert np.isin(result, labels).all()


@settings(max_examples=30)
@given(problem=problems(faces=60, labels=6))
def test_a_sweep_equals_the_textbook_construction(problem: tuple[PottsEnergy, NDArray[np.int32]]) -> None:
    energy, labels = problem
    offered = range(energy.data.costs.shape[1])
    swept = energy.total(reference_sweep(energy, labels, offered))
    ours = labels
    for alpha in offered:
        ours = minimize(energy, ours, offered=[alpha], max_sweeps=1)
    assert energy.total(ours) == pytest.approx(swept, abs=1e-9)


@given(seed=st.integers(0, 1000), rings=st.integers(1, 6))
def test_band_holds_exactly_the_faces_within_its_rings(seed: int, rings: int) -> None:
    energy, labels = random_problem(seed, 60, 3, 1.0)
    labels = np.sort(labels)
    distance = np.full(60, 99)
    for first, second in energy.edges:
        if labels[first] != labels[second]:
            distance[[first, second]] = 1
    for _ in range(60):
        for first, second in energy.edges:
            distance[first] = min(distance[first], distance[second] + 1)
            distance[second] = min(distance[second], distance[first] + 1)
    assert (
        border_band(energy.edges, labels, rings, Adjacency.of_faces(len(labels), energy.edges))
        == (distance <= rings)
    ).all()


def neck_problem(
    mesh: Mesh, *, shift: float, blur: float = 0.2
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Evidence that takes the border between the spheres to be at z = shift instead of at the neck."""
    upper = 1 / (1 + np.exp(-(face_centroids(mesh)[:, 2] - shift) / blur))
    evidence = np.stack([1 - upper, upper], axis=1).astype(np.float32)
    return evidence, evidence.argmax(axis=1).astype(np.int32)


@pytest.mark.parametrize("shift", [-0.12, 0.08, 0.15])
@pytest.mark.parametrize("rings", [16, 32])
def test_border_moves_to_the_neck_between_two_spheres(shift: float, rings: int) -> None:
    mesh = two_spheres(rings=rings, around=2 * rings)
    upper = face_centroids(mesh)[:, 2] > 0
    evidence, labels = neck_problem(mesh, shift=shift)
    assert (labels != upper).sum() >= 2 * rings, "the prediction alone misses the neck"
    refined = refine_labels(build_face_graph(mesh), evidence, labels, band_rings=rings // 2)
    assert (refined == upper).all()


def test_a_mask_loses_its_islands_and_its_border_finds_the_neck() -> None:
    mesh = two_spheres(rings=16, around=32)
    upper = face_centroids(mesh)[:, 2] > 0
    evidence, _ = neck_problem(mesh, shift=-0.12)
    logits = np.log(evidence[:, 1] / evidence[:, 0])
    logits[face_centroids(mesh)[:, 2].argmin()] = 2  # a crumb at the far pole
    refined = refine_mask(build_face_graph(mesh), logits)
    assert ((logits > 0) != upper).sum() >= 32
    np.testing.assert_array_equal(refined, upper)


def test_the_more_clicks_a_mask_answers_the_less_is_smoothed_away() -> None:
    mesh = plate(40, 40)
    right = face_centroids(mesh)[:, 0] - 20 + np.random.default_rng(0).normal(size=mesh.face_count)
    graph = build_face_graph(mesh)
    kept = dissolve_islands(graph, (right > 0).astype(np.int32)) == 1
    changed = [(refine_mask(graph, right, clicks=clicks) != kept).sum() for clicks in (1, 3, 10, 1000)]
    assert changed[0] > changed[1] > changed[2] > changed[3] == 0


def test_confident_evidence_is_not_overruled_by_a_crease() -> None:
    mesh = two_spheres()
    evidence, labels = neck_problem(mesh, shift=0.8, blur=0.02)
    refined = refine_labels(build_face_graph(mesh), evidence, labels)
    assert (refined != labels).mean() < 0.01


@pytest.mark.parametrize(("radius", "kept"), [(3, 0.45), (6, 0.75)])  # 0.8 % and 3 % of the area
def test_small_part_on_flat_ground_loses_its_soft_rim_at_most(radius: float, kept: float) -> None:
    mesh = plate(60, 60)
    place = face_centroids(mesh)[:, :2] - 30
    inside = 1 / (1 + np.exp((np.linalg.norm(place, axis=1) - radius) / 0.7))
    evidence = np.stack([1 - inside, inside], axis=1)
    labels = (inside > 0.5).astype(np.int32)
    refined = refine_labels(build_face_graph(mesh), evidence, labels)
    common = ((refined == 1) & (labels == 1)).sum() / ((refined == 1) | (labels == 1)).sum()
    assert common > kept


def test_jagged_border_becomes_straight() -> None:
    mesh = plate(40, 40)
    random = np.random.default_rng(0)
    x = face_centroids(mesh)[:, 0]
    right = 1 / (1 + np.exp(-(x - 20 + random.normal(size=len(x))) / 2))
    evidence = np.stack([1 - right, right], axis=1)
    labels = evidence.argmax(axis=1)
    graph = build_face_graph(mesh)

    def border(values: NDArray[np.integer]) -> float:
        return graph.edge_length[values[graph.edges[:, 0]] != values[graph.edges[:, 1]]].sum()

    assert border(labels) > 100
    assert border(refine_labels(graph, evidence, labels)) < 50  # straight: 40


def test_strength_scales_the_smoothness() -> None:
    mesh = lumpy_torus(4000)
    graph = build_face_graph(mesh)
    evidence = soft_evidence(mesh, 6, noise=0.5)
    labels = evidence.argmax(axis=1)
    cut_lengths = []
    for strength in (0.0, 0.3, 1.0, 4.0):
        refined = refine_labels(graph, evidence, labels, strength=strength)
        cut = refined[graph.edges[:, 0]] != refined[graph.edges[:, 1]]
        cut_lengths.append(graph.edge_length[cut].sum())
        if strength == 0:
            assert (refined == labels).all(), "without smoothness the evidence decides"
    assert cut_lengths == sorted(cut_lengths, reverse=True)
    assert cut_lengths[-1] < cut_lengths[0] / 2


def refined_torus(mesh: Mesh, evidence: NDArray[np.float32]) -> NDArray[np.int32]:
    graph = build_face_graph(mesh)
    return refine_labels(graph, evidence, dissolve_islands(graph, evidence.argmax(axis=1)))


@pytest.mark.parametrize("seed", [0, 1])
def test_labels_do_not_depend_on_vertex_order_place_or_scale(seed: int) -> None:
    mesh = lumpy_torus(3000)
    evidence = soft_evidence(mesh, 8, noise=0.4, seed=seed)
    expected = refined_torus(mesh, evidence)
    assert (expected != evidence.argmax(axis=1)).sum() > 50
    assert (refined_torus(renumbered(mesh, seed=seed), evidence) == expected).all()
    moved = Mesh(mesh.vertices * 1000 + [5, -700, 31], mesh.triangles)
    assert (refined_torus(moved, evidence) == expected).all()
    order = np.random.default_rng(seed).permutation(mesh.face_count)
    shuffled = refined_torus(Mesh(mesh.vertices, mesh.triangles[order]), evidence[order])
    assert (shuffled == expected[order]).all()


@given(seed=st.integers(0, 10_000), strength=st.sampled_from([0.0, 1.0, 10.0]))
@settings(max_examples=30)
def test_any_mesh_gives_labels_of_no_higher_energy(seed: int, strength: float) -> None:
    random = np.random.default_rng(seed)
    triangles = random.integers(0, 30, (80, 3))  # non-manifold, degenerate and duplicate faces
    triangles[:5] = triangles[5:10]
    triangles[10] = triangles[10, 0]
    graph = build_face_graph(Mesh(random.uniform(size=(30, 3)), triangles))
    evidence = random.uniform(size=(80, 5)).astype(np.float32)
    evidence[:3] = 0
    evidence[3, 2] = np.nan
    labels = random.integers(0, 5, 80)
    energy = evidence_energy(graph, evidence, labels, strength=strength)
    refined = refine_labels(graph, evidence, labels, strength=strength)
    assert refined.dtype == np.int32 and refined.shape == (80,)
    assert refined.min() >= 0 and refined.max() < 5
    assert energy.total(refined) <= energy.total(labels) + 1e-12


def test_one_label_stays_one_label() -> None:
    graph = build_face_graph(cube())
    labels = np.full(12, 1)
    assert (refine_labels(graph, np.ones((12, 2)), labels) == labels).all()


def test_cancel_stops_between_moves_and_changes_nothing() -> None:
    mesh = lumpy_torus(2000)
    evidence = soft_evidence(mesh, 5)
    labels = evidence.argmax(axis=1)
    before = labels.copy()
    calls = []

    def cancel() -> bool:
        calls.append(None)
        return len(calls) > 2

    with pytest.raises(Cancelled):
        refine_labels(build_face_graph(mesh), evidence, labels, cancel=cancel)
    assert len(calls) == 3
    assert (labels == before).all()


@pytest.mark.parametrize(("faces", "columns", "label"), [(11, 2, 0), (12, 2, 2), (12, 2, -1), (12, 1, 1)])
def test_arrays_that_do_not_fit_are_refused(faces: int, columns: int, label: int) -> None:
    with pytest.raises(ValueError, match="labels"):
        refine_labels(build_face_graph(cube()), np.ones((faces, columns)), np.full(12, label))


def test_energy_terms_have_their_stated_values() -> None:
    mesh = joined(cube(), cube(center=(1.005, 0, 0)))
    graph = build_face_graph(mesh)
    chosen = EnergySettings(smoothness=0.5, full_part_size=2.0, link_weight=0.125)
    factors = crease_factors(graph, chosen)
    right_angle = math.exp(-(math.pi / 2) / chosen.convex_angle)
    ridge = ~graph.is_link & (graph.dihedral > 1)
    assert factors[ridge] == pytest.approx(max(right_angle, chosen.crease_floor))
    assert factors[~graph.is_link & ~ridge] == pytest.approx(1)
    assert (factors[graph.is_link] == 0.125).all()

    labels = np.repeat([0, 1], 12)
    expected_size = math.sqrt(0.5) / 2
    assert part_size_factors(
        graph, labels, rings=3, settings=chosen, adjacency=Adjacency.of_faces(graph.face_count, graph.edges)
    ) == pytest.approx(expected_size)
    evidence = np.tile([0.6, 0.2], (24, 1))
    energy = evidence_energy(graph, evidence, labels, strength=2.0, settings=chosen)
    lengths = graph.edge_length / math.sqrt(12)
    assert energy.weights == pytest.approx(2 * 0.5 * lengths * factors * expected_size)
    floor = chosen.evidence_floor
    normal = 0.8 + 2 * floor
    expected = -0.5 * math.log((0.6 + floor) / normal) - 0.5 * math.log((0.2 + floor) / normal)
    assert energy.total(np.zeros(24, dtype=int)) == pytest.approx(-math.log((0.6 + floor) / normal))
    cut = energy.weights[graph.is_link].sum()
    assert energy.total(labels) == pytest.approx(expected + cut)


def test_valleys_are_cheaper_than_ridges_and_flat_ground_is_dearest() -> None:
    mesh = two_spheres(rings=8, around=12)
    graph = build_face_graph(mesh)
    factors = crease_factors(graph, EnergySettings())
    flat, ridge = factors[np.abs(graph.dihedral) < 1e-9], factors[graph.dihedral > 0.3]
    assert factors[graph.dihedral < -0.3].max() < ridge.min() <= ridge.max() < flat.min()


def test_published_energy_has_the_published_values() -> None:
    graph = build_face_graph(cube())
    labels = np.arange(12) // 2
    energy = published_energy(graph, labels)
    ridge = graph.dihedral > 1
    assert energy.weights[ridge] == pytest.approx(6 * math.log(2))
    assert energy.weights[~ridge].min() > 6 * 20  # -log(nearly 0)
    assert energy.total(labels) == pytest.approx(12 * 6 * math.log(2))
    assert energy.total(np.zeros(12, dtype=int)) == 10
    # There a border of the cube costs more than two wrong faces: everything becomes one part.
    assert len(np.unique(refine_labels_published(graph, labels))) == 1


def test_default_band_grows_with_resolution() -> None:
    assert default_band_rings(500) == 3
    assert default_band_rings(20_000) == 5
    assert default_band_rings(1_000_000) == 30


def test_benchmark_compares_equal_cuts() -> None:
    row = measure_once(3000, 6, reference_limit=3000)
    assert row.faces == pytest.approx(3000, rel=0.05)
    assert row.sweep_energy == pytest.approx(row.reference_energy, rel=1e-12)
    assert row.energy_after < row.energy_before
    assert row.reference_ratio == row.reference_seconds / row.sweep_seconds
    (other,) = measure_cut([2000], labels=4, reference_limit=0)
    assert other.reference_ratio is None and other.reference_energy is None
    assert other.energy_after < other.energy_before
