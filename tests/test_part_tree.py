# SPDX-License-Identifier: GPL-3.0-or-later
"""From masks to parts: filters, the tree behind the granularity slider, refinement, the published way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from backend.errors import PromptError
from backend.geometry import Mesh, face_centroids
from backend.segmentation import Parts, candidates
from backend.segmentation.candidates import stability_scores, suppress_overlaps
from backend.segmentation.published import published_parts
from backend.segmentation.sites import Sites
from tests.built_meshes import joined
from tests.tiny_network import Box, oracle_segmenter

DATA = Path(__file__).parent / "data"
STEPS = np.linspace(0, 1, 33)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Threads cost more than they bring for arrays this small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# --- filters ---------------------------------------------------------------------------------------


@given(arrays(np.float32, (3, 20), elements=st.floats(-4, 4, width=32)))
def test_stability_is_the_iou_at_two_thresholds(logits: np.ndarray) -> None:
    inner, outer = logits > 1, logits > -1
    union = np.maximum((inner | outer).sum(axis=1), 1)
    expected = (inner & outer).sum(axis=1) / union
    np.testing.assert_allclose(stability_scores(torch.from_numpy(logits), 1.0).numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("scarce", [True, False])
@given(arrays(np.bool_, (8, 12)), arrays(np.int64, 8, elements=st.integers(0, 3)), st.floats(0.05, 0.95))
def test_suppression_keeps_what_the_definition_keeps(
    scarce: bool, masks: np.ndarray, scores: np.ndarray, threshold: float
) -> None:
    expected: list[int] = []
    for mask in np.argsort(-scores, kind="stable"):
        overlaps = [(masks[mask] & masks[k]).sum() / (masks[mask] | masks[k]).sum() for k in expected]
        if masks[mask].any() and all(overlap <= threshold for overlap in overlaps):
            expected.append(int(mask))
    tensors = torch.from_numpy(masks), torch.from_numpy(scores)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidates, "arithmetic_is_scarce", lambda device: scarce)
        assert suppress_overlaps(*tensors, threshold, limit=8).tolist() == expected
        assert suppress_overlaps(*tensors, threshold, limit=2).tolist() == expected[:2]


# --- known nested parts ----------------------------------------------------------------------------


def ball(x: float, y: float, radius: float) -> Mesh:
    source = trimesh.creation.icosphere(subdivisions=2, radius=radius)
    return Mesh(source.vertices + np.array([x, y, 0]), source.faces)


BODIES = [
    (x + dx, y, radius)
    for x in (-0.6, 0.6)
    for dx, y, radius in ((0, 0, 0.3), (0, 0.46, 0.09), (0, -0.46, 0.08))
]
"""Two big balls, each with two small ones beside it: x, y and radius in the order of the mesh's faces."""

CONTAINERS = [Box((x - 0.35, -0.6, -0.4), (x + 0.35, 0.6, 0.4), 0.9) for x in (-0.6, 0.6)]
DETAILS = [
    Box((x - 0.15, y - 0.12, -0.15), (x + 0.15, y + 0.12, 0.15), 0.8)
    for x, y, radius in BODIES
    if radius < 0.2
]


def nested_mesh() -> Mesh:
    return joined(*(ball(*body) for body in BODIES))


def planted(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Known labels of `nested_mesh`: by container, and by detail."""
    body = np.repeat(np.arange(6), count // 6)
    return body // 3, body


def same_partition(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two labellings differ by names only."""
    pairs = np.unique(np.stack([first, second]), axis=1).shape[1]
    return pairs == len(np.unique(first)) == len(np.unique(second))


def nested_parts(*, wrong: float = 0.0) -> tuple[Parts, Mesh]:
    mesh = nested_mesh()
    segmenter = oracle_segmenter(CONTAINERS + DETAILS, wrong=wrong)
    return segmenter.segment_every_part(segmenter.encode(mesh), prompts=96), mesh


@pytest.fixture(scope="module")
def nested() -> tuple[Parts, Mesh]:
    return nested_parts()


def test_coarse_shows_containers_and_fine_shows_details(nested: tuple[Parts, Mesh]) -> None:
    parts, mesh = nested
    containers, details = planted(mesh.face_count)
    labellings = [parts.face_labels(granularity) for granularity in STEPS]
    assert same_partition(labellings[-1], details)
    first = next(labels for labels in labellings if labels.max() > 0)
    assert same_partition(first, containers)
    for labels in labellings:
        assert len(np.unique(np.stack([labels, details]), axis=1).T) == 6, "a part was split"
    for coarse, fine in pairwise(labellings):
        pairs = np.unique(np.stack([coarse, fine]), axis=1).shape[1]
        assert pairs == len(np.unique(fine)), "a finer part lies in two coarser ones"


def test_labels_run_from_large_to_small_and_carry_their_masks_score(nested: tuple[Parts, Mesh]) -> None:
    parts, mesh = nested
    labels = parts.face_labels(1.0)
    _, body = planted(mesh.face_count)
    radius = np.array([r for _, _, r in BODIES])[body]
    sizes = [radius[labels == label][0] for label in range(6)]
    assert sizes == sorted(sizes, reverse=True)
    np.testing.assert_allclose(parts.confidence(1.0), [0.9, 0.9, 0.8, 0.8, 0.8, 0.8], atol=1e-3)


def test_point_labels_are_those_of_the_faces_they_lie_on() -> None:
    mesh = nested_mesh()
    segmenter = oracle_segmenter(CONTAINERS + DETAILS)
    shape = segmenter.encode(mesh)
    parts = segmenter.segment_every_part(shape, prompts=96)
    for granularity in (0.0, 0.4, 1.0):
        expected = parts.face_labels(granularity)[shape.point_faces]
        np.testing.assert_array_equal(parts.point_labels(granularity), expected)


def test_evidence_agrees_with_the_labels(nested: tuple[Parts, Mesh]) -> None:
    parts, _ = nested
    for granularity in STEPS:
        labels, evidence = parts.face_labels(granularity), parts.face_evidence(granularity)
        assert evidence.shape == (len(labels), labels.max() + 1)
        np.testing.assert_allclose(evidence.sum(axis=1), 1, atol=1e-5)
        np.testing.assert_array_equal(evidence.argmax(axis=1), labels)


@pytest.mark.parametrize("logit", [-30.0, -100.0, 30.0, 100.0])
def test_evidence_of_faces_that_no_mask_wants_sums_to_one(nested: tuple[Parts, Mesh], logit: float) -> None:
    """Islands dissolve into parts that may be as sure as can be that they do not hold them."""
    parts, _ = nested
    logits = parts.mask_logits.copy()
    logits[:, :40] = logit
    evidence = replace(parts, mask_logits=logits).face_evidence(1.0)
    assert np.isfinite(evidence).all()
    np.testing.assert_allclose(evidence.sum(axis=1), 1, atol=1e-5)


def test_a_mask_does_not_take_back_what_the_tree_gave_to_another_part(nested: tuple[Parts, Mesh]) -> None:
    """Here the smallest part's mask claims an atom of the largest part as a whole, as sure as can be."""
    parts, _ = nested
    assert parts.tree is not None
    partition = parts.partition(1.0)
    of_largest = parts.tree.atoms == parts.tree.atoms[partition.labels.argmin()]
    logits = parts.mask_logits.copy()
    logits[partition.masks[-1], of_largest] = 30
    evidence = replace(parts, mask_logits=logits).site_evidence(partition)
    np.testing.assert_array_equal(evidence.argmax(axis=1), partition.labels)


def test_labels_need_no_network() -> None:
    segmenter = oracle_segmenter(CONTAINERS + DETAILS)
    network = cast(Any, segmenter.network)
    parts = segmenter.segment_every_part(segmenter.encode(nested_mesh()), prompts=24)
    decoded = network.decoded
    assert decoded > 0
    for granularity in STEPS:
        parts.face_labels(granularity)
        parts.refined_labels(granularity)
    assert network.decoded == decoded
    assert_no_tensor(parts)


def assert_no_tensor(value: object) -> None:
    assert not isinstance(value, torch.Tensor | torch.nn.Module)
    if is_dataclass(value):
        for field in fields(value):
            assert_no_tensor(getattr(value, field.name))
    elif isinstance(value, list | tuple):
        for item in value:
            assert_no_tensor(item)


@pytest.mark.parametrize("granularity", [-0.01, 1.01, float("nan"), float("inf")])
def test_granularities_outside_the_slider_are_refused(nested: tuple[Parts, Mesh], granularity: float) -> None:
    parts, _ = nested
    for ask in (
        parts.face_labels,
        parts.point_labels,
        parts.confidence,
        parts.face_evidence,
        parts.refined_labels,
    ):
        with pytest.raises(PromptError, match=r"0\.\.1"):
            ask(granularity)


def test_a_number_of_parts_gives_the_nearest_there_is(nested: tuple[Parts, Mesh]) -> None:
    parts, mesh = nested
    containers, details = planted(mesh.face_count)
    assert same_partition(parts.face_labels(parts=2), containers)
    assert same_partition(parts.face_labels(parts=6), details)
    assert same_partition(parts.refined_labels(parts=600), details)
    assert not parts.face_labels(parts=1).any()
    assert len(parts.confidence(parts=5)) in (4, 5, 6)
    for wrong in (0, -3):
        with pytest.raises(PromptError, match="at least 1"):
            parts.face_labels(parts=wrong)


def test_parts_hang_below_the_containers_that_hold_them(nested: tuple[Parts, Mesh]) -> None:
    parts, mesh = nested
    containers, _ = planted(mesh.face_count)
    tree = parts.containment(parts=6)
    labels = parts.face_labels(parts=6)
    groups = [node for node in tree if node.part is None]
    assert [node.parent for node in groups] == [None, 0, 0]
    for part in range(6):
        container = containers[labels == part][0]
        siblings = {
            containers[labels == n.part][0]
            for n in tree
            if n.part is not None and n.parent == tree[3 + part].parent
        }
        assert siblings == {container}
    assert tree[0].area == pytest.approx(1)
    assert sum(node.area for node in tree[3:]) == pytest.approx(1)
    assert [(node.parent, node.part) for node in parts.containment(parts=1)] == [(None, None), (0, 0)]


def test_the_slider_goes_in_equal_ratios_without_a_cliff(nested: tuple[Parts, Mesh]) -> None:
    parts, _ = nested
    counts = [partition.count for partition in parts.partitions]
    assert counts[0] == 1
    assert counts == sorted(set(counts))
    assert parts.partition(0.0).count == 1
    assert parts.partition(0.5).count == counts[parts.middle]
    assert parts.partition(1.0).count == counts[-1]
    sampled = [parts.partition(granularity).count for granularity in STEPS]
    assert sampled == sorted(sampled)
    assert set(sampled) == set(counts)


# --- refinement ------------------------------------------------------------------------------------


def test_without_strength_nothing_is_refined(nested: tuple[Parts, Mesh]) -> None:
    parts, _ = nested
    np.testing.assert_array_equal(parts.refined_labels(1.0, 0.0), parts.face_labels(1.0))


def test_refinement_leaves_known_parts_alone(nested: tuple[Parts, Mesh]) -> None:
    parts, mesh = nested
    assert same_partition(parts.refined_labels(1.0), planted(mesh.face_count)[1])


def test_refinement_recovers_parts_from_masks_that_err_on_a_scatter_of_faces() -> None:
    parts, mesh = nested_parts(wrong=0.02)
    _, details = planted(mesh.face_count)

    def errors(labels: np.ndarray) -> int:
        """Faces outside of the largest agreeing set of each known part."""
        return len(labels) - sum(int(np.bincount(labels[details == body]).max()) for body in range(6))

    scattered = 0.02 * mesh.face_count
    assert errors(parts.refined_labels(1.0)) < 0.3 * scattered
    assert same_partition(parts.refined_labels(1.0, strength=4.0), details)


def test_planted_parts_of_a_fused_character_survive_refinement() -> None:
    """Head, body and legs by two planes: the cut may only move faces along the planes."""
    scene = trimesh.load(DATA / "knight_fused.glb", force="mesh")
    mesh = Mesh(scene.vertices, scene.faces)
    up = int(np.ptp(mesh.vertices, axis=0).argmax())
    assert up == 1
    slabs = [(-1.0, -0.45), (-0.45, 0.05), (0.05, 1.0)]
    boxes = [Box((-1, low, -1), (1, high, 1)) for low, high in slabs]
    segmenter = oracle_segmenter(boxes)
    shape = segmenter.encode(mesh)
    parts = segmenter.segment_every_part(shape, prompts=48)
    height = shape.normalization.apply(face_centroids(mesh))[:, up]
    known = np.digitize(height, [-0.45, 0.05])
    labels = parts.face_labels(1.0)
    assert same_partition(labels, known)
    refined = parts.refined_labels(1.0)
    moved = refined != labels
    distance = np.abs(height[:, None] - [-0.45, 0.05]).min(axis=1)
    assert moved.mean() < 0.03
    assert distance[moved].max(initial=0) < 0.06
    np.testing.assert_array_equal(np.unique(refined), [0, 1, 2])


# --- the published procedure -----------------------------------------------------------------------


def row_of_triangles(count: int) -> Mesh:
    """Separate unit triangles along x."""
    corner = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], dtype=float)
    return Mesh(
        np.concatenate([corner + np.array([3 * i, 0, 0]) for i in range(count)]),
        np.arange(3 * count).reshape(-1, 3),
    )


def published(masks: list[list[int]], scores: list[float], point_faces: list[int], faces: int) -> Parts:
    """masks: the points in each; point_faces: of every point."""
    mesh, owners = row_of_triangles(faces), np.array(point_faces)
    table = np.zeros((len(masks), len(owners)), dtype=bool)
    for row, points in enumerate(masks):
        table[row, points] = True
    sites = Sites.of_mesh(mesh, owners)
    return published_parts(
        sites, torch.from_numpy(table), torch.tensor(scores, dtype=torch.float32), mesh, owners, lambda: None
    )


def test_the_majority_of_a_faces_points_decides() -> None:
    parts = published([[0, 1, 2, 3], [4, 5]], [0.9, 0.9], [0, 0, 0, 1, 1, 1], 2)
    assert parts.face_labels().tolist() == [0, 1]


def test_points_in_no_mask_do_not_vote() -> None:
    """Face 1 has one point in mask 0 and three in none; the published code gave it the last label."""
    parts = published([[0, 1, 2], [6, 7]], [0.9, 0.9], [0, 0, 1, 1, 1, 1, 2, 2], 3)
    assert parts.face_labels().tolist() == [0, 0, 1]


def test_the_first_label_is_a_label() -> None:
    """Face 0 is in the largest mask, which has label 0; the published code took that for background and
    gave the face to its minority."""
    parts = published([[0, 1, 2, 4, 5], [3, 6]], [0.9, 0.9], [0, 0, 0, 0, 1, 1, 2], 3)
    assert parts.face_labels().tolist() == [0, 0, 1]


def test_smaller_masks_are_painted_over_larger_ones() -> None:
    parts = published([[4, 5], list(range(12))], [0.9, 0.8], [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5], 6)
    assert parts.face_labels().tolist() == [0, 0, 1, 0, 0, 0]
    assert parts.confidence().tolist() == pytest.approx([0.8, 0.9])


def test_the_published_filters_drop_bad_scores_and_overlaps() -> None:
    bad = published([[0, 1, 2, 3], [2, 3]], [0.9, 0.64], [0, 0, 1, 1], 2)
    assert bad.face_labels().tolist() == [0, 0]
    overlapping = published([[0, 1, 2, 3], [2, 3, 4, 5]], [0.8, 0.9], [0, 0, 1, 1, 2, 2], 3)
    assert len(overlapping.mask_logits) == 1  # IoU 1/3 is above the threshold of 0.3
    assert overlapping.face_labels().tolist() == [0, 0, 0]


def test_faces_without_points_take_the_nearest_label() -> None:
    parts = published([[0, 1], [2, 3]], [0.9, 0.9], [0, 0, 3, 3], 5)
    assert parts.face_labels().tolist() == [0, 0, 1, 1, 1]


def test_without_any_mask_all_is_one_part() -> None:
    for masks, scores in (([], []), ([[0, 1]], [0.1])):
        parts = published(masks, scores, [0, 0, 1], 2)
        assert parts.face_labels().tolist() == [0, 0]
        assert parts.confidence().tolist() == [0]


def test_the_published_way_has_one_granularity(nested: tuple[Parts, Mesh]) -> None:
    segmenter = oracle_segmenter(DETAILS + CONTAINERS)
    mesh = nested_mesh()
    parts = segmenter.segment_every_part(segmenter.encode(mesh), prompts=96, strict_paper=True)
    assert same_partition(parts.face_labels(0.0), planted(mesh.face_count)[1])
    for granularity in STEPS:
        np.testing.assert_array_equal(parts.face_labels(granularity), parts.face_labels(0.0))


@settings(max_examples=15)
@given(arrays(np.bool_, (5, 20)), arrays(np.float32, 5, elements=st.floats(0, 1, width=32)))
def test_the_published_way_labels_all_faces(masks: np.ndarray, scores: np.ndarray) -> None:
    mesh = row_of_triangles(9)
    owners = np.random.default_rng(0).integers(0, 7, 20)  # two faces without points
    sites = Sites.of_mesh(mesh, owners)
    tensors = torch.from_numpy(masks), torch.from_numpy(scores)
    parts = published_parts(sites, *tensors, mesh, owners, lambda: None)
    labels = parts.face_labels()
    np.testing.assert_array_equal(np.unique(labels), np.arange(labels.max() + 1))
    np.testing.assert_array_equal(parts.face_evidence().argmax(axis=1), labels)
