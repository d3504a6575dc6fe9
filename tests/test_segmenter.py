# SPDX-License-Identifier: GPL-3.0-or-later
"""The segmenter around its network: what goes in, what comes out, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from backend import encoding
from backend.errors import Cancelled, CheckpointError, DeviceError, MeshError, PromptError
from backend.geometry import Mesh, face_areas, face_centroids, sample_surface
from backend.network import Decoding, save_network
from backend.refinement import build_face_graph
from backend.segmentation import Parts, sites
from backend.segmentation.encoded_shape import PromptDecoder
from backend.segmentation.poses import TURNS, clicks_of_pose
from backend.segmentation.together import joint_prompts
from backend.segmenter import EncodedShape, Segmenter
from tests.built_meshes import cube, joined, plate, renumbered
from tests.tiny_network import TINY, TWO_BRANCHES, UNFILTERED, Box, oracle_segmenter, tiny_segmenter

GRANULARITIES = (0.0, 0.3, 0.5, 0.8, 1.0)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Threads cost more than they bring for networks this small, a hundred times so on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return tiny_segmenter()


@pytest.fixture(scope="module")
def mesh() -> Mesh:
    """A lopsided pile, without the symmetries that put points on the borders of cells."""
    bodies = []
    for row in range(4):
        ball = trimesh.creation.icosphere(subdivisions=2, radius=0.5 + 0.13 * row)
        bodies.append(Mesh(ball.vertices + np.array([1.1 * row, 0.31 * row**2, 0.17 * row]), ball.faces))
    colored = joined(*bodies)
    colors = np.random.default_rng(0).random((colored.face_count, 3))
    return Mesh(colored.vertices, colored.triangles, colors)


@pytest.fixture(scope="module")
def shape(segmenter: Segmenter, mesh: Mesh) -> EncodedShape:
    return segmenter.encode(mesh)


def segmented(segmenter: Segmenter, mesh: Mesh, *, prompts: int = 24, seed: int = 0) -> Parts:
    return segmenter.segment_every_part(
        segmenter.encode(mesh, seed=seed), prompts=prompts, settings=UNFILTERED
    )


def all_labels(parts: Parts) -> np.ndarray:
    return np.stack([parts.face_labels(granularity) for granularity in GRANULARITIES])


def assert_same(first: object, second: object) -> None:
    """Bit for bit, through nested dataclasses."""
    if is_dataclass(first):
        for field in filter(lambda field: field.compare, fields(first)):
            assert_same(getattr(first, field.name), getattr(second, field.name))
    elif isinstance(first, torch.Tensor | np.ndarray):
        np.testing.assert_array_equal(np.asarray(first), np.asarray(second))
    else:
        assert first == second


# --- encoding --------------------------------------------------------------------------------------


def test_the_face_graph_is_made_ahead_where_another_device_encodes(
    segmenter: Segmenter, mesh: Mesh, shape: EncodedShape, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shape.graph_ahead is None
    monkeypatch.setattr(encoding, "works_by_itself", lambda device: True)
    beside = segmenter.encode(mesh)
    assert beside.graph_ahead is not None
    assert beside.face_graph is beside.graph_ahead()
    assert_same(beside.face_graph, shape.face_graph)
    assert_same(beside, shape)
    monkeypatch.setattr(encoding, "_GRAPH_AHEAD_FACES", mesh.face_count - 1)
    assert segmenter.encode(mesh).graph_ahead is None


def test_encoding_a_mesh_is_encoding_its_sample(
    segmenter: Segmenter, mesh: Mesh, shape: EncodedShape
) -> None:
    sample = sample_surface(mesh, TINY.points, seed=0)
    own = segmenter.encode_points(
        sample.points, sample.normals, sample.colors, point_faces=sample.faces, mesh=mesh
    )
    assert_same(own, shape)


def test_the_result_depends_on_the_seed_alone(segmenter: Segmenter, mesh: Mesh, shape: EncodedShape) -> None:
    torch.manual_seed(77)
    assert_same(segmenter.encode(mesh, seed=0), shape)
    first, again = segmented(segmenter, mesh), segmented(segmenter, mesh)
    np.testing.assert_array_equal(all_labels(first), all_labels(again))
    np.testing.assert_array_equal(first.mask_logits, again.mask_logits)
    assert not np.array_equal(segmenter.encode(mesh, seed=1).points, shape.points)


def test_the_segmenter_keeps_nothing_of_a_shape(
    segmenter: Segmenter, mesh: Mesh, shape: EncodedShape
) -> None:
    click = face_centroids(mesh)[:1]
    before = segmenter.predict(shape, click, [1])
    weights = {name: tensor.clone() for name, tensor in segmenter.network.state_dict().items()}
    segmented(segmenter, cube())
    assert_same(segmenter.predict(shape, click, [1]), before)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in segmenter.network.state_dict().items())


def test_points_lie_in_the_networks_cube(shape: EncodedShape) -> None:
    assert (shape.points.shape, shape.points.dtype) == ((TINY.points, 3), np.float32)
    spans = np.ptp(shape.points, axis=0)
    np.testing.assert_allclose(spans.max(), 1.8, rtol=1e-6)
    np.testing.assert_allclose(shape.points.max(axis=0) + shape.points.min(axis=0), 0, atol=1e-6)


def test_missing_colours_are_grey_and_broken_normals_are_none(segmenter: Segmenter, mesh: Mesh) -> None:
    sample = sample_surface(mesh, TINY.points, seed=0)
    grey = np.full((TINY.points, 3), 192 / 255, dtype=np.float32)
    normals = sample.normals.copy()
    normals[::7] = 0
    with_grey = segmenter.encode_points(sample.points, normals, grey)
    normals[::7] = np.nan
    assert_same(segmenter.encode_points(sample.points, normals), with_grey)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.zeros((3, 3)), "at least 4 points"),
        (np.random.default_rng(0).random((9, 2)), "3 coordinates"),
        (np.zeros(12), "3 coordinates"),
        (np.ones((9, 3)), "span no volume"),
        (np.full((9, 3), np.nan), "not finite"),
        (np.vstack([np.eye(3), [[np.inf, 0, 0]]]), "not finite"),
    ],
)
def test_unusable_points_are_refused(segmenter: Segmenter, points: np.ndarray, message: str) -> None:
    with pytest.raises(MeshError, match=message):
        segmenter.encode_points(points, np.zeros_like(points))


def test_arrays_that_do_not_belong_together_are_refused(segmenter: Segmenter, mesh: Mesh) -> None:
    sample = sample_surface(mesh, 50)
    with pytest.raises(MeshError, match="normals"):
        segmenter.encode_points(sample.points, sample.normals[:-1])
    with pytest.raises(MeshError, match="colors"):
        segmenter.encode_points(sample.points, sample.normals, sample.colors[:, :2])
    with pytest.raises(MeshError, match="point_faces"):
        segmenter.encode_points(sample.points, sample.normals, point_faces=sample.faces[:-1], mesh=mesh)
    for outside in (-1, mesh.face_count):
        with pytest.raises(MeshError, match="point_faces"):
            segmenter.encode_points(
                sample.points, sample.normals, point_faces=np.full(50, outside), mesh=mesh
            )


def test_points_on_an_unusable_mesh_are_refused(segmenter: Segmenter, mesh: Mesh) -> None:
    sample = sample_surface(mesh, 50)
    collapsed = Mesh(mesh.vertices * 0, mesh.triangles)
    with pytest.raises(MeshError, match="no surface area"):
        segmenter.encode_points(sample.points, sample.normals, mesh=collapsed)
    with pytest.raises(MeshError, match="no faces"):
        segmenter.encode_points(sample.points, sample.normals, mesh=Mesh(mesh.vertices, []))


# --- invariance ------------------------------------------------------------------------------------


def test_labels_do_not_depend_on_the_order_of_vertices(segmenter: Segmenter, mesh: Mesh) -> None:
    shuffled = renumbered(mesh, seed=5)
    shuffled = Mesh(shuffled.vertices, shuffled.triangles, mesh.face_colors)
    assert not np.array_equal(shuffled.vertices, mesh.vertices)
    first, second = segmented(segmenter, mesh), segmented(segmenter, shuffled)
    np.testing.assert_array_equal(all_labels(first), all_labels(second))
    np.testing.assert_array_equal(first.refined_labels(0.5), second.refined_labels(0.5))


@pytest.mark.parametrize("exponent", [-20, -1, 9])
def test_labels_do_not_depend_on_scale(segmenter: Segmenter, mesh: Mesh, exponent: int) -> None:
    """Powers of two only change exponents of floats: the result is the same to the last bit."""
    scaled = Mesh(mesh.vertices * 2.0**exponent, mesh.triangles, mesh.face_colors)
    first, second = segmented(segmenter, mesh), segmented(segmenter, scaled)
    np.testing.assert_array_equal(first.mask_logits, second.mask_logits)
    np.testing.assert_array_equal(all_labels(first), all_labels(second))


@pytest.mark.parametrize(
    ("scale", "offset"), [(1.0, (3.3, -71.0, 0.07)), (0.0371, (0, 0, 0)), (813.7, (2e4, 1, -5))]
)
def test_masks_do_not_depend_on_units_and_place(
    segmenter: Segmenter, mesh: Mesh, shape: EncodedShape, scale: float, offset: tuple[float, float, float]
) -> None:
    """Rounding in float32 moves points by parts in ten million, and logits accordingly."""
    moved = Mesh(mesh.vertices * scale + np.array(offset), mesh.triangles, mesh.face_colors)
    there = segmenter.encode(moved)
    np.testing.assert_allclose(there.points, shape.points, atol=1e-6)
    for face in range(0, mesh.face_count, 200):
        here_logits = segmenter.predict(shape, face_centroids(mesh)[face], 1).face_logits
        there_logits = segmenter.predict(there, face_centroids(moved)[face], 1).face_logits
        assert here_logits is not None
        assert there_logits is not None
        np.testing.assert_allclose(there_logits, here_logits, atol=2e-3 * np.abs(here_logits).max())


# --- any mesh --------------------------------------------------------------------------------------


@st.composite
def meshes(draw: st.DrawFn) -> Mesh:
    """Any triangle soup with area: non-manifold, repeated and collapsed faces, coinciding and loose
    vertices."""
    vertices = draw(arrays(np.float64, (draw(st.integers(3, 12)), 3), elements=st.integers(-9, 9)))
    triangles = draw(
        arrays(np.int32, (draw(st.integers(1, 20)), 3), elements=st.integers(0, len(vertices) - 1))
    )
    mesh = Mesh(vertices, triangles)
    assume(face_areas(mesh).sum() > 0)
    return mesh


def assert_whole(parts: Parts, faces: int) -> None:
    """Every face has a label, labels have no gaps, and everything per part has one entry per label."""
    counts = []
    for granularity in GRANULARITIES:
        labels = parts.face_labels(granularity)
        assert (labels.shape, labels.dtype) == ((faces,), np.int32)
        count = int(labels.max()) + 1
        counts.append(count)
        np.testing.assert_array_equal(np.unique(labels), np.arange(count))
        evidence = parts.face_evidence(granularity)
        assert (evidence.shape, evidence.dtype) == ((faces, count), np.float32)
        assert (evidence >= 0).all()
        np.testing.assert_allclose(evidence.sum(axis=1), 1, atol=1e-3)
        confidence = parts.confidence(granularity)
        assert (confidence.shape, confidence.dtype) == ((count,), np.float32)
        assert ((confidence >= 0) & (confidence <= 1)).all()
        refined = parts.refined_labels(granularity)
        assert (refined.shape, refined.dtype) == ((faces,), np.int32)
        assert np.isin(refined, labels).all()
    assert counts == sorted(counts), "a finer granularity has fewer parts"


@settings(max_examples=30)
@given(meshes())
def test_any_mesh_gets_a_label_for_each_face(mesh: Mesh) -> None:
    segmenter = tiny_segmenter()
    shape = segmenter.encode(mesh)
    assert_whole(segmenter.segment_every_part(shape, prompts=8, settings=UNFILTERED), mesh.face_count)
    strict = segmenter.segment_every_part(shape, prompts=8, strict_paper=True)
    assert_whole(strict, mesh.face_count)
    prediction = segmenter.predict(shape, mesh.vertices[mesh.triangles[0, 0]], 1)
    assert prediction.face_logits is not None
    assert prediction.face_logits.shape == (3, mesh.face_count)
    assert np.isfinite(prediction.face_logits).all()


def test_where_no_mask_is_good_enough_a_connected_shape_is_one_part(segmenter: Segmenter) -> None:
    ball = trimesh.creation.icosphere(subdivisions=2)
    shape = segmenter.encode(Mesh(ball.vertices, ball.faces))
    parts = segmenter.segment_every_part(shape, prompts=8, settings=replace(UNFILTERED, min_score=1e9))
    assert_whole(parts, len(ball.faces))
    for granularity in GRANULARITIES:
        assert not parts.face_labels(granularity).any()
        assert not parts.confidence(granularity).any()
    assert parts.graph is not None
    fine, shells = parts.face_labels(1.0), parts.graph.shells
    assert all(len(np.unique(fine[shells == shell])) == 1 for shell in np.unique(shells))
    assert len(np.unique(fine)) == shells.max() + 1


def test_both_branches_and_full_mask_prompts_segment_as_well(mesh: Mesh) -> None:
    segmenter = tiny_segmenter(TWO_BRANCHES)
    shape = segmenter.encode(mesh)
    for chosen in (UNFILTERED, replace(UNFILTERED, min_score=1e9)):  # all masks are wanted, or none is
        assert_whole(segmenter.segment_every_part(shape, prompts=12, settings=chosen), mesh.face_count)
    first = segmenter.predict(shape, face_centroids(mesh)[:1], [1])
    assert segmenter.predict(shape, face_centroids(mesh)[:2], [1, 0], previous=first).best == 0


def test_more_faces_than_sites_are_all_labelled() -> None:
    """Two plates with a gap: their labels are known wherever the sites fall."""
    left = plate(150, 100, size=0.01)
    right = Mesh(left.vertices + np.array([2.0, 0, 0]), left.triangles)
    mesh = joined(left, right)
    assert mesh.face_count > sites.MAX_SITES
    segmenter = oracle_segmenter([Box((-1, -1, -1), (0, 1, 1)), Box((0, -1, -1), (1, 1, 1))])
    shape = segmenter.encode(mesh)
    assert len(shape.sites.locations) <= sites.MAX_SITES
    np.testing.assert_allclose(shape.sites.weights.sum(), 1)
    labels = segmenter.segment_every_part(shape, prompts=16).face_labels(1.0)
    known = np.repeat([0, 1], left.face_count)
    np.testing.assert_array_equal(labels, known if labels[0] == 0 else 1 - known)


@pytest.mark.parametrize("limit", [1, 7, 500])
def test_any_number_of_sites_serves_all_faces(
    segmenter: Segmenter, mesh: Mesh, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sites, "MAX_SITES", limit)
    parts = segmented(segmenter, mesh)
    assert parts.mask_logits.shape[1] <= limit
    assert_whole(parts, mesh.face_count)


# --- point clouds ----------------------------------------------------------------------------------


def test_a_point_cloud_needs_no_mesh(segmenter: Segmenter, mesh: Mesh) -> None:
    sample = sample_surface(mesh, 333)
    shape = segmenter.encode_points(sample.points, sample.normals)
    assert segmenter.predict(shape, sample.points[:1], [1]).face_logits is None
    for strict in (False, True):
        parts = segmenter.segment_every_part(shape, prompts=8, settings=UNFILTERED, strict_paper=strict)
        labels = parts.point_labels(1.0)
        assert labels.shape == (333,)
        np.testing.assert_array_equal(np.unique(labels), np.arange(labels.max() + 1))
        for of_faces in (parts.face_labels, parts.face_evidence, parts.refined_labels):
            with pytest.raises(PromptError, match="no faces"):
                of_faces()


@pytest.mark.parametrize("count", [4, 5, TINY.patches - 1])
def test_fewer_points_than_patches_are_enough(segmenter: Segmenter, count: int) -> None:
    points = np.random.default_rng(count).random((count, 3))
    shape = segmenter.encode_points(points, np.zeros_like(points))
    parts = segmenter.segment_every_part(shape, prompts=512, settings=UNFILTERED)
    assert parts.point_labels().shape == (count,)
    assert np.isfinite(parts.mask_logits).all()


def test_the_mesh_alone_says_on_which_faces_points_lie() -> None:
    """Without `point_faces`, points belong to the nearest face, also in the published procedure."""
    ball = trimesh.creation.icosphere(subdivisions=2)
    left, right = (Mesh(ball.vertices + np.array([x, 0, 0]), ball.faces) for x in (-1.2, 1.2))
    pair = joined(left, right)
    segmenter = oracle_segmenter([Box((-1, -1, -1), (0, 1, 1)), Box((0, -1, -1), (1, 1, 1))])
    sample = sample_surface(pair, 500)
    shape = segmenter.encode_points(sample.points, sample.normals, mesh=pair)
    known = np.repeat([0, 1], left.face_count)
    for strict in (False, True):
        parts = segmenter.segment_every_part(shape, prompts=16, strict_paper=strict)
        labels = parts.face_labels(1.0)
        np.testing.assert_array_equal(labels, known if labels[0] == 0 else 1 - known)
        np.testing.assert_array_equal(parts.point_labels(1.0), labels[sample.faces])


# --- clicks ----------------------------------------------------------------------------------------


def test_one_click_has_three_readings_and_several_have_one(
    segmenter: Segmenter, mesh: Mesh, shape: EncodedShape
) -> None:
    clicks = face_centroids(mesh)[[0, 500, 900]]
    one = segmenter.predict(shape, clicks[:1], [1])
    assert one.point_logits.shape == (3, TINY.points)
    assert one.face_logits is not None
    assert one.face_logits.shape == (3, mesh.face_count)
    assert one.scores.shape == (3,)
    assert one.best == one.scores.argmax()
    several = segmenter.predict(shape, clicks, [1, 0, 1])
    assert several.point_logits.shape == (1, TINY.points)
    assert several.best == 0
    assert {array.dtype for array in (one.point_logits, one.face_logits, one.scores)} == {np.dtype("f4")}


def test_each_click_and_its_sign_count(segmenter: Segmenter, mesh: Mesh, shape: EncodedShape) -> None:
    clicks = face_centroids(mesh)[[0, 500]]
    answers = [segmenter.predict(shape, clicks, signs).point_logits for signs in ([1, 1], [1, 0], [0, 1])]
    answers.append(segmenter.predict(shape, clicks[::-1], [0, 1]).point_logits)
    np.testing.assert_allclose(answers[3], answers[1], rtol=1e-4, atol=1e-6)  # their order does not
    for i, first in enumerate(answers[:3]):
        for second in answers[i + 1 : 3]:
            assert np.abs(first - second).max() > 0.05 * np.abs(first).max()


def test_the_previous_mask_is_taken_into_account(
    segmenter: Segmenter, mesh: Mesh, shape: EncodedShape
) -> None:
    clicks = face_centroids(mesh)[[0, 500]]
    first = segmenter.predict(shape, clicks[:1], [1])
    fresh = segmenter.predict(shape, clicks, [1, 0])
    refined = segmenter.predict(shape, clicks, [1, 0], previous=first)
    change = np.abs(refined.point_logits - fresh.point_logits).max()
    assert change > 0.05 * np.abs(fresh.point_logits).max()
    swapped = replace(first, scores=first.scores[::-1].copy(), point_logits=first.point_logits[::-1].copy())
    assert_same(segmenter.predict(shape, clicks, [1, 0], previous=swapped), refined)


def test_many_prompts_at_once_are_answered_as_one_by_one(
    segmenter: Segmenter, shape: EncodedShape, monkeypatch: pytest.MonkeyPatch
) -> None:
    clicks = torch.from_numpy(shape.points[:7].copy())[:, None]
    few = 3 * TINY.points * TINY.mask_channels
    for name in ("chunk_elements", "unasked_elements"):
        monkeypatch.setattr(f"backend.segmentation.encoded_shape.{name}", lambda device: few)
    logits, scores = segmenter.predict_batch(shape, clicks, torch.ones(7, 1))
    at_faces = segmenter.face_logits_batch(shape, clicks, torch.ones(7, 1))
    assert logits.shape == (7, 3, TINY.points)
    for row, click in enumerate(shape.points[:7]):
        alone = segmenter.predict(shape, shape.normalization.invert(click), 1)
        np.testing.assert_allclose(logits[row].numpy(), alone.point_logits, atol=1e-5)
        np.testing.assert_allclose(scores[row].numpy(), alone.scores, atol=1e-5)
        assert alone.face_logits is not None
        np.testing.assert_allclose(at_faces[row].numpy(), alone.face_logits, atol=1e-5)


def test_a_size_goes_to_a_network_that_takes_one_and_else_to_the_choice(
    segmenter: Segmenter, mesh: Mesh, shape: EncodedShape
) -> None:
    click = face_centroids(mesh)[[500]]
    plain = segmenter.predict(shape, click, [1])
    assert not segmenter.takes_size
    shares = (plain.point_logits > 0).mean(axis=1)
    for reading in range(3):
        if shares[reading] > 0:
            told = segmenter.predict(shape, click, [1], size=float(shares[reading]))
            assert shares[told.best] == shares[reading]
            np.testing.assert_array_equal(told.point_logits, plain.point_logits)
    taking = tiny_segmenter(replace(TINY, size_prompt=True))
    with torch.no_grad():
        assert taking.network.size_prompts is not None
        torch.nn.init.normal_(taking.network.size_prompts.out.weight)
    encoded = taking.encode(mesh)
    answers = [taking.predict(encoded, click, [1], size=size).point_logits for size in (None, 0.01, 0.5)]
    assert not np.allclose(answers[0], answers[1], rtol=1e-3)
    assert not np.allclose(answers[1], answers[2], rtol=1e-3)
    for size in (0.0, -1.0, 1.5, float("nan")):
        with pytest.raises(PromptError, match="share of the surface"):
            segmenter.predict(shape, click, [1], size=size)


def test_parts_asked_for_together_share_the_faces() -> None:
    """Two known boxes: each is the answer to its own clicks, and a face is given away once."""
    segmenter = oracle_segmenter([Box((-1, -1, -1), (0, 1, 1)), Box((0, -1, -1), (1, 1, 1))])
    pair = joined(cube(center=(-2, 0, 0)), cube(center=(2, 0, 0)))
    shape = segmenter.encode(pair)
    centroids = face_centroids(pair)
    found = segmenter.predict_parts(shape, [centroids[[15]], centroids[[0, 1]]])
    assert found.face_labels.tolist() == [1] * 12 + [0] * 12
    assert found.scores.shape == (2,)
    np.testing.assert_array_equal(found.refined_labels(build_face_graph(pair)), found.face_labels)
    (nobody,) = {*segmenter.predict_parts(shape, [centroids[[15]]]).face_labels[:12].tolist()}
    assert nobody == -1  # nobody asked for the other box
    for clicks in ([], [np.zeros((0, 3))], [centroids[[0]], np.full((1, 3), np.nan)]):
        with pytest.raises(PromptError):
            segmenter.predict_parts(shape, clicks)


def test_clicks_of_the_nearest_other_parts_are_negative() -> None:
    clicks = [np.array([[float(x), 0, 0]]) for x in range(12)]
    clicks[3] = np.array([[3.0, 0, 0], [3.2, 0, 0]])
    points, labels = joint_prompts(clicks)
    assert points.shape == (12, 9, 3)  # own clicks, and seven others of which one has two
    for part, (own, signs) in enumerate(zip(points, labels, strict=True)):
        assert {*map(tuple, own[signs == 1])} == {*map(tuple, clicks[part])}  # repeated in shorter sets
        negative = np.unique(own[signs == 0, 0].round())
        assert len(negative) == 7
        assert part not in negative
        left_out = sorted({*range(12)} - {part, *negative}, key=lambda other: abs(other - part))
        assert abs(negative - part).max() <= abs(left_out[0] - part) + 0.5


def test_clicks_are_in_the_meshes_units() -> None:
    """Known boxes, a mesh far from the origin: the face under the click is inside, the far ones are not."""
    segmenter = oracle_segmenter([Box((-1, -1, -1), (0, 1, 1)), Box((0, -1, -1), (1, 1, 1))])
    pair = joined(cube(center=(-2, 0, 0)), cube(center=(2, 0, 0)))
    moved = Mesh(pair.vertices * 30 + [500, -70, 3], pair.triangles)
    shape = segmenter.encode(moved)
    for face, inside in ((0, slice(0, 12)), (15, slice(12, 24))):
        prediction = segmenter.predict(shape, face_centroids(moved)[face], 1)
        assert prediction.face_logits is not None
        expected = np.full(24, False)
        expected[inside] = True
        np.testing.assert_array_equal(prediction.face_logits[prediction.best] > 0, expected)


@pytest.mark.parametrize(
    ("points", "labels"),
    [
        ([], []),
        ([[0, 0, 0]], []),
        ([[0, 0, 0]], [1, 0]),
        ([[0, 0, 0], [1, 0, 0]], [1]),
        ([[np.nan, 0, 0]], [1]),
        ([[0, np.inf, 0]], [1]),
        ([[0, 0, 0]], [2]),
        ([[0, 0, 0]], [-1]),
        ([[0, 0, 0]], [0.5]),
        ([[0, 0]], [1]),
        ([[0, 0], [0, 0], [0, 0]], [1, 1]),
        ([[0, 0, 0, 1]], [1]),
        ([0, 0, 0, 1, 1, 1], [1, 1]),
    ],
)
def test_clicks_that_make_no_sense_are_refused(
    segmenter: Segmenter, shape: EncodedShape, points: list, labels: list
) -> None:
    with pytest.raises(PromptError):
        segmenter.predict(shape, points, labels)


def test_a_previous_mask_of_another_shape_is_refused(segmenter: Segmenter, shape: EncodedShape) -> None:
    points = np.random.default_rng(0).random((90, 3))
    other = segmenter.encode_points(points, np.zeros_like(points))
    previous = segmenter.predict(other, points[:1], [1])
    with pytest.raises(PromptError, match="previous"):
        segmenter.predict(shape, points[:1], [1], previous=previous)
    previous = segmenter.predict(shape, points[:1], [1])
    with pytest.raises(PromptError, match="previous"):
        segmenter.predict(other, points[:1], [1], previous=previous)


# --- progress and cancelling -----------------------------------------------------------------------


def test_progress_runs_forward_through_its_stages(segmenter: Segmenter, shape: EncodedShape) -> None:
    seen: list[tuple[str, float]] = []
    segmenter.segment_every_part(
        shape,
        prompts=20,
        prompt_batch=4,
        settings=UNFILTERED,
        progress=lambda stage, share: seen.append((stage, share)),
    )
    order = list(dict.fromkeys(stage for stage, _ in seen))
    assert [stage for stage, _ in seen] == sorted((stage for stage, _ in seen), key=order.index)
    assert order == ["prompts", "faces", "parts"]
    for stage in order:
        shares = [share for name, share in seen if name == stage]
        assert shares == sorted(shares)
        assert 0 <= shares[0] <= shares[-1] <= 1
    assert sum(stage == "prompts" for stage, _ in seen) >= 5
    assert seen[-1] == ("parts", 1.0)


@pytest.mark.parametrize("strict", [False, True])
def test_it_can_be_cancelled_whenever_it_asks(
    segmenter: Segmenter, shape: EncodedShape, strict: bool
) -> None:
    def run(patience: int) -> int:
        """Segment, wanting to stop at the `patience`-th question; how many there were."""
        asked = 0

        def cancel() -> bool:
            nonlocal asked
            asked += 1
            return asked > patience

        segmenter.segment_every_part(
            shape, prompts=12, prompt_batch=4, settings=UNFILTERED, strict_paper=strict, cancel=cancel
        )
        return asked

    questions = run(10**9)
    assert questions >= 3
    for patience in range(questions):
        with pytest.raises(Cancelled):
            run(patience)


def test_a_turned_shape_is_what_encoding_it_turned_gives(segmenter: Segmenter, mesh: Mesh) -> None:
    """Points, faces and graph stay the shape's own; only what the network sees is turned or mirrored."""
    shape = segmenter.encode(mesh)
    for turn in TURNS[1:5]:
        turned = segmenter._encoder.turned(shape, turn)
        triangles = mesh.triangles if np.linalg.det(turn) > 0 else mesh.triangles[:, ::-1]
        there = segmenter.encode_points(
            shape.world_points @ turn.T,
            shape.normals @ turn.T,
            shape.colors,
            point_faces=shape.point_faces,
            mesh=Mesh(mesh.vertices @ turn.T, triangles, mesh.face_colors),
        )
        for place in ("point_locations", "site_locations"):
            seen, wanted = (
                PromptDecoder(segmenter._on_device, each).logits(
                    segmenter_decoding(segmenter, each), getattr(each, place), slice(1, 4)
                )
                for each in (turned, there)
            )
            np.testing.assert_allclose(seen.numpy(), wanted.numpy(), atol=2e-3)
        assert turned.sites is shape.sites


def segmenter_decoding(segmenter: Segmenter, shape: EncodedShape) -> Decoding:
    clicks = torch.as_tensor(shape.points[[5, 200]])[:, None]
    with torch.inference_mode():
        return PromptDecoder(segmenter._on_device, shape).decode(clicks)


def test_poses_ask_different_clicks_and_together_all() -> None:
    asked = [clicks_of_pose(9, pose) for pose in range(4)]
    assert sorted([*asked[0], *asked[1]]) == list(range(9))
    assert list(asked[2]) == list(asked[0])
    assert [len({tuple(turn.ravel()) for turn in TURNS}), len(TURNS)] == [8, 8]


@pytest.mark.parametrize("poses", [2, 3])
def test_parts_in_several_poses_are_whole_and_repeatable(
    segmenter: Segmenter, shape: EncodedShape, mesh: Mesh, poses: int
) -> None:
    first, again = (
        segmenter.segment_every_part(shape, prompts=12, poses=poses, settings=UNFILTERED) for _ in range(2)
    )
    assert_whole(first, mesh.face_count)
    assert_same(all_labels(first), all_labels(again))


def test_in_several_poses_known_parts_are_found() -> None:
    """Eight boxes look the same in every pose, and so do the masks of this oracle."""
    signs = np.stack(np.meshgrid(*[(-1, 1)] * 3), axis=-1).reshape(-1, 3)
    segmenter = oracle_segmenter([Box(tuple(np.minimum(s, 0)), tuple(np.maximum(s, 0))) for s in signs])
    boxes = joined(*[cube(center=tuple(2 * s)) for s in signs])
    labels = segmenter.segment_every_part(segmenter.encode(boxes), prompts=64, poses=5).face_labels()
    assert len(np.unique(labels)) == 8
    assert (labels.reshape(8, -1) == labels.reshape(8, -1)[:, :1]).all()


@pytest.mark.parametrize("poses", [0, 9])
def test_poses_beyond_those_there_are_are_refused(
    segmenter: Segmenter, shape: EncodedShape, poses: int
) -> None:
    with pytest.raises(PromptError, match="poses"):
        segmenter.segment_every_part(shape, prompts=4, poses=poses)


def test_refinement_can_be_cancelled(segmenter: Segmenter, mesh: Mesh) -> None:
    parts = segmented(segmenter, mesh)
    with pytest.raises(Cancelled):
        parts.refined_labels(1.0, cancel=lambda: True)


@pytest.mark.parametrize("prompts", [0, -3])
def test_without_prompts_there_is_nothing_to_do(
    segmenter: Segmenter, shape: EncodedShape, prompts: int
) -> None:
    with pytest.raises(PromptError, match="prompt"):
        segmenter.segment_every_part(shape, prompts=prompts)


def test_batches_of_prompts_change_nothing(segmenter: Segmenter, shape: EncodedShape) -> None:
    results = [
        segmenter.segment_every_part(shape, prompts=20, prompt_batch=batch, settings=UNFILTERED)
        for batch in (3, 64)
    ]
    np.testing.assert_allclose(
        results[0].mask_logits.astype(np.float32), results[1].mask_logits.astype(np.float32), atol=1e-2
    )


# --- loading ---------------------------------------------------------------------------------------


def test_an_unknown_model_is_answered_with_the_known_ones() -> None:
    with pytest.raises(CheckpointError, match=r"no model 'large'.*small"):
        Segmenter.load("large", device="cpu")


def test_an_unknown_device_is_answered_with_the_known_ones() -> None:
    with pytest.raises(DeviceError, match=r"unknown device 'tpu'.*cpu"):
        Segmenter.load("small-untrained", device="tpu")
    if not torch.cuda.is_available():
        with pytest.raises(DeviceError, match="no usable cuda"):
            Segmenter.load("small-untrained", device="cuda")


def test_a_model_file_answers_as_the_network_it_was_saved_from(
    tmp_path: Path, segmenter: Segmenter, mesh: Mesh, shape: EncodedShape
) -> None:
    path = tmp_path / "mine.safetensors"
    save_network(segmenter.network, path, dtype=torch.float32)
    loaded = Segmenter.load(path, device="cpu")
    assert (loaded.model_name, loaded.config, loaded.device, loaded.is_trained) == ("mine", TINY, "cpu", True)
    click = face_centroids(mesh)[:1]
    assert_same(loaded.predict(loaded.encode(mesh), click, [1]), segmenter.predict(shape, click, [1]))
    assert not Segmenter.load("small-untrained", device="cpu").is_trained
