# SPDX-License-Identifier: GPL-3.0-or-later
"""Training clicks against regions whose deepest points are known, and against the exact search."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from backend.click_simulation import ClickConfig, corrective_clicks, deep_points, first_clicks

EXACT = ClickConfig(candidates=64, others=4000, random=0.0, random_first=0.0)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def flat_square(count: int) -> Tensor:
    points = torch.rand(2, count, 3)
    points[..., 2] = 0
    return points


def picked(points: Tensor, index: Tensor) -> Tensor:
    return points.gather(1, index[..., None].expand(-1, -1, 3))


def test_first_click_is_near_the_middle_of_a_disc() -> None:
    points = flat_square(4000)
    middles = torch.tensor([[0.5, 0.5, 0], [0.3, 0.6, 0]])
    targets = torch.stack([(points - m).norm(dim=-1) < 0.25 for m in middles], dim=1)
    index = first_clicks(points, targets, EXACT)
    assert targets.gather(2, index[..., None]).all()
    assert float((picked(points, index) - middles).norm(dim=-1).max()) < 0.08


def test_depth_is_close_to_the_exact_maximum() -> None:
    points = torch.rand(3, 3000, 3)
    regions = torch.stack([points[..., 0] < 0.4, (points - 0.5).norm(dim=-1) < 0.4], dim=1)
    index = deep_points(points, regions, ClickConfig(), random=0.0)
    for b in range(3):
        for m in range(2):
            inside, outside = points[b][regions[b, m]], points[b][~regions[b, m]]
            exact = torch.cdist(inside, outside).amin(dim=1).max()
            found = torch.cdist(points[b][index[b, m]][None], outside).min()
            assert regions[b, m, index[b, m]]
            assert float(found) > 0.6 * float(exact)


def deepest_of(points: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda regions: deep_points(points, regions, EXACT, random=EXACT.random)


def test_correction_goes_to_the_larger_error_with_its_label() -> None:
    points = flat_square(4000)
    x = points[..., 0]
    target = x < 0.5
    missing = x < 0.2  # misses 0.2 .. 0.5
    too_much = x < 0.9  # takes 0.5 .. 0.9
    targets = torch.stack([target, target, target], dim=1)
    masks = torch.stack([missing, too_much, target], dim=1)
    index, labels = corrective_clicks(targets, masks, deepest_of(points))
    assert labels.tolist() == [[1, 0, 1]] * 2
    clicked = picked(points, index)[..., 0]
    assert (((clicked - 0.35).abs() < 0.1)[:, 0]).all()
    assert (((clicked - 0.7).abs() < 0.1)[:, 1]).all()
    assert (clicked[:, 2] < 0.5).all()  # a perfect mask: inside of the target


def test_the_larger_of_both_errors_wins() -> None:
    points = flat_square(4000)
    x = points[..., 0]
    targets = ((x > 0.1) & (x < 0.6))[:, None]
    masks = ((x > 0.4) & (x < 0.7))[:, None]  # misses 0.3, takes 0.1 too much
    index, labels = corrective_clicks(targets, masks, deepest_of(points))
    assert labels.tolist() == [[1]] * 2
    assert (picked(points, index)[..., 0] < 0.4).all()


def test_random_share_is_spread_over_the_region() -> None:
    points = flat_square(2000)[:1].expand(64, -1, -1)
    targets = (points[..., 0] < 0.5)[:, None]
    index = first_clicks(points, targets, ClickConfig(random_first=1.0))
    clicked = picked(points, index)[:, 0, 0]
    assert (clicked < 0.5).all()
    assert float(clicked.std()) > 0.1


def test_empty_regions_do_not_fail() -> None:
    points = flat_square(100)
    index = first_clicks(points, torch.zeros(2, 3, 100, dtype=torch.bool), EXACT)
    assert index.shape == (2, 3)
    assert int(index.min()) >= 0
    assert int(index.max()) < 100


def test_a_region_that_is_everything_gets_any_of_its_points() -> None:
    points = flat_square(100)
    index = first_clicks(points, torch.ones(2, 1, 100, dtype=torch.bool), EXACT)
    assert int(index.max()) < 100


def test_single_point_regions_are_found() -> None:
    points = flat_square(500)
    regions = torch.zeros(2, 3, 500, dtype=torch.bool)
    wanted = torch.tensor([[0, 250, 499], [7, 8, 9]])
    regions.scatter_(2, wanted[..., None], True)
    assert torch.equal(deep_points(points, regions, ClickConfig(), random=0.1), wanted)
