# SPDX-License-Identifier: GPL-3.0-or-later
"""Evaluation's metrics have known answers, and simulated clicks a known middle."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from backend.click_simulation import corrective_clicks, deepest_points, random_points
from backend.evaluation.boundary import boundary_f_score, build_edge_graph
from backend.evaluation.first_click import first_answers, nearest_in_size
from backend.geometry import Mesh
from backend.metrics import (
    adjusted_rand_index,
    best_ious,
    mean_best_iou,
    panoptic_quality,
    part_ious,
    pearson,
    spearman,
)
from tests.evaluation_fixtures import grid_mesh, joined

# --- metrics ---------------------------------------------------------------------------------------


def test_part_ious_by_hand():
    true = np.array([0, 0, 0, 1, 1, -1])
    predicted = np.array([5, 5, 9, 9, 9, 9])
    weights = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    # Part 0 weighs 6, part 1 weighs 9; prediction 5 weighs 3, prediction 9 weighs 18 (unlabelled included).
    expected = [[3 / 6, 3 / (6 + 18 - 3)], [0.0, 9 / 18]]
    np.testing.assert_allclose(part_ious(true, predicted, weights), expected)
    np.testing.assert_allclose(best_ious(true, predicted, weights), [0.5, 0.5])
    np.testing.assert_allclose(part_ious(true, predicted), [[2 / 3, 1 / 6], [0, 2 / 4]])


def test_mean_best_iou_of_equal_shifted_and_missing_labelings():
    true = np.repeat([0, 1, 2, 3], 10)
    assert mean_best_iou(true, true) == 1.0
    assert mean_best_iou(true, 7 - true) == 1.0  # names do not matter
    # Shifted by 2 of 10: first part 8/10 of itself; inner parts 8/12; the last one swallows two more: 10/12.
    shifted = np.concatenate([true[2:], [3, 3]])
    assert mean_best_iou(true, shifted) == pytest.approx((8 / 10 + 8 / 12 + 8 / 12 + 10 / 12) / 4)
    assert mean_best_iou(true, np.zeros(40, int)) == pytest.approx(0.25)
    assert mean_best_iou(true, np.full(40, -1)) == 0.0
    assert np.isnan(mean_best_iou(np.full(4, -1), np.zeros(4, int)))


def test_panoptic_quality_charges_for_misses_and_surplus():
    true = np.repeat([0, 1, 2, 3], 10)
    assert panoptic_quality(true, 7 - true) == 1.0
    # One part too many, cut from part 0: its larger piece still hits, with 8 of 10.
    assert panoptic_quality(true, np.where(np.arange(40) < 2, 9, true)) == pytest.approx(3.8 / 4.5)
    # Two parts merged: two misses and one surplus, as neither has more than half of the union.
    assert panoptic_quality(true, np.where(true == 1, 0, true)) == pytest.approx(2 / (2 + 1 + 0.5))
    # Nobody knows what lies on unlabelled faces: a part of its own there is no surplus, ...
    unknown = np.where(true == 3, -1, true)
    assert panoptic_quality(unknown, true) == 1.0
    # ... but a part that takes more of them than it has of its own is no hit.
    assert panoptic_quality(unknown, np.where(true == 3, 2, true)) == pytest.approx(2 / (2 + 0.5 + 0.5))
    weights = np.where(true == 0, 3.0, 1.0)  # area counts, not faces: 24 of 30 of part 0
    cut = np.where(np.arange(40) < 2, 9, true)
    assert panoptic_quality(true, cut, weights) == pytest.approx(3.8 / 4.5)
    assert np.isnan(panoptic_quality(np.full(4, -1), np.zeros(4, int)))


def test_adjusted_rand_index_is_that_of_many_equal_elements():
    true = np.array([0, 0, 1, 1, 1, -1])
    predicted = np.array([4, 4, 4, 5, 5, 4])
    weights = np.array([1.0, 2.0, 3.0, 1.0, 2.0, 50.0])
    # Contingency (3, 0; 3, 3) of 9: pairs together 27, in truth 45, in prediction 45, by chance 45 * 45 / 81.
    expected = (27 - 25) / (45 - 25)
    assert adjusted_rand_index(true, predicted, weights) == pytest.approx(expected)
    assert adjusted_rand_index(true, predicted, 7 * weights) == pytest.approx(expected)
    assert adjusted_rand_index(true, 3 - true) == pytest.approx(1.0)
    assert adjusted_rand_index(true, np.zeros(6, int)) == pytest.approx(0.0)
    assert adjusted_rand_index(np.zeros(3, int), np.zeros(3, int)) == 1.0
    assert np.isnan(adjusted_rand_index(np.full(3, -1), np.zeros(3, int)))


def test_correlations_by_hand():
    first, second = np.array([1.0, 2, 3, 4]), np.array([1.0, 4, 9, 16])
    assert spearman(first, second) == pytest.approx(1.0)
    # covariance 25 (sum), variances 5 and 129 (sums)
    assert pearson(first, second) == pytest.approx(25 / np.sqrt(5 * 129))
    assert pearson(first, -first) == pytest.approx(-1.0)
    assert np.isnan(pearson(first, np.ones(4)))


def test_boundary_f_score_follows_the_surface_and_its_tolerance():
    mesh = grid_mesh(20, 4)
    x = np.tile(np.repeat(np.arange(20), 2), 4)
    y = np.repeat(np.arange(4), 40)
    true = (x >= 10).astype(int)
    graph = build_edge_graph(mesh)
    one_cell = 1 / np.hypot(20, 4)
    assert boundary_f_score(graph, true, true, tolerance=0) == 1.0
    shifted = (x >= 11).astype(int)
    assert boundary_f_score(graph, true, shifted, tolerance=1.01 * one_cell) == 1.0
    assert boundary_f_score(graph, true, shifted, tolerance=0.99 * one_cell) == 0.0
    # Rows 0-1 are cut at 10 (2 of 2 right), rows 2-3 at 15 (2 wrong), joined by 5 wrong edges along y = 2.
    stepped = (x >= np.where(y < 2, 10, 15)).astype(int)
    precision, recall = 2 / 9, 2 / 4
    expected = 2 * precision * recall / (precision + recall)
    assert boundary_f_score(graph, true, stepped, tolerance=1e-9) == pytest.approx(expected)
    assert boundary_f_score(graph, true, np.zeros_like(true)) == 0.0
    assert np.isnan(boundary_f_score(graph, np.zeros_like(true), true))


def test_boundary_distance_does_not_jump_through_a_thin_plate():
    """Two sheets 0.01 apart: a cut of the one is no cut of the other."""
    lower = grid_mesh(10, 4)
    upper = Mesh(lower.vertices + np.array([0, 0, 0.01]), lower.triangles)
    x = np.tile(np.repeat(np.arange(10), 2), 4)
    cut, whole = (x >= 5).astype(int), np.zeros_like(x)
    graph = build_edge_graph(joined(lower, upper))
    below, above = np.concatenate([cut, whole]), np.concatenate([whole, cut])
    assert boundary_f_score(graph, below, above, tolerance=0.2) == 0.0


def test_boundary_graph_welds_seams():
    mesh = grid_mesh(4, 1)
    soup = Mesh(mesh.corners().reshape(-1, 3), np.arange(24).reshape(-1, 3))
    true = np.repeat([0, 1], 4)
    assert boundary_f_score(build_edge_graph(soup), true, true) == 1.0


# --- simulated clicks ------------------------------------------------------------------------------


@pytest.fixture
def plane() -> torch.Tensor:
    """Points of a 21 x 21 grid with spacing 1, index = 21 * row + column."""
    row, column = np.mgrid[0:21, 0:21]
    return torch.tensor(np.stack([column, row, 0 * row], -1).reshape(-1, 3), dtype=torch.float32)


def test_first_click_is_the_middle_of_the_part(plane: torch.Tensor):
    x, y = plane[:, 0], plane[:, 1]
    disc = (x - 8) ** 2 + (y - 12) ** 2 < 5.5**2
    strip = (y >= 2) & (y <= 4) & (x >= 1) & (x <= 3)
    generator = torch.Generator().manual_seed(0)
    index = deepest_points(plane, torch.stack([disc, strip]), generator=generator)
    assert index.tolist() == [21 * 12 + 8, 21 * 3 + 2]


def test_more_points_than_candidates_still_gives_a_deep_point(plane: torch.Tensor):
    disc = (plane[:, 0] - 10) ** 2 + (plane[:, 1] - 10) ** 2 < 8.5**2
    picks = [
        int(deepest_points(plane, disc[None], generator=torch.Generator().manual_seed(s), candidates=30)[0])
        for s in (1, 1, 2)
    ]
    assert picks[0] == picks[1]
    for pick in picks:
        assert disc[pick]
        assert torch.linalg.norm(plane[pick] - torch.tensor([10.0, 10, 0])) < 4


def test_corrective_click_goes_to_the_larger_error(plane: torch.Tensor):
    x, y = plane[:, 0], plane[:, 1]
    target = x <= 10
    missing = target & ~((x >= 2) & (x <= 4) & (y >= 9) & (y <= 11))  # a hole of 9 points around (3, 10)
    spilled = target | ((x >= 14) & (x <= 18) & (y >= 4) & (y <= 8))  # 25 points around (16, 6) too much
    both = missing & target | (spilled & ~target)
    index, label = corrective_clicks(
        target.expand(4, -1),
        torch.stack([missing, spilled, both, target]),
        partial(deepest_points, plane, generator=torch.Generator().manual_seed(0)),
    )
    assert index[:3].tolist() == [21 * 10 + 3, 21 * 6 + 16, 21 * 6 + 16]
    assert label.tolist() == [1, 0, 0, 1]
    assert target[index[3]]  # nothing to correct: a positive click inside


def test_a_region_without_outside_does_not_break_the_search(plane: torch.Tensor):
    everything = torch.ones(1, len(plane), dtype=torch.bool)
    assert 0 <= int(deepest_points(plane, everything, generator=torch.Generator())[0]) < len(plane)


def test_random_clicks_lie_inside_and_differ():
    regions = torch.zeros(3, 50, dtype=torch.bool)
    regions[0, :20], regions[1, 30:], regions[2, 7] = True, True, True
    found = random_points(regions, torch.Generator().manual_seed(0), 4)
    assert found.shape == (3, 4)
    assert regions.gather(1, found).all()
    assert [len(row.unique()) for row in found] == [4, 4, 1]
    several = {random_points(regions, torch.Generator().manual_seed(s))[0].item() for s in range(20)}
    assert len(several) > 5


def test_a_known_size_chooses_by_ratio_or_goes_to_the_network():
    targets = torch.zeros(1, 100, dtype=torch.bool)
    targets[0, :10] = True
    masks = torch.stack([torch.arange(100) < n for n in (4, 21, 100)])[None]
    assert nearest_in_size(masks.float() - 0.5, torch.tensor([0.1])).tolist() == [1]
    assert nearest_in_size(masks.float() - 0.5, torch.tensor([0.09])).tolist() == [0]

    class Offering:
        takes_size = False

        def predict_batch(self, shape, points, labels, previous=None, sizes=None):
            scores = torch.tensor([[0.2, 0.1, 0.9]])
            if sizes is not None:
                scores = (
                    torch.tensor([[0.9, 0.1, 0.2]]) if sizes.tolist() == pytest.approx([0.1]) else -scores
                )
            return masks.float() - 0.5, scores

    predictor, points = Offering(), torch.zeros(100, 3)
    found = first_answers(predictor, None, points, targets, torch.tensor([0]))
    assert [found.chosen[0], found.best_of_three[0], found.with_size[0]] == pytest.approx(
        [0.1, 10 / 21, 10 / 21]
    )
    predictor.takes_size = True
    assert first_answers(predictor, None, points, targets, torch.tensor([0])).with_size[0] == pytest.approx(
        0.4
    )
