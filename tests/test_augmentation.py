# SPDX-License-Identifier: GPL-3.0-or-later
"""Augmentation: transforms, resampling, dropping, composing and visibility on built point sets."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from backend.training.augmentation import (
    AugmentationConfig,
    LabelledPoints,
    augment,
    axis_turns,
    compose,
    drop_regions,
    keep_visible,
    normalise_points,
    random_axis_frames,
    random_rotations,
    random_transforms,
    resample_kept,
    transform,
    visible_from_outside,
)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def sphere(count: int, radius: float = 1.0) -> Tensor:
    return radius * torch.nn.functional.normalize(torch.randn(1, count, 3), dim=-1)


def labelled(points: Tensor, part: int = 0) -> LabelledPoints:
    normals = torch.nn.functional.normalize(points, dim=-1)
    ids = torch.full(points.shape[:2], part)
    return LabelledPoints(points, normals, torch.rand_like(points), ids, ids[:, None].clone())


@pytest.mark.parametrize("make", [
    lambda: random_rotations(500, "cpu"),
    lambda: random_axis_frames(500, "cpu"),
    lambda: axis_turns(500, device="cpu", free=0.5),
])  # fmt: skip
def test_rotations_are_proper(make) -> None:
    matrices = make()
    identity = torch.eye(3).expand(500, 3, 3)
    torch.testing.assert_close(matrices @ matrices.transpose(1, 2), identity, atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(matrices), torch.ones(500))


def test_axis_frames_are_all_24() -> None:
    frames = random_axis_frames(2000, "cpu").round().long()
    assert len(torch.unique(frames.flatten(1), dim=0)) == 24


def test_random_rotations_are_uniform() -> None:
    images = random_rotations(20_000, "cpu")[:, :, 0]
    torch.testing.assert_close(images.mean(dim=0), torch.zeros(3), atol=0.02, rtol=0)
    torch.testing.assert_close(images.square().mean(dim=0), torch.full((3,), 1 / 3), atol=0.01, rtol=0)


def test_turns_without_freedom_are_right_angles() -> None:
    matrices = axis_turns(200, device="cpu", free=0.0)
    torch.testing.assert_close(matrices, matrices.round(), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("z_share", "axis"), [(0.0, 1), (1.0, 2)])
def test_turns_are_about_the_axis_that_is_asked_for(z_share: float, axis: int) -> None:
    up = torch.eye(3)[axis]
    matrices = axis_turns(200, device="cpu", free=0.5, z_share=z_share)
    torch.testing.assert_close(matrices @ up, up.expand(200, 3), atol=1e-6, rtol=0)
    assert len(torch.unique(matrices.round(decimals=3), dim=0)) > 50


def test_of_turns_about_an_up_axis_a_share_is_about_z() -> None:
    config = AugmentationConfig(spin=1, axis_swap=0, any_rotation=0, stretch=0, flip=0, about_z=0.2)
    z_stays = (random_transforms(torch.zeros(2000, 1, 3), config)[:, 2, 2] - 1).abs() < 1e-6
    assert float(z_stays.float().mean()) == pytest.approx(0.2, abs=0.04)


def test_a_share_stays_as_stored() -> None:
    """Neither mirrored nor turned about the up axis, but other changes of pose reach it, too."""
    still = AugmentationConfig(spin=1, axis_swap=0, any_rotation=0, stretch=0, about_z=0, as_stored=0.3)
    points = torch.zeros(2000, 1, 3)
    kept = (random_transforms(points, still) == torch.eye(3)).flatten(1).all(dim=1)
    assert float(kept.float().mean()) == pytest.approx(0.3, abs=0.04)
    swapped = random_transforms(points, dataclasses.replace(still, as_stored=1, axis_swap=1))
    assert len(torch.unique(swapped, dim=0)) == 24
    assert (torch.linalg.det(swapped) > 0).all()


def test_without_shapes_as_stored_no_random_number_is_drawn_for_them() -> None:
    """Runs without the setting go on with the random numbers that they had before there was one."""
    states = []
    for share in (0.0, 0.5):
        torch.manual_seed(3)
        random_transforms(torch.zeros(4, 1, 3), AugmentationConfig(as_stored=share))
        states.append(torch.get_rng_state())
    assert not torch.equal(*states)
    torch.manual_seed(3)
    _transforms_drawn_by_hand(4)
    assert torch.equal(states[0], torch.get_rng_state())


def _transforms_drawn_by_hand(batch: int) -> None:
    for columns in (3, 3):  # stretch, mirror
        torch.rand(batch, columns)
    for _ in ("angle", "free", "about z", "swap"):
        torch.rand(batch)
    random_axis_frames(batch, "cpu")
    torch.rand(batch)  # any rotation
    random_rotations(batch, "cpu")


def test_normals_stay_perpendicular_and_outward_under_any_transform() -> None:
    points = sphere(400).expand(64, -1, -1)
    matrices = random_transforms(points, AugmentationConfig(stretch=0.8))
    moved, normals = transform(points, points, matrices)
    tangent = torch.linalg.cross(
        points, torch.tensor([0.3, 0.5, 0.8]).expand_as(points)
    ) @ matrices.transpose(1, 2)
    assert float((normals * tangent).sum(dim=-1).abs().max()) < 1e-4
    assert float((normals * moved).sum(dim=-1).min()) > 0
    torch.testing.assert_close(normals.norm(dim=-1), torch.ones(64, 400))


def test_normalised_points_fill_the_cube() -> None:
    points = torch.rand(5, 100, 3) * torch.tensor([1.0, 7.0, 3.0]) + 4
    cube = normalise_points(points)
    low, high = cube.amin(dim=1), cube.amax(dim=1)
    torch.testing.assert_close((low + high) / 2, torch.zeros(5, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close((high - low).amax(dim=1), torch.full((5,), 1.8))
    ratio = (high - low) / (points.amax(dim=1) - points.amin(dim=1))
    torch.testing.assert_close(ratio, ratio[:, :1].expand(-1, 3))


def test_resampling_takes_kept_points_once_then_again() -> None:
    keep = torch.tensor([[1, 1, 0, 1, 0, 1], [0, 1, 0, 0, 1, 0], [0] * 6], dtype=torch.bool)
    index = resample_kept(keep, 4)
    assert sorted(index[0].tolist()) == [0, 1, 3, 5]
    assert sorted(index[1].tolist()) == [1, 1, 4, 4]
    assert len(set(index[2].tolist())) == 4


def test_dropped_region_is_a_ball() -> None:
    batch = labelled(sphere(2000).expand(20, -1, -1))
    after = drop_regions(batch, AugmentationConfig(drop=1.0, drop_share=0.5))
    assert after.points.shape == batch.points.shape
    for before, left in zip(batch.points, after.points, strict=True):
        gone = before[~torch.isin(before[:, 0], left[:, 0])]
        if len(gone) < 100:
            continue
        # A ball's cut of a sphere is a cap: a plane separates what is gone from what is left.
        axis = torch.nn.functional.normalize(gone.mean(dim=0), dim=0)
        assert float((gone @ axis).min()) > float((left @ axis).max()) - 0.15


def test_nothing_is_dropped_at_probability_zero() -> None:
    batch = labelled(sphere(300))
    after = drop_regions(batch, AugmentationConfig(drop=0.0))
    assert sorted(after.points[0, :, 0].tolist()) == sorted(batch.points[0, :, 0].tolist())


def test_only_the_outer_of_two_spheres_is_visible() -> None:
    count = 20_000
    points = torch.cat([sphere(count), sphere(count, 0.6)], dim=1)
    visible = visible_from_outside(points)[0]
    assert float(visible[:count].float().mean()) > 0.999
    assert float(visible[count:].float().mean()) < 0.01


def test_inside_of_an_open_bowl_is_visible() -> None:
    points = sphere(60_000)
    bowl = points[:, points[0, :, 2] < 0]
    assert float(visible_from_outside(bowl).float().mean()) > 0.99


def test_keeping_the_visible_removes_the_inner_part() -> None:
    outer, inner = labelled(sphere(20_000), 0), labelled(sphere(20_000, 0.5), 1)
    both = LabelledPoints(*(torch.cat([getattr(outer, f), getattr(inner, f)], dim=dim) for f, dim in (
        ("points", 1), ("normals", 1), ("colors", 1), ("part_ids", 1), ("other_ids", 2))))  # fmt: skip
    kept = keep_visible(both, 5000)
    assert kept.points.shape == (1, 5000, 3)
    assert float((kept.part_ids == 0).float().mean()) > 0.99
    torch.testing.assert_close(kept.points.norm(dim=-1), torch.ones(1, 5000) - 0.5 * (kept.part_ids == 1))


def test_composition_touches_and_keeps_labels_apart() -> None:
    first, second = labelled(sphere(3000), 2), labelled(sphere(3000), 1)
    second.part_ids[:, :1000] = -1
    areas = torch.tensor([[4 * math.pi, 4 * math.pi]])
    both = compose(first, second, areas, label_offset=64)
    assert both.part_ids.unique().tolist() == [-1, 2, 65]
    on_first = both.part_ids == 2
    torch.testing.assert_close(both.points[on_first].norm(dim=-1), torch.ones(int(on_first.sum())))
    other = both.points[~on_first]
    gap = torch.cdist(other, both.points[on_first]).min()
    assert float(gap) < 0.15
    share = 1 - float(on_first.float().mean())
    middle = other.mean(dim=0)
    radius = float((other - middle).norm(dim=-1).mean())
    assert share == pytest.approx(radius**2 / (1 + radius**2), abs=0.02)  # sampled evenly


def test_augmented_colours_are_grey_half_of_the_time() -> None:
    batch = labelled(sphere(64).expand(400, -1, -1))
    after = augment(batch, AugmentationConfig())
    grey = (after.colors == 192 / 255).flatten(1).all(dim=1)
    assert 0.4 < float(grey.float().mean()) < 0.6
    assert float(after.colors.min()) >= 0
    assert float(after.colors.max()) <= 1


def test_augmentation_keeps_points_with_their_labels() -> None:
    """Two far balls stay two far balls: their labels separate them after any augmentation."""
    points = torch.cat([sphere(300, 0.2) - 1, sphere(300, 0.2) + 1], dim=1).expand(50, -1, -1)
    batch = labelled(points)
    batch.part_ids[:, 300:] = 1
    after = augment(batch, AugmentationConfig(drop=0.0))
    for cloud, ids in zip(after.points, after.part_ids, strict=True):
        a, b = cloud[ids == 0], cloud[ids == 1]
        assert float(torch.cdist(a, a).max()) < float(torch.cdist(a, b).min())


def test_a_scan_is_noisier_than_other_shapes_and_its_normals_with_its_positions() -> None:
    batch = labelled(sphere(500).expand(64, -1, -1))
    quiet = AugmentationConfig(stretch=0, normal_flip=0, drop=0, normal_noise=0, jitter=0)
    after = augment(batch, dataclasses.replace(quiet, scanned=0.5))
    radii = after.points.norm(dim=2)
    rough = radii.std(dim=1) / radii.mean(dim=1)
    turned = 1 - (after.normals * torch.nn.functional.normalize(after.points, dim=2)).sum(dim=2).mean(dim=1)
    scanned = turned > 0.01
    assert 0.2 < float(scanned.float().mean()) < 0.8
    assert float(rough[scanned].max()) > 0.01 > float(rough[~scanned].max())
    assert float(torch.corrcoef(torch.stack([rough[scanned], turned[scanned]]))[0, 1]) > 0.8
