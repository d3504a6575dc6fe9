# SPDX-License-Identifier: GPL-3.0-or-later
"""Farthest points, neighbours and interpolation weights against their definitions."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from backend.network import (
    farthest_point_sampling,
    interpolation_weights,
    neighbors,
    patch_geometry,
    patch_space,
)
from backend.network.farthest_points import farthest_points
from backend.training import device_geometry
from tests.tiny_network import TINY


def cloud(count: int, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.9, 0.9, (count, 3)).astype(np.float32)


@st.composite
def lattices(draw: st.DrawFn) -> np.ndarray:
    """Points of a small lattice, as float32: many of them equal, many distances tied."""
    count = draw(st.integers(1, 40))
    return draw(arrays(np.int64, (count, 3), elements=st.integers(-3, 3))).astype(np.float32) / 4


def squared_distances(queries: np.ndarray, points: np.ndarray) -> np.ndarray:
    return ((queries[:, None].astype(np.float64) - points[None]) ** 2).sum(axis=2)


def assert_farthest(points: np.ndarray, chosen: np.ndarray, *, rounding: float = 0.0) -> None:
    """Each chosen point is as far from those before it as any point is."""
    distances = squared_distances(points[chosen], points)
    assert chosen[0] == 0
    for i in range(1, len(chosen)):
        to_chosen = distances[:i].min(axis=0)
        assert to_chosen[chosen[i]] >= to_chosen.max() * (1 - rounding)


# --- farthest point sampling -----------------------------------------------------------------------


@given(lattices(), st.integers(1, 60))
def test_farthest_points_obey_the_definition(points: np.ndarray, count: int) -> None:
    """Lattice coordinates are exact in float32, so no rounding is allowed for."""
    chosen = farthest_point_sampling(points, count)
    assert (chosen.shape, chosen.dtype) == ((count,), np.int64)
    assert_farthest(points, chosen[: len(points)])
    np.testing.assert_array_equal(chosen, np.resize(chosen[: len(points)], count))


NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no graphics card")


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=NO_GPU)])
@pytest.mark.parametrize("axes", [3, 6])
def test_patches_are_the_same_on_a_device(axes: int, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The device's code, also run on the CPU: the same patches, in whatever chunks."""
    points = np.random.default_rng(axes).normal(size=(TINY.points, axes)).astype(np.float32)
    ours = patch_geometry(points, TINY)
    centers = points[ours.center_index[0].numpy()]
    weights = interpolation_weights(centers, points)
    monkeypatch.setattr(neighbors, "searches_neighbors", lambda name: True)
    monkeypatch.setattr(neighbors, "_DISTANCES_AT_ONCE", 7 * TINY.points)
    theirs = patch_geometry(points, TINY, device=device)
    for name, expected in vars(ours).items():
        assert torch.equal(getattr(theirs, name).cpu(), expected), name
    for expected, found in zip(weights, interpolation_weights(centers, points, device=device), strict=True):
        torch.testing.assert_close(found.cpu(), expected, rtol=1e-6, atol=0)


def test_large_clouds_are_sampled_by_the_definition() -> None:
    points = cloud(5000, seed=1)
    chosen = farthest_point_sampling(points, 256)
    assert_farthest(points, chosen, rounding=1e-6)
    assert len(set(chosen.tolist())) == 256


def test_distinct_points_come_before_any_repetition() -> None:
    points = np.repeat(cloud(10), 5, axis=0)
    chosen = farthest_point_sampling(points, 30)
    assert len(np.unique(points[chosen[:10]], axis=0)) == 10


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_patches_stay_on_their_side_of_a_thin_wall() -> None:
    """Two sheets a hundredth apart, facing away from each other."""
    flat = cloud(800, seed=12) * [1, 1, 0]
    side = np.arange(800) % 2
    points = (flat + np.outer(side - 0.5, [0, 0, 0.01])).astype(np.float32)
    normals = np.outer(2 * side - 1, [0, 0, 1]).astype(np.float32)
    config = replace(TINY, normal_distance=0.3, mask_prompt_points=None)
    geometry = patch_geometry(patch_space(points, normals, config), config)
    centers, neighbors = geometry.center_index[0].numpy(), geometry.neighbor_index[0].numpy()
    assert (side[neighbors] == side[centers][:, None]).all()
    mixed = patch_geometry(points, config)
    sides = side[mixed.neighbor_index[0].numpy()]
    assert (sides.min(axis=1) != sides.max(axis=1)).mean() > 0.5


# --- nearest neighbours ----------------------------------------------------------------------------


@given(lattices(), st.integers(1, 12), st.integers(1, 50))
def test_patches_hold_the_nearest_points(points: np.ndarray, size: int, patches: int) -> None:
    """Also with fewer points than neighbours or patches, and with coinciding points."""
    config = replace(TINY, patches=patches, patch_neighbors=size, mask_prompt_points=None)
    geometry = patch_geometry(points, config)
    centers = points[geometry.center_index[0].numpy()]
    index = geometry.neighbor_index[0].numpy()
    assert index.shape == (patches, size)
    distances = squared_distances(centers, points)
    found = np.take_along_axis(distances, index, axis=1)
    available = min(size, len(points))
    np.testing.assert_array_equal(found[:, :available], np.sort(distances, axis=1)[:, :available])
    for row in index:
        assert len(set(row.tolist())) == available
    np.testing.assert_array_equal(index, index[:, np.arange(size) % available])


def test_mask_prompts_are_read_at_a_random_subset_that_depends_on_the_seed_alone() -> None:
    points = cloud(TINY.points)
    first, again, other = (patch_geometry(points, TINY, seed=seed) for seed in (0, 0, 1))
    for field in fields(first):
        assert torch.equal(getattr(first, field.name), getattr(again, field.name)), field.name
    chosen = first.mask_point_index[0].numpy()
    assert len(np.unique(chosen)) == TINY.mask_prompt_points
    assert not torch.equal(first.mask_point_index, other.mask_point_index)
    subset = points[chosen]
    centers = points[first.center_index[0].numpy()]
    index = first.mask_neighbor_index[0].numpy()
    distances = squared_distances(centers, subset)
    nearest = np.argsort(distances, axis=1)[:, : TINY.mask_prompt_neighbors]
    np.testing.assert_array_equal(index, nearest)


@pytest.mark.parametrize("count", [4, 100, 128, 129])
def test_a_mask_prompt_of_more_points_than_there_are_reads_all_of_them(count: int) -> None:
    chosen = patch_geometry(cloud(count), TINY).mask_point_index[0].numpy()
    expected = min(count, TINY.mask_prompt_points or count)
    assert len(np.unique(chosen)) == len(chosen) == expected
    assert chosen.max() < count


# --- interpolation ---------------------------------------------------------------------------------


def direct_weights(centers: np.ndarray, points: np.ndarray) -> np.ndarray:
    """[N, L], by definition: inverse squared distances of the 3 nearest centres, normalised."""
    distances = squared_distances(points, centers)
    weights = np.zeros_like(distances)
    for row, distance in enumerate(distances):
        nearest = np.argsort(distance, kind="stable")[:3]
        inverse = 1 / np.maximum(distance[nearest], 1e-8)
        weights[row, nearest] = inverse / inverse.sum()
    return weights


def as_matrix(index: torch.Tensor, weight: torch.Tensor, centers: int) -> np.ndarray:
    matrix = np.zeros((index.shape[1], centers))
    np.add.at(matrix, (np.arange(len(matrix))[:, None], index[0].numpy()), weight[0].numpy())
    return matrix


def test_interpolation_follows_the_definition() -> None:
    centers, points = cloud(40, seed=2), cloud(300, seed=3)
    points[:5] = centers[:5]
    index, weight = interpolation_weights(centers, points)
    assert (index.shape, index.dtype, weight.dtype) == ((1, 300, 3), torch.int64, torch.float32)
    matrix = as_matrix(index, weight, len(centers))
    np.testing.assert_allclose(matrix, direct_weights(centers, points), atol=1e-5)
    np.testing.assert_allclose(matrix[:5, :5], np.eye(5), atol=1e-5)


@given(lattices(), lattices())
def test_interpolated_values_are_means_of_values_nearby(centers: np.ndarray, points: np.ndarray) -> None:
    """Holds whatever way ties between centres are broken, and with fewer than three centres."""
    index, weight = interpolation_weights(centers, points)
    assert index.shape == weight.shape == (1, len(points), 3)
    assert int(index.min()) >= 0
    assert int(index.max()) < len(centers)
    np.testing.assert_allclose(weight.sum(dim=2).numpy(), 1, atol=1e-5)
    assert bool((weight >= 0).all())
    distances = squared_distances(points, centers)
    used = np.take_along_axis(distances, index[0].numpy(), axis=1)[:, : len(centers)]
    np.testing.assert_allclose(used, np.sort(distances, axis=1)[:, :3], atol=1e-6)
    on_center = distances.min(axis=1) == 0
    at_center = np.take_along_axis(distances, index[0].numpy(), axis=1) == 0
    # A point on a centre takes the value there, whatever other centres there are.
    np.testing.assert_allclose((weight[0].numpy() * at_center).sum(axis=1)[on_center], 1, atol=1e-6)


# --- the training device's version -----------------------------------------------------------------


@pytest.mark.parametrize("normal_distance", [0.0, 0.3])
def test_training_builds_the_patches_that_inference_builds(normal_distance: float) -> None:
    """On generic points, where no distances tie, the two implementations must agree index by index."""
    config = replace(TINY, mask_prompt_points=None, normal_distance=normal_distance)
    clouds = [cloud(TINY.points, seed=seed) for seed in (4, 5, 6)]
    normals = [unit(cloud(TINY.points, seed=seed + 10)) for seed in (4, 5, 6)]
    both = (torch.from_numpy(np.stack(rows)) for rows in (clouds, normals))
    batch = device_geometry.batch_patch_geometry(device_geometry.batch_patch_space(*both, config), config)
    for row, points in enumerate(clouds):
        single = patch_geometry(patch_space(points, normals[row], config), config)
        for field in fields(single):
            ours, theirs = getattr(single, field.name)[0], getattr(batch, field.name)[row]
            assert torch.equal(ours, theirs), field.name


def test_training_reads_mask_prompts_at_the_first_points_with_their_nearest_neighbours() -> None:
    """Its points come in random order, so that the first are a random subset."""
    points = cloud(TINY.points, seed=7)
    batch = device_geometry.batch_patch_geometry(torch.from_numpy(points)[None], TINY)
    count = TINY.mask_prompt_points or len(points)
    np.testing.assert_array_equal(batch.mask_point_index[0].numpy(), np.arange(count))
    distances = squared_distances(points[batch.center_index[0].numpy()], points[:count])
    nearest = np.argsort(distances, axis=1)[:, : TINY.mask_prompt_neighbors]
    np.testing.assert_array_equal(batch.mask_neighbor_index[0].numpy(), nearest)


def test_training_interpolates_as_inference_does() -> None:
    centers, points = cloud(50, seed=8), cloud(400, seed=9)
    points[:3] = centers[:3]
    matrix = device_geometry.interpolation_matrix(
        torch.from_numpy(centers)[None], torch.from_numpy(points)[None]
    )
    ours = as_matrix(*interpolation_weights(centers, points), len(centers))
    np.testing.assert_allclose(matrix[0].numpy(), ours, atol=1e-5)


@given(lattices(), st.integers(1, 40))
def test_training_chooses_farthest_points(points: np.ndarray, count: int) -> None:
    count = min(count, len(points))
    chosen = farthest_points(torch.from_numpy(points)[None], count)[0].numpy()
    assert_farthest(points, chosen)


def test_training_finds_the_nearest_points_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    points, queries = torch.from_numpy(cloud(90, seed=10))[None], torch.from_numpy(cloud(70, seed=11))[None]
    whole = device_geometry.nearest(points, queries, 5)
    distances = squared_distances(queries[0].numpy(), points[0].numpy())
    np.testing.assert_array_equal(whole[0].numpy(), np.argsort(distances, axis=1)[:, :5])
    monkeypatch.setattr(device_geometry, "_NEIGHBOR_CHUNK", 90 * 8)
    assert torch.equal(device_geometry.nearest(points, queries, 5), whole)
