# SPDX-License-Identifier: GPL-3.0-or-later
"""Losses against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from backend.training.losses import (
    Alternatives,
    LossConfig,
    dice_loss,
    focal_loss,
    hard_iou,
    mask_losses,
    ranking_loss,
    triplet_contrast,
)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def test_focal_loss_by_hand() -> None:
    logits = torch.tensor([2.0, -1.0, 0.0])
    targets = torch.tensor([1.0, 1.0, 0.0])
    p = [1 / (1 + math.exp(-2)), 1 / (1 + math.exp(1)), 0.5]
    terms = [(1 - p[0]) ** 2 * -math.log(p[0]), (1 - p[1]) ** 2 * -math.log(p[1]), 0.25 * math.log(2)]
    assert float(focal_loss(logits, targets, alpha=None, gamma=2)) == pytest.approx(sum(terms) / 3, rel=1e-5)
    weighted = 0.25 * terms[0] + 0.25 * terms[1] + 0.75 * terms[2]
    assert float(focal_loss(logits, targets, alpha=0.25, gamma=2)) == pytest.approx(weighted / 3, rel=1e-5)


def test_focal_loss_with_gamma_zero_is_cross_entropy() -> None:
    logits, targets = 5 * torch.randn(3, 50), (torch.rand(3, 50) > 0.5).float()
    wanted = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(
        dim=1
    )
    torch.testing.assert_close(focal_loss(logits, targets, alpha=None, gamma=0), wanted)


def test_focal_loss_is_finite_far_out() -> None:
    logits = torch.tensor([1e4, -1e4], requires_grad=True)
    loss = focal_loss(logits, torch.tensor([0.0, 1.0]), alpha=None, gamma=2)
    loss.backward()
    assert loss.item() == pytest.approx(1e4)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_dice_loss_by_hand() -> None:
    far = torch.tensor([50.0, 50.0, -50.0, -50.0])
    targets = torch.tensor([1.0, 0.0, 1.0, 0.0])
    assert float(dice_loss(far, targets)) == pytest.approx(1 - (2 * 1 + 1) / (2 + 2 + 1))
    assert float(dice_loss(far, torch.tensor([1.0, 1, 0, 0]))) == pytest.approx(0, abs=1e-6)


def test_hard_iou_by_hand() -> None:
    logits = torch.tensor([[1.0, 1, -1, -1], [-1, -1, -1, -1]])
    targets = torch.tensor([[True, False, True, False], [False] * 4])
    torch.testing.assert_close(hard_iou(logits, targets), torch.tensor([1 / 3, 0.0]))


def test_only_the_best_of_three_masks_is_trained() -> None:
    targets = torch.tensor([[[True, True, False, False]]])
    good, bad = torch.tensor([4.0, 4, -4, -4]), torch.tensor([-4.0, -4, 4, 4])
    logits = torch.stack([bad, good, bad])[None, None].requires_grad_()
    scores = torch.zeros(1, 1, 3, requires_grad=True)
    losses = mask_losses(logits, scores, targets, torch.ones(1, 1, dtype=torch.bool), LossConfig())
    losses.total.backward()
    assert losses.best.tolist() == [[1]]
    assert losses.true_iou.tolist() == [[1.0]]
    assert logits.grad is not None
    assert (logits.grad[0, 0, [0, 2]] == 0).all()
    assert (logits.grad[0, 0, 1] != 0).all()
    # All three scores learn: one mask is perfect, two are wrong.
    assert float(losses.iou) == pytest.approx(1 / 3)
    assert scores.grad is not None
    torch.testing.assert_close(scores.grad, torch.tensor([[[0.0, -2 / 3, 0.0]]]))


def test_target_and_alternatives_are_matched_to_different_masks() -> None:
    small, large = torch.tensor([1, 0, 0, 0]) > 0, torch.tensor([1, 1, 1, 0]) > 0
    # The first mask is nearest to both; it must go to the target, the second one to the alternative.
    logits = torch.tensor([[3.0, -2, -2, -3], [1.0, 1, -1, -3], [-3.0, -3, -3, 3]])[
        None, None
    ].requires_grad_()
    others = Alternatives(large[None, None, None], torch.ones(1, 1, 1) > 0)
    config = LossConfig(iou=0, alternatives=0.5)
    losses = mask_losses(logits, torch.rand(1, 1, 3), small[None, None], torch.ones(1, 1) > 0, config, others)
    assert losses.best.tolist() == [[0]]
    losses.total.backward()
    assert logits.grad is not None
    assert (logits.grad[0, 0, 2] == 0).all()
    assert float(logits.grad[0, 0, 1, 2]) < 0  # drawn towards the larger part
    without = Alternatives(others.masks, ~others.valid)
    plain = mask_losses(logits, torch.rand(1, 1, 3), small[None, None], torch.ones(1, 1) > 0, config)
    same = mask_losses(logits, torch.rand(1, 1, 3), small[None, None], torch.ones(1, 1) > 0, config, without)
    torch.testing.assert_close(same.total, plain.total)


def test_ranking_loss_counts_pairs_in_the_wrong_order() -> None:
    truth = torch.tensor([[[0.9, 0.5, 0.1]]])
    right = ranking_loss(truth * 10, truth)
    wrong = ranking_loss(truth.flip(2) * 10, truth)
    assert float(right) < 0.01
    assert float(wrong) > 10
    # Equal scores: half a bit for each pair, weighted by how far the truth is apart.
    even = ranking_loss(torch.zeros(1, 1, 3), truth)
    assert float(even) == pytest.approx((0.4 + 0.8 + 0.4) * math.log(2))


def test_total_is_the_weighted_sum_over_valid_masks_only() -> None:
    logits, scores = torch.randn(2, 3, 1, 40), torch.rand(2, 3, 1)
    targets = torch.rand(2, 3, 40) > 0.5
    valid = torch.tensor([[True, False, True], [False, False, True]])
    config = LossConfig(focal=1.5, dice=2, iou=0.5)
    losses = mask_losses(logits, scores, targets, valid, config)
    some = mask_losses(
        logits[valid][:, None], scores[valid][:, None], targets[valid][:, None], torch.ones(3, 1) > 0, config
    )
    torch.testing.assert_close(losses.total, some.total)
    torch.testing.assert_close(losses.total, 1.5 * losses.focal + 2 * losses.dice + 0.5 * losses.iou)


def test_no_valid_mask_gives_zero_not_nan() -> None:
    logits = torch.randn(1, 2, 3, 10, requires_grad=True)
    targets, valid = torch.zeros(1, 2, 10) > 0, torch.zeros(1, 2) > 0
    total = mask_losses(logits, torch.rand(1, 2, 3), targets, valid, LossConfig()).total
    total.backward()
    assert total.item() == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


def test_half_precision_is_computed_in_single() -> None:
    logits, targets = torch.randn(2, 2, 3, 500), torch.rand(2, 2, 500) > 0.7
    scores, valid = torch.rand(2, 2, 3), torch.ones(2, 2) > 0
    low = mask_losses(logits.bfloat16(), scores.bfloat16(), targets, valid, LossConfig())
    rounded = mask_losses(logits.bfloat16().float(), scores.bfloat16().float(), targets, valid, LossConfig())
    assert low.total.dtype == torch.float32
    assert torch.equal(low.total, rounded.total)


def test_contrast_is_zero_for_separated_parts_and_margin_for_equal_features() -> None:
    part_ids = torch.arange(4).repeat(2, 100)
    separated = torch.eye(4)[part_ids]
    config = LossConfig(margin=0.5)
    assert float(triplet_contrast(separated, part_ids, config)) == 0
    assert float(triplet_contrast(torch.ones(2, 400, 8), part_ids, config)) == pytest.approx(0.5)


def test_contrast_ignores_unlabelled_points_and_shapes_with_one_part() -> None:
    features = torch.randn(1, 200, 8)
    assert float(triplet_contrast(features, torch.full((1, 200), -1), LossConfig())) == 0
    assert float(triplet_contrast(features, torch.zeros(1, 200, dtype=torch.int64), LossConfig())) == 0
    part_ids = torch.arange(200)[None] % 3 - 1
    separated = torch.nn.functional.one_hot(part_ids + 1, 3).float()
    separated[part_ids < 0] = torch.nan  # would poison the result if they were used
    loss = triplet_contrast(torch.where(separated.isnan(), 0.3, separated), part_ids, LossConfig(margin=0.9))
    assert float(loss) == 0
