# SPDX-License-Identifier: GPL-3.0-or-later
"""Nested masks, the tree made of them, and the chain of partitions: what holds for any masks."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from backend.errors import CheckpointError, DataError
from backend.refinement.face_graph import FaceGraph
from backend.segmentation.containment import containment
from backend.segmentation.nested_masks import NestingSettings, alike_sites, nest_masks
from backend.segmentation.node_features import FEATURES, Candidates, node_features
from backend.segmentation.part_quality import PartQuality, bundled_part_quality, load_part_quality
from backend.segmentation.part_tree import MASK, PIECE, REST, ROOT, PartTree, TreeSettings, build_part_tree
from backend.segmentation.partition import tree_partition
from backend.segmentation.parts import Parts
from backend.segmentation.places import PlaceSettings
from backend.segmentation.selection import PartitionChain, SelectionSettings, partition_chain
from backend.segmentation.sites import Sites
from backend.training.part_quality import (
    FitSettings,
    NodeRecord,
    fit_part_quality,
    node_targets,
    read_records,
    write_records,
)

SITES = 14
NO_ISLANDS = TreeSettings(island_size=0.0, noise_size=0.0)


def path_graph(weights: np.ndarray, *, gaps: tuple[int, ...] = ()) -> FaceGraph:
    """Sites in a row; `gaps` are sites after which the row is interrupted."""
    starts = np.setdiff1d(np.arange(len(weights) - 1), gaps)
    shells = np.concatenate([[0], np.cumsum(np.isin(np.arange(len(weights) - 1), gaps))])
    return FaceGraph(
        face_areas=weights,
        edges=np.stack([starts, starts + 1], axis=1),
        edge_length=np.full(len(starts), 0.1),
        dihedral=np.linspace(-1, 1, len(starts)),
        is_link=np.zeros(len(starts), dtype=bool),
        shells=shells.astype(np.int32),
        diagonal=1.0,
    )


def in_a_row(count: int) -> np.ndarray:
    """Places one apart, [count, 3]."""
    return np.arange(count)[:, None] * np.eye(1, 3)


def chain_of(
    tree: PartTree, quality: np.ndarray, *, at: np.ndarray | None = None, **places: float
) -> PartitionChain:
    """Partitions of a tree whose sites lie in a row, or at other places; `places` are settings for them."""
    points = in_a_row(len(tree.atoms)) if at is None else at
    settings = SelectionSettings(places=PlaceSettings(**places))
    return partition_chain(tree, quality, Sites.of_points(points), points, settings)


@st.composite
def candidates(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits [K, SITES], ranks [K] and weights [SITES]; ties, equal and empty masks included."""
    count = draw(st.integers(0, 7))
    logits = draw(arrays(np.float32, (count, SITES), elements=st.sampled_from([-9.0, -1.0, 0.5, 3.0])))
    ranks = draw(arrays(np.float64, count, elements=st.sampled_from([0.1, 0.5, 0.9])))
    weights = draw(arrays(np.float64, SITES, elements=st.floats(0.01, 1)))
    return logits, ranks, weights / weights.sum()


@given(st.integers(0, 140).flatmap(lambda masks: arrays(np.bool_, (masks, 12))))
def test_sites_of_one_kind_are_in_the_same_masks(masks: np.ndarray) -> None:
    kind, examples = alike_sites(masks)
    np.testing.assert_array_equal(masks[:, examples][:, kind], masks)
    assert len(np.unique(masks, axis=1).T) == len(examples) == kind.max() + 1


@given(candidates())
def test_accepted_masks_nest_or_lie_apart(case: tuple[np.ndarray, ...]) -> None:
    logits, ranks, weights = case
    nested = nest_masks(logits > 0, ranks, weights, NestingSettings())
    areas = nested.masks @ weights
    assert (np.diff(areas) <= 1e-12).all(), "the largest first"
    for first, second in combinations(nested.masks, 2):
        shared = first & second
        assert not shared.any() or (shared == first).all() or (shared == second).all()
    for mask, candidate in zip(nested.masks, nested.chosen, strict=True):
        own = logits[candidate] > 0
        assert weights[mask & own].sum() >= (0.75 - 1e-9) * weights[mask | own].sum()
    if (logits > 0).any(axis=1).any():
        best = np.flatnonzero((logits > 0).any(axis=1))[
            np.argsort(-ranks[(logits > 0).any(axis=1)], kind="stable")[0]
        ]
        np.testing.assert_array_equal(nested.masks[nested.chosen.tolist().index(best)], logits[best] > 0)


@given(candidates(), st.sampled_from([(), (4,), (2, 9)]))
def test_the_tree_divides_each_node_among_its_children(
    case: tuple[np.ndarray, ...], gaps: tuple[int, ...]
) -> None:
    logits, ranks, weights = case
    graph = path_graph(weights, gaps=gaps)
    tree = build_part_tree(logits, ranks, weights, graph, TreeSettings())
    assert tree.kinds[0] == ROOT
    assert tree.inside[0].all()
    assert (tree.parents[1:] < np.arange(1, len(tree.parents))).all()
    np.testing.assert_allclose(tree.areas, np.bincount(tree.atoms, weights))
    assert tree.masks.max() <= len(logits)
    for node in range(len(tree.parents)):
        children = np.flatnonzero(tree.parents == node)
        if len(children):
            assert len(children) > 1
            assert (tree.inside[children].sum(axis=0) == tree.inside[node]).all()
    measures = Candidates(logits, ranks.astype(np.float32), ranks)
    features = node_features(tree, measures, weights, graph)
    assert features.shape == (len(tree.parents), len(FEATURES))
    assert np.isfinite(features).all()


@settings(max_examples=90)
@given(
    candidates(),
    st.sampled_from([(), (4,), (2, 9), (1, 3, 10)]),
    st.integers(0, 99),
    st.sampled_from([1, 10]),
)
def test_each_partition_refines_the_one_before(
    case: tuple[np.ndarray, ...], gaps: tuple[int, ...], seed: int, small: int
) -> None:
    """small: so many times larger than usual are the places that join others"""
    logits, ranks, weights = case
    tree = build_part_tree(logits, ranks, weights, path_graph(weights, gaps=gaps), TreeSettings())
    quality = np.random.default_rng(seed).random(len(tree.parents))
    chain = chain_of(tree, quality, least_piece=0.015 * small, crumb=0.1 * small, least_alone=0.005 * small)
    counts = [len(np.unique(owners)) for owners in chain.owners]
    assert counts[0] == 1
    assert counts == sorted(set(counts))
    assert 0 <= chain.middle < len(counts)
    for coarse, fine in pairwise(chain.owners):
        assert len(np.unique(np.stack([coarse, fine]), axis=1).T) == len(np.unique(fine))
    for owners in chain.owners:
        partition = tree_partition(chain.tree, owners)
        sizes = np.bincount(partition.labels, weights)
        assert (np.diff(sizes) <= 1e-12).all(), "from the largest part to the smallest"
        assert len(sizes) == partition.count


def two_arms() -> tuple[PartTree, np.ndarray]:
    """A body in a row with an arm at either end, both arms in one mask, and what no mask wants between."""
    logits = np.full((3, SITES), -9.0, dtype=np.float32)
    logits[0, :12] = 3  # the figure
    logits[1, [0, 1, 10, 11]] = 3  # both arms
    logits[2, 4:8] = 3  # the belt
    weights = np.full(SITES, 1 / SITES)
    return build_part_tree(
        logits, np.array([0.9, 0.8, 0.7]), weights, path_graph(weights), TreeSettings()
    ), weights


def test_pieces_and_rest_are_nodes_below_their_mask() -> None:
    tree, _ = two_arms()
    regions = {tuple(np.flatnonzero(inside[tree.atoms])) for inside in tree.inside}
    assert {(0, 1), (10, 11), (0, 1, 10, 11), tuple(range(12)), (4, 5, 6, 7), (12, 13)} <= regions
    rest = [tuple(np.flatnonzero(inside[tree.atoms])) for inside in tree.inside[tree.kinds == REST]]
    assert set(rest) == {(12, 13), (2, 3), (8, 9)}


def test_the_middle_has_the_parts_that_are_worth_it() -> None:
    tree, _ = two_arms()
    regions = [tuple(np.flatnonzero(inside[tree.atoms])) for inside in tree.inside]
    good = {(0, 1): 0.9, (10, 11): 0.9, (0, 1, 10, 11): 0.5, tuple(range(12)): 0.8, (12, 13): 0.1}
    quality = np.array([good.get(region, 0.0) for region in regions])
    chain = chain_of(tree, quality)
    shown = {regions[node] for node in np.unique(chain.owners[chain.middle])}
    assert shown == {(0, 1), (10, 11), tuple(range(12)), (12, 13)}
    # The belt is not worth its cost; it is among what comes next.
    finest = chain.owners[-1][tree.atoms]
    assert [np.flatnonzero(finest == finest[5]).tolist(), len(np.unique(finest))] == [[4, 5, 6, 7], 6]
    assert [len(np.unique(owners)) for owners in chain.owners] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("share", "quality", "stays"), [(0.016, 0.23, False), (0.1, 0.23, True), (0.016, 0.27, True)]
)
def test_a_small_part_of_little_quality_joins_what_is_around_it(
    share: float, quality: float, stays: bool
) -> None:
    logits = np.full((2, SITES), -9.0, dtype=np.float32)
    logits[0, :12], logits[1, 4:8] = 3, 3  # a figure and its belt
    weights = np.full(SITES, (1 - share) / (SITES - 4))
    weights[4:8] = share / 4
    tree = build_part_tree(logits, np.array([0.9, 0.8]), weights, path_graph(weights), TreeSettings())
    qualities = np.select([tree.masks == 0, tree.masks == 1], [0.9, quality], 0.0)
    qualities[tree.kinds != MASK] = 0
    chain = chain_of(tree, qualities)
    middle, finest = (owners[tree.atoms] for owners in (chain.owners[chain.middle], chain.owners[-1]))
    assert (middle[5] != middle[0]) == stays
    assert finest[5] != finest[0]
    assert middle[0] != middle[13], "the figure is a part"


def test_separate_pieces_of_what_no_part_wants_are_parts() -> None:
    """A belt around the middle leaves two ends and a crumb that touch nothing of each other."""
    logits = np.full((2, SITES), -9.0, dtype=np.float32)
    logits[0, 5:9], logits[1, 12] = 3, 3
    weights = np.full(SITES, 1.0)
    weights[13] = 0.01
    weights /= weights.sum()
    tree = build_part_tree(logits, np.array([0.9, 0.8]), weights, path_graph(weights), TreeSettings())
    good = tree.masks < len(logits)
    chain = chain_of(tree, np.where(good, 0.9, 0.0))
    middle = chain.owners[chain.middle][tree.atoms]
    assert len({middle[0], middle[6], middle[10], middle[12]}) == 4
    assert (middle[:5] == 0).all(), "the largest piece stays with the root"


def head_and_nose(nose: float = 0.005) -> PartTree:
    """In a row a hat that no mask wants, a head (a mask), a nose that no mask wants, either, and a hand (a
    mask); the nose has a longer border with the head than with the hand."""
    weights = np.full(SITES, (1 - nose) / (SITES - 1))
    weights[9] = nose
    logits = np.full((2, SITES), -9.0, dtype=np.float32)
    logits[0, 5:9], logits[1, 10:] = 3, 3
    graph = replace(path_graph(weights), edge_length=np.where(np.arange(SITES - 1) == 8, 0.15, 0.1))
    return build_part_tree(logits, np.array([0.9, 0.8]), weights, graph, NO_ISLANDS)


def partitions_of(tree: PartTree) -> tuple[list[np.ndarray], np.ndarray]:
    """Owners of sites in all partitions and in the middle one, where masks are good parts."""
    chain = chain_of(tree, np.where(tree.kinds == MASK, 0.9, 0.0))
    owners = [each[tree.atoms] for each in chain.owners]
    return owners, owners[chain.middle]


@pytest.mark.parametrize(("nose", "finest_parts"), [(0.005, 4), (0.001, 3)])
def test_a_small_piece_of_what_no_mask_wants_joins_its_neighbor_and_not_what_is_far(
    nose: float, finest_parts: int
) -> None:
    owners, middle = partitions_of(head_and_nose(nose))
    assert middle[0] == 0, "the hat is the root's"
    assert middle[9] == middle[8] != middle[10]
    assert [len(np.unique(each)) for each in owners] == list(range(1, finest_parts + 1))
    assert (owners[-1][9] != owners[-1][8]) == (finest_parts == 4), "split off again if it is worth a look"
    assert (owners[-1] == owners[-1][9]).sum() == (1 if finest_parts == 4 else 5)


def test_a_small_piece_does_not_swamp_a_smaller_part() -> None:
    """It has a longer border with a head that is hardly larger than itself than with the hand."""
    tree = head_and_nose(0.014)
    areas = tree.areas.copy()
    areas[tree.atoms[[0, 5]]] += (areas[tree.atoms[5]] - 0.02) * np.array([1, -1])
    _, middle = partitions_of(replace(tree, areas=areas))
    assert middle[9] == middle[10] != middle[8]


def test_what_is_left_of_the_root_is_no_part_if_it_is_small() -> None:
    """A nose between head and hand is all that no mask wants: not even the largest piece is a part."""
    logits = np.full((2, SITES), -9.0, dtype=np.float32)
    logits[0, :9], logits[1, 10:] = 3, 3
    weights = np.full(SITES, 0.995 / (SITES - 1))
    weights[9] = 0.005
    tree = build_part_tree(logits, np.array([0.9, 0.8]), weights, path_graph(weights), NO_ISLANDS)
    owners, middle = partitions_of(tree)
    assert len(np.unique(middle)) == 2
    assert (owners[-1] == owners[-1][9]).sum() == 1


def test_a_weak_part_that_joined_a_neighbor_can_be_split_off_again() -> None:
    logits = np.full((2, SITES), -9.0, dtype=np.float32)
    logits[0, :6], logits[1, 6] = 3, 3
    weights = np.full(SITES, 0.985 / (SITES - 1))
    weights[6] = 0.015
    graph = replace(path_graph(weights), edge_length=np.where(np.arange(SITES - 1) == 5, 0.2, 0.1))
    tree = build_part_tree(logits, np.array([0.9, 0.8]), weights, graph, NO_ISLANDS)
    quality = np.select([tree.masks == 0, tree.masks == 1], [0.9, 0.23], 0.0)
    chain = chain_of(tree, quality)
    middle, finest = (owners[tree.atoms] for owners in (chain.owners[chain.middle], chain.owners[-1]))
    assert middle[6] == middle[5] != middle[7]
    assert len({finest[5], finest[6], finest[7]}) == 3


def test_a_split_takes_from_one_part_where_a_piece_joined_what_is_around_its_node() -> None:
    """Each partition refines the one before also if a hidden node lies over a border made later."""
    atoms = 6
    inside = np.zeros((4, atoms), dtype=bool)
    inside[0], inside[1, 1:], inside[2, 2], inside[3, 3:5] = True, True, True, True
    tree = PartTree(
        atoms=np.arange(atoms),
        areas=np.array([0.4, 0.3, 0.1, 0.01, 0.09, 0.1]),
        inside=inside,
        parents=np.array([-1, 0, 1, 1]),
        masks=np.array([3, 0, 1, 2]),
        kinds=np.array([ROOT, PIECE, MASK, MASK]),
        # The fourth atom touches the root's, and what it belongs to only across the third.
        touching=np.array([[0, 1], [1, 2], [0, 3], [2, 3], [1, 4], [4, 5]]),
        contact=np.array([0.5, 0.5, 0.4, 0.1, 0.5, 0.5]),
    )
    # Too small a detail to have a node of its own, which would be split off first.
    chain = chain_of(tree, np.array([0.0, 0.9, 0.9, 0.1]), least_detail=0.1)
    middle, finest = chain.owners[chain.middle], chain.owners[-1]
    assert middle.tolist() == [0, 1, 2, 0, 1, 1]
    assert finest[4] == 3 != finest[3], "the mask over both takes what is still with its node"
    for coarse, fine in pairwise(chain.owners):
        assert len(np.unique(np.stack([coarse, fine]), axis=1).T) == len(np.unique(fine))


def body_with_arm() -> PartTree:
    """Four atoms, one for each site: what no mask wants, upper and lower arm in one mask, and a crumb."""
    return PartTree(
        atoms=np.arange(4),
        areas=np.array([0.5, 0.2, 0.29, 0.01]),
        inside=np.array([[1, 1, 1, 1], [0, 1, 1, 0], [0, 1, 0, 0], [0, 0, 1, 0]], dtype=bool),
        parents=np.array([-1, 0, 1, 1]),
        masks=np.array([3, 0, 1, 2]),
        kinds=np.array([ROOT, MASK, MASK, MASK]),
        touching=np.array([[0, 1], [1, 2], [2, 3]]),
        contact=np.array([0.5, 0.5, 0.5]),
    )


def test_a_part_hangs_below_its_group_with_what_it_was_given_from_elsewhere() -> None:
    tree = body_with_arm()
    partition = tree_partition(tree, np.array([0, 2, 3, 3]))
    found = [(node.parent, node.part, round(node.area, 9)) for node in containment(tree, partition)]
    assert found == [(None, None, 1), (0, None, 0.5), (0, 0, 0.5), (1, 1, 0.3), (1, 2, 0.2)]
    swallowed = containment(tree, tree_partition(tree, np.array([2, 2, 3, 3])))
    assert [node.parent for node in swallowed] == [None, 0, 0], "most of it is the body"


def test_a_mask_may_speak_for_what_its_part_was_given() -> None:
    """The lower arm's mask claims the crumb, which is not its node's, but the tree gave it back."""
    tree = body_with_arm()
    logits = np.full((3, 4), -9.0, dtype=np.float16)
    logits[0, [1, 2]], logits[1, 1], logits[2, [2, 3]] = 3, 3, 3
    logits[1, 3] = -4
    points = np.eye(4, 3)
    for owner in (3, 2):
        partition = tree_partition(tree, np.array([0, 2, 3, owner]))
        parts = Parts(Sites.of_points(points), logits, np.ones(3), [partition], 0, None, tree)
        assert parts.site_evidence(partition)[3].argmax() == partition.labels[3]


def test_a_piece_that_an_inner_part_divides_is_two_parts_and_a_mask_is_not() -> None:
    """One mask has two pieces, and a belt divides the first of them; no mask says that its halves are one."""
    logits = np.full((2, SITES), -9.0, dtype=np.float32)
    logits[0, :10], logits[0, 12:], logits[1, 4:6] = 3, 3, 3
    weights = np.full(SITES, 1 / SITES)
    tree = build_part_tree(logits, np.array([0.9, 0.8]), weights, path_graph(weights), TreeSettings())
    quality = np.where(tree.masks < len(logits), 0.9, 0.0)
    quality[(tree.kinds == MASK) & (tree.masks == 0)] = 0.0  # its pieces are the parts
    chain = chain_of(tree, quality)
    middle = chain.owners[chain.middle][tree.atoms]
    assert len({middle[0], middle[4], middle[8], middle[12]}) == 4
    whole = build_part_tree(
        logits[:, :12], np.array([0.9, 0.8]), weights[:12], path_graph(weights[:12]), TreeSettings()
    )
    chain = chain_of(whole, np.where(whole.kinds == MASK, 0.9, 0.0))
    middle = chain.owners[chain.middle][whole.atoms]
    assert middle[0] == middle[8] != middle[4]


def test_leftover_pieces_are_divided_by_what_lies_in_them() -> None:
    """A belt leaves two pieces of the root, each with a small mask in it."""
    logits = np.full((3, 20), -9.0, dtype=np.float32)
    logits[0, 8:10], logits[1, 2:5], logits[2, 13:16] = 3, 3, 3
    weights = np.full(20, 1 / 20)
    tree = build_part_tree(logits, np.array([0.9, 0.8, 0.8]), weights, path_graph(weights), TreeSettings())
    quality = np.where(tree.masks == 0, 0.9, np.where(tree.kinds == MASK, 0.1, 0.0))
    chain = chain_of(tree, quality)
    assert len(np.unique(chain.owners[chain.middle])) == 3
    finest = chain.owners[-1][tree.atoms]
    assert (tree.masks[finest[[3, 14]]] == [1, 2]).all()
    for coarse, fine in pairwise(chain.owners):
        assert len(np.unique(np.stack([coarse, fine]), axis=1).T) == len(np.unique(fine))


def test_pieces_of_a_mesh_that_only_lie_near_each_other_are_separate_parts() -> None:
    """What no part wants is two pieces of the mesh with a small gap between them."""
    weights = np.full(SITES, 1 / SITES)
    graph = path_graph(weights)
    graph = replace(graph, is_link=np.arange(SITES - 1) == 6)
    logits = np.full((1, SITES), -9.0, dtype=np.float32)
    logits[0, 11:] = 3
    tree = build_part_tree(logits, np.array([0.9]), weights, graph, TreeSettings())
    assert tree.atoms[[6, 7]].tolist() in tree.touching.tolist(), "the tree knows that they are near"
    chain = chain_of(tree, np.where(tree.masks == 0, 0.9, 0.0))
    middle = chain.owners[chain.middle][tree.atoms]
    assert [len(set(middle[part])) for part in (slice(7), slice(7, 11), slice(11, None))] == [1, 1, 1]
    assert len({middle[0], middle[7], middle[11]}) == 3


# --- separate places ---------------------------------------------------------------------------------

HINGE = 12


def house(hinge: float, *, linked: bool, claimed: bool = True) -> tuple[PartTree, np.ndarray]:
    """A roof and a wall in a row, a mask each, and a hinge apart from both, and the masks' logits [2, SITES].

    hinge: its area; linked: whether it nearly touches the wall; claimed: whether the roof's mask claims it
    """
    weights = np.full(SITES, (1 - hinge) / (SITES - 1))
    weights[HINGE] = hinge
    graph = path_graph(weights, gaps=(HINGE - 1, HINGE))
    if linked:
        graph = replace(
            graph,
            edges=np.concatenate([graph.edges, [[8, HINGE]]]),
            edge_length=np.append(graph.edge_length, 0.1),
            dihedral=np.append(graph.dihedral, 0.0),
            is_link=np.append(graph.is_link, True),
        )
    logits = np.full((2, SITES), -9.0, dtype=np.float32)
    logits[0, :6], logits[1, 6:HINGE], logits[0, HINGE] = 3, 3, 3 if claimed else -9
    return build_part_tree(logits, np.array([0.9, 0.8]), weights, graph, NO_ISLANDS), logits


def beside_the_wall() -> np.ndarray:
    """The hinge lies far from the end of the row and before the wall, nearer to it than to the roof."""
    places = in_a_row(SITES)
    places[HINGE] = 8, 3, 0
    places[SITES - 1] = 40, 0, 0
    return places


@pytest.mark.parametrize("claimed", [True, False])
@pytest.mark.parametrize("linked", [True, False])
def test_a_crumb_far_from_its_part_goes_to_what_it_touches_or_to_what_is_nearest(
    linked: bool, claimed: bool
) -> None:
    """Whether the roof's mask leaked onto it or nobody wants it, and also after refinement's evidence."""
    tree, logits = house(0.004, linked=linked, claimed=claimed)
    # Where it is linked it lies nearer to the roof: touching comes first.
    at = in_a_row(SITES) * (1, 1, 1) if linked else beside_the_wall()
    at[HINGE] = (2, 3, 0) if linked else at[HINGE]
    chain = chain_of(tree, np.where(tree.kinds == MASK, 0.9, 0.0), at=at)
    middle = chain.owners[chain.middle][tree.atoms]
    assert middle[HINGE] == middle[8] != middle[0]
    partition = tree_partition(chain.tree, chain.owners[chain.middle])
    parts = Parts(
        Sites.of_points(at), logits.astype(np.float16), np.ones(2), [partition], 0, None, chain.tree
    )
    assert parts.site_evidence(partition)[HINGE].argmax() == partition.labels[HINGE]


def test_a_notable_piece_that_touches_nothing_is_a_part() -> None:
    tree, _ = house(0.008, linked=False)
    chain = chain_of(tree, np.where(tree.kinds == MASK, 0.9, 0.0), at=beside_the_wall())
    middle = chain.owners[chain.middle][tree.atoms]
    assert (middle == middle[HINGE]).sum() == 1
    tree, _ = house(0.008, linked=True)
    chain = chain_of(tree, np.where(tree.kinds == MASK, 0.9, 0.0))
    middle, finest = (owners[tree.atoms] for owners in (chain.owners[chain.middle], chain.owners[-1]))
    assert middle[HINGE] == middle[8], "what touches something joins it"
    assert (finest == finest[HINGE]).sum() == 1, "and can be split off again"


def made_tree(areas: list[float], masks: list[list[int]], touching: dict[tuple[int, int], float]) -> PartTree:
    """A tree of the root and masks, each a list of atoms, with one site for each atom."""
    inside = np.zeros((len(masks) + 1, len(areas)), dtype=bool)
    inside[0] = True
    for node, atoms in enumerate(masks, 1):
        inside[node, atoms] = True
    return PartTree(
        atoms=np.arange(len(areas)),
        areas=np.array(areas),
        inside=inside,
        parents=np.array([-1] + [0] * len(masks)),
        masks=np.array([len(masks), *range(len(masks))]),
        kinds=np.array([ROOT] + [MASK] * len(masks)),
        touching=np.array(list(touching)),
        contact=np.array(list(touching.values())),
    )


def middle_of(tree: PartTree) -> np.ndarray:
    chain = chain_of(tree, np.where(tree.kinds == MASK, 0.9, 0.0))
    return chain.owners[chain.middle]


def test_parts_that_meet_along_no_length_are_merged_as_those_that_do_not_touch() -> None:
    tree = made_tree([0.3, 0.4, 0.3], [[0], [1], [2]], {(0, 1): 0.0, (1, 2): 0.0})
    owners, _ = partitions_of(tree)
    assert [len(np.unique(each)) for each in owners] == [1, 3]


def test_what_has_grown_needs_a_larger_neighbor() -> None:
    """A place of 1 % that another one joined is no longer half of its smaller neighbour, which has the
    longer border."""
    tree = made_tree(
        [0.456, 0.5, 0.025, 0.010, 0.009],
        [[1], [2]],
        {(0, 1): 0.3, (1, 3): 0.1, (2, 3): 0.2, (3, 4): 0.001},
    )
    assert middle_of(tree).tolist() == [0, 1, 2, 1, 1]


def test_a_thing_that_masks_divide_goes_as_a_whole() -> None:
    """A plant between wall and planter, half of it claimed by the wall: it touches the planter most."""
    near = 0.0001
    tree = made_tree(
        [0.5, 0.45, 0.038, 0.006, 0.006],
        [[0, 3], [1], [2]],
        {(0, 1): 0.3, (3, 4): 0.1, (0, 3): 2 * near, (2, 3): near, (2, 4): 2 * near},
    )
    assert middle_of(tree).tolist() == [1, 2, 3, 3, 3]


def test_a_mask_of_many_pieces_means_them_all() -> None:
    """Slats between two frames: none of them is most of what the mask claims."""
    slats = 14
    near = {(1, 2 + slat): 0.0001 for slat in range(1, slats)}
    areas = [0.4, 0.383, 0.1] + [0.009] * (slats - 1)
    tree = made_tree(areas, [[0], [1], list(range(2, 2 + slats))], {(0, 1): 0.3, **near})
    assert middle_of(tree).tolist() == [1, 2] + [3] * slats
    for border, owner in ((0.0001, 2), (0.1, 3)):
        few = made_tree(areas[:2] + [0.208, 0.009], [[0], [1], [2, 3]], {(0, 1): 0.3, (1, 3): border})
        assert middle_of(few).tolist() == [1, 2, 3, owner], "a crumb is what is connected with nothing"


def test_only_crumbs_stay_one_part() -> None:
    """Where there is nothing to join, what no mask wants is still the whole shape."""
    tree = made_tree([0.005] * 200, [], {(0, 1): 1e-6})
    assert len(np.unique(middle_of(tree))) < 200


# --- learning what is worth it ---------------------------------------------------------------------


def record(seed: int = 0) -> NodeRecord:
    """Root, two halves, and a quarter within the first; the first feature tells them apart."""
    inside = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 0, 0]], dtype=bool)
    known = np.array([[0.9, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 1.0, 0.5]])
    features = np.random.default_rng(seed).normal(size=(4, len(FEATURES))).astype(np.float32)
    features[:, 0] = [0, 10, 20, 30]
    features[:, 4:] = 0
    return NodeRecord(f"made/{seed}", features, np.array([-1, 0, 0, 1]), inside, np.ones(4), [known])


def test_targets_are_hits_with_the_inner_parts_painted_over() -> None:
    targets = node_targets(record(), record().known[0])
    # The first half is the second part only once the quarter is painted over; the second lacks half an atom.
    np.testing.assert_allclose(targets, [0, 1, 1.5 / 2, 0.9])


def test_records_come_back_as_they_were_written(tmp_path: Path) -> None:
    records = [record(seed) for seed in range(3)]
    records[1] = replace(records[1], known=[records[1].known[0], records[1].known[0][:1]])
    path = tmp_path / "trees.xz"
    write_records(path, records)
    for before, after in zip(records, read_records([path]), strict=True):
        assert before.source == after.source
        for name in ("features", "parents", "inside", "areas"):
            np.testing.assert_array_equal(getattr(before, name), getattr(after, name))
        for first, second in zip(before.known, after.known, strict=True):
            np.testing.assert_allclose(first, second, rtol=1e-3)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(DataError, match="truncated"):
        read_records([path])
    with pytest.raises(DataError, match="no part trees"):
        fit_part_quality([], FitSettings())


def test_quality_is_learnt_stored_and_read(tmp_path: Path) -> None:
    fitted = fit_part_quality(
        [record(seed) for seed in range(40)], FitSettings(networks=2, hidden=12, decay=0.01)
    )
    quality = fitted(record(99).features)
    assert quality.shape == (4,)
    np.testing.assert_allclose(quality, [0, 1, 0.75, 0.9], atol=0.25)
    fitted.save(tmp_path / "quality.npz")
    again = load_part_quality(tmp_path / "quality.npz")
    np.testing.assert_allclose(again(record(99).features), quality, rtol=1e-6)
    np.savez(tmp_path / "other.npz", features=np.array(["height"]), **vars(again))
    with pytest.raises(CheckpointError, match="fit it again"):
        load_part_quality(tmp_path / "other.npz")
    whole = (tmp_path / "quality.npz").read_bytes()
    for name, data in (("nowhere", None), ("empty", b""), ("cut", whole[:-90]), ("text", b"not an archive")):
        path = tmp_path / f"{name}.npz"
        if data is not None:
            path.write_bytes(data)
        with pytest.raises(CheckpointError, match="missing or damaged"):
            load_part_quality(path)


def test_the_bundled_quality_knows_these_features() -> None:
    quality: PartQuality = bundled_part_quality()
    values = quality(np.zeros((3, len(FEATURES)), dtype=np.float32))
    assert ((values > 0) & (values < 1)).all()
