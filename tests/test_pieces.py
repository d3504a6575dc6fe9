# SPDX-License-Identifier: GPL-3.0-or-later
"""Connected pieces of a label: which are parts of their own, and how refinement treats them."""

from __future__ import annotations

import numpy as np
import pytest

from backend.geometry import Mesh
from backend.refinement.face_graph import build_face_graph
from backend.segmentation.part_tree import Partition, number_parts
from backend.segmentation.parts import Parts
from backend.segmentation.pieces import PIECES, PieceSettings, split_pieces, split_remainder
from backend.segmentation.sites import Sites
from tests.built_meshes import cube, joined, plate

SETTINGS = PieceSettings(least_share=0.01, least_ratio=0.5)


def pieces_of(mesh: Mesh, labels: np.ndarray, settings: PieceSettings = SETTINGS) -> np.ndarray:
    return split_pieces(build_face_graph(mesh), labels, settings)


def test_shells_of_one_label_are_pieces_numbered_by_area():
    mesh = joined(cube(side=1.0), cube(center=(5, 0, 0), side=2.0), cube(center=(9, 0, 0), side=1.0))
    labels = np.full(36, 4)
    pieces = pieces_of(mesh, labels)
    assert pieces.dtype == np.int64
    np.testing.assert_array_equal(pieces[::12], [4 * PIECES + 1, 4 * PIECES, 4 * PIECES + 2])
    np.testing.assert_array_equal(pieces, np.repeat(pieces[::12], 12))


def test_every_label_is_numbered_by_itself():
    mesh = joined(*(cube(center=(3 * x, 0, 0)) for x in range(4)))
    pieces = pieces_of(mesh, np.repeat([7, 2, 7, 2], 12))
    np.testing.assert_array_equal(pieces[::12], [7 * PIECES, 2 * PIECES, 7 * PIECES + 1, 2 * PIECES + 1])


def test_what_leaked_onto_a_neighbour_stays_with_its_label():
    mesh = plate(10, 10)
    labels = np.zeros(200, dtype=np.int64)
    labels[:100] = 1  # the lower half
    labels[190:] = 1  # and a patch of the last row, a tenth as large
    pieces = pieces_of(mesh, labels)
    np.testing.assert_array_equal(pieces, labels * PIECES)
    pieces = pieces_of(mesh, labels, PieceSettings(least_share=0.01, least_ratio=0.05))
    assert set(pieces[190:]) == {PIECES + 1}


def test_a_small_shell_is_a_part_however_large_its_sibling():
    mesh = joined(cube(side=3.0), cube(center=(5, 0, 0), side=0.5))
    assert set(pieces_of(mesh, np.zeros(24, dtype=np.int64))[12:]) == {1}
    tiny = joined(cube(side=9.0), cube(center=(9, 0, 0), side=0.5))  # below the least share
    assert set(pieces_of(tiny, np.zeros(24, dtype=np.int64))) == {0}


def test_shells_that_nearly_touch_are_two_pieces():
    mesh = joined(cube(), cube(center=(1.01, 0, 0)))
    graph = build_face_graph(mesh)
    assert graph.is_link.any()
    assert len(np.unique(split_pieces(graph, np.zeros(24, dtype=np.int64), SETTINGS))) == 2


def test_pieces_of_the_remainder_follow_the_masks():
    mesh = joined(*(cube(center=(3 * x, 0, 0)) for x in range(3)))
    labels = split_remainder(build_face_graph(mesh), np.repeat([5, 0, 5], 12), 5, least_share=0.1)
    np.testing.assert_array_equal(labels[::12], [6, 0, 7])


def test_a_partition_knows_the_mask_behind_each_piece():
    painted = np.array([3, 3, 0, 3, 9])

    def clean(labels: np.ndarray, granularity: float) -> np.ndarray:
        return labels * PIECES + np.array([0, 1, 0, 0, 0])

    (partition,) = number_parts([painted], clean=clean)
    np.testing.assert_array_equal(partition.labels, [1, 2, 0, 1, 3])
    np.testing.assert_array_equal(partition.masks, [0, 3, 3, 9])


@pytest.fixture
def two_ends() -> Parts:
    """A strip of 20 squares; one mask covers both ends of it, another one the middle."""
    mesh = plate(20, 1)
    graph = build_face_graph(mesh)
    labels = np.where(np.arange(40) < 10, 1, np.where(np.arange(40) < 30, 0, 2)).astype(np.int32)
    logits = np.stack([np.where(labels == 0, 4.0, -4.0), np.where(labels != 0, 4.0, -4.0)])
    # The network is wrong about the two faces on the left of the middle: they belong to the end.
    logits[:, 10:12] = [[-3.0], [3.0]]
    sites = Sites.of_mesh(mesh, np.arange(40, dtype=np.int32))
    partition = Partition(labels, np.array([0, 1, 1]))
    return Parts(
        sites, logits.astype(np.float16), np.array([0.5, 0.8], np.float32), [partition], [partition], graph
    )


def test_evidence_for_a_mask_goes_to_the_nearest_of_its_pieces(two_ends: Parts):
    evidence = two_ends.face_evidence()
    np.testing.assert_allclose(evidence.sum(axis=1), 1, atol=1e-5)
    assert (evidence[:12].argmax(axis=1) == 1).all()
    assert (evidence[12:30].argmax(axis=1) == 0).all()
    assert (evidence[30:].argmax(axis=1) == 2).all()
    assert (evidence[:15, 2] < 1e-4).all()
    assert (evidence[25:, 1] < 1e-4).all()
    np.testing.assert_allclose(two_ends.confidence(), [0.5, 0.8, 0.8])


def test_refinement_moves_a_piece_and_keeps_it_apart(two_ends: Parts):
    refined = two_ends.refined_labels(0.5, 1.0)
    expected = np.where(np.arange(40) < 12, 1, np.where(np.arange(40) < 30, 0, 2))
    np.testing.assert_array_equal(refined, expected)
