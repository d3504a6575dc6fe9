# SPDX-License-Identifier: GPL-3.0-or-later
"""Regions that creases bound, and what they say about pairs of places."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.refinement.face_graph import FaceGraph
from backend.region_features import MAX_REGIONS, REGION_FEATURES
from backend.segmentation.creases import CreaseSettings, crease_regions, crease_tree, salient_regions

CREASE = -0.9
FINE = CreaseSettings(least_share=0, largest_share=0.99)


def row(angles: list[float], *, links: tuple[int, ...] = ()) -> FaceGraph:
    """Sites in a row with these dihedral angles between them; across `links` they only nearly touch."""
    count = len(angles) + 1
    edges = np.stack([np.arange(count - 1), np.arange(1, count)], axis=1)
    return graph_of(count, edges, np.array(angles), np.isin(np.arange(count - 1), links))


def graph_of(count: int, edges: np.ndarray, angles: np.ndarray, is_link: np.ndarray) -> FaceGraph:
    return FaceGraph(
        face_areas=np.full(count, 1 / count),
        edges=edges,
        edge_length=np.full(len(edges), 0.1),
        dihedral=angles,
        is_link=is_link,
        shells=np.zeros(count, dtype=np.int32),
        diagonal=1.0,
    )


def even(graph: FaceGraph) -> np.ndarray:
    return np.full(graph.face_count, 1 / graph.face_count)


def regions_of(graph: FaceGraph) -> dict[tuple[int, ...], float]:
    """Sites of each salient region, and how clear it is."""
    tree = crease_tree(graph, even(graph))
    regions, clearness = salient_regions(tree, CreaseSettings())
    return {
        tuple(np.sort(tree.sites(region)).tolist()): value
        for region, value in zip(regions, clearness, strict=True)
    }


def test_creases_bound_regions_and_convex_edges_do_not():
    flat = [0.0, 0.8, 0.0]
    found = regions_of(row([*flat, CREASE, *flat, CREASE, *flat]))
    order = list(found)
    assert {(0, 1, 2, 3), (4, 5, 6, 7), (8, 9, 10, 11)} <= set(order[:4])
    assert min(found[region] for region in order[:3]) > 0.9
    assert max(found[region] for region in order[4:]) < 0.6


def test_pieces_of_the_mesh_are_the_clearest_of_all():
    found = regions_of(row([0, 0, CREASE, 0, 0, 0, 0.1, 0], links=(5,)))
    assert set(list(found)[:2]) == {(0, 1, 2, 3, 4, 5), (6, 7, 8)}
    assert found[(0, 1, 2, 3, 4, 5)] > found[(0, 1, 2)] > 0.9 > found[(0,)]


def test_a_region_that_takes_in_a_crumb_is_one_region():
    found = regions_of(row([*[0] * 29, -0.25, CREASE, *[0] * 9]))
    assert len([region for region in found if set(range(30)) <= set(region) <= set(range(31))]) == 1


@given(st.lists(st.sampled_from([-1.2, -0.4, 0.0, 0.5]), min_size=1, max_size=24), st.data())
def test_regions_are_a_tree_over_the_sites(angles: list[float], data: st.DataObject):
    links = data.draw(st.sets(st.integers(0, len(angles) - 1), max_size=3))
    graph = row(angles, links=tuple(links))
    tree = crease_tree(graph, even(graph))
    sites = graph.face_count
    masks = np.zeros((len(tree.parents), sites), dtype=bool)
    for region, mask in enumerate(masks):
        mask[tree.sites(region)] = True
    assert len(masks) == 2 * sites - (1 + len(links))
    assert (masks[:sites] == np.eye(sites, dtype=bool)).all()
    np.testing.assert_allclose(masks.mean(axis=1), tree.areas)
    for region, parent in enumerate(tree.parents):
        assert parent == -1 or (parent > region and (masks[region] <= masks[parent]).all())
        assert tree.births[region] <= tree.deaths[region]
    roots = masks[tree.parents == -1]
    assert (roots.sum(axis=0) == 1).all()


def random_graph(seed: int) -> tuple[FaceGraph, np.ndarray]:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 40))
    edges = rng.integers(0, count, (int(rng.integers(0, 3 * count)), 2))
    angles = rng.choice([-1.2, -0.7, -0.2, 0.0, 0.5], len(edges)) + rng.normal(0, 0.01, len(edges))
    weights = rng.random(count) ** 2 * (rng.random(count) > 0.1)
    weights[-1] += 0.1
    return graph_of(count, edges, angles, rng.random(len(edges)) < 0.4), weights / weights.sum()


def by_masks(
    masks: np.ndarray, clearness: np.ndarray, same_piece: np.ndarray, weights: np.ndarray, a: int, b: int
) -> list[float]:
    """What `crease_regions` says of a click at site `a` and a place at site `b`, from masks bool [R, S]."""
    areas = masks @ weights

    def log(share: float) -> float:
        return float(np.log(max(share, np.exp(-16))) / 8)

    def apart(holds: np.ndarray, site: int) -> float:
        atom = (masks == masks[:, [site]]).all(axis=0)
        return log(areas[holds].max() if holds.any() else weights[atom].sum())

    both, only_a, only_b = masks[:, a] & masks[:, b], masks[:, a] & ~masks[:, b], masks[:, b] & ~masks[:, a]
    smallest = np.where(both, masks.sum(axis=1), np.inf).argmin() if both.any() else None
    atom_a, atom_b = ((masks == masks[:, [site]]).all(axis=0) * weights for site in (a, b))
    total = atom_a.sum() * atom_b.sum()
    return [
        1,
        0 if smallest is None else log(areas[smallest]),
        0 if smallest is None else clearness[smallest],
        clearness[only_a].max(initial=0),
        clearness[only_b].max(initial=0),
        apart(only_a, a),
        apart(only_b, b),
        atom_a @ same_piece @ atom_b / total if total else np.nan,
    ]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("seed", range(25))
def test_pairs_say_what_the_masks_of_the_regions_say(seed: int):
    graph, weights = random_graph(seed)
    tree = crease_tree(graph, weights)
    regions, clearness = salient_regions(tree, FINE)
    masks = np.zeros((len(regions), len(weights)), dtype=bool)
    for mask, region in zip(masks, regions, strict=True):
        mask[tree.sites(region)] = True
    roots = [tree.sites(root) for root in np.flatnonzero(tree.parents < 0)]
    same_piece = sum(np.outer(*[np.isin(np.arange(len(weights)), root)] * 2) for root in roots)
    found = crease_regions(graph, weights, FINE)
    assert found.of_sites.dtype == np.int16
    assert found.pairs.shape == (found.of_sites.max() + 1,) * 2 + (REGION_FEATURES,)
    assert found.pairs.dtype == np.float16
    assert np.isfinite(found.pairs).all()
    assert found.pairs.min() >= -2
    assert found.pairs.max() <= 1.001
    for a in range(len(weights)):
        for b in range(len(weights)):
            wanted = by_masks(masks, clearness, same_piece, weights, a, b)
            got = found.pairs[found.of_sites[a], found.of_sites[b]].astype(float)
            got[7] = np.nan if np.isnan(wanted[7]) else got[7]
            np.testing.assert_allclose(got, wanted, atol=2e-3)


def test_regions_do_not_depend_on_the_order_of_the_faces():
    rng = np.random.default_rng(3)
    graph = row([*rng.uniform(-1, 0.5, 39)])
    new = rng.permutation(graph.face_count)
    edges = rng.permutation(39)
    turned = replace(graph, edges=new[graph.edges][edges], dihedral=graph.dihedral[edges])
    found, again = (crease_regions(each, even(graph)) for each in (graph, turned))
    assert len(found.pairs) > 3
    atoms, others = found.of_sites, again.of_sites[new]
    np.testing.assert_array_equal(found.pairs[atoms[:, None], atoms], again.pairs[others[:, None], others])


def test_many_small_pieces_leave_room_for_creases():
    body = [0.0] * 19 + [-0.2] + [0.0] * 20
    graph = row([*body, *[0.0, 0.0] * 400], links=tuple(range(40, 840, 2)))
    weights = np.where(np.arange(graph.face_count) <= 40, 1.0, 0.02)
    weights /= weights.sum()
    atoms = crease_regions(graph, weights)
    rivets = np.unique(atoms.of_sites[41:])
    assert len(rivets) > 200
    ends = atoms.of_sites[[0, 40]]
    assert atoms.pairs[ends[0], ends[1], 3] > 0.6


def test_a_long_even_strip_with_very_many_pieces_stays_within_the_table():
    angles = np.where(np.arange(9999) % 20 == 19, CREASE, 0.0)
    growing = np.geomspace(1, 50, 10000)
    graph = row(angles.tolist(), links=tuple(range(99, 9999, 25)))
    found = crease_regions(graph, growing / growing.sum())
    assert len(found.pairs) <= MAX_REGIONS
    assert found.of_sites.max() == len(found.pairs) - 1
