# SPDX-License-Identifier: GPL-3.0-or-later
"""Looking closely at where a small part was clicked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import trimesh

from backend.click_simulation import mask_ious
from backend.evaluation.first_click import first_answers
from backend.evaluation.interactive import InteractiveSettings, measure_interactive
from backend.evaluation.shapes import KnownShape
from backend.geometry import Mesh, face_centroids, sample_surface
from backend.segmentation.close_up import Ball, CloseUp, ball_around, ball_around_mask, sample_ball
from backend.segmenter import EncodedShape, Segmenter
from backend.service.held import HeldShape
from backend.service.memory import Footprint
from tests.built_meshes import joined, plate
from tests.tiny_network import Box, oracle_segmenter, tiny_segmenter

FINE = 0.004
INSIDE = np.ones(1, dtype=np.int64)


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    torch.set_num_threads(1)
    return tiny_segmenter()


@pytest.fixture(scope="module")
def mesh() -> Mesh:
    """A ball of small faces on a plate of few large ones, each face of its own colour."""
    ball = trimesh.creation.icosphere(subdivisions=3, radius=0.2)
    both = joined(plate(2, 2, size=2.0), Mesh(ball.vertices + np.array([0.3, 0.4, 0.2]), ball.faces))
    return Mesh(both.vertices, both.triangles, np.random.default_rng(0).random((both.face_count, 3)))


@pytest.fixture(scope="module")
def shape(segmenter: Segmenter, mesh: Mesh) -> EncodedShape:
    return segmenter.encode(mesh)


def test_a_ball_is_sampled_as_densely_as_the_whole(mesh: Mesh, shape: EncodedShape) -> None:
    click = face_centroids(mesh)[[200]]
    ball = ball_around(shape, click, FINE)
    assert ball is not None
    assert 0.03 < ball.share < 0.06
    drawn = sample_ball(shape, ball, 500)
    assert len(np.unique(drawn.points, axis=0)) == 500
    assert ball.reaches(drawn.points).all()
    corners = mesh.corners()[drawn.faces]
    np.testing.assert_allclose((corners * drawn.barycentric[:, :, None]).sum(axis=1), drawn.points, atol=1e-6)
    np.testing.assert_array_equal(drawn.colors, mesh.face_colors[drawn.faces])  # type: ignore[index]
    # As evenly as the whole: of a sample of the whole the same share lies in the ball's inner half.
    everywhere = sample_surface(mesh, 200_000, seed=5).points
    inner = ball.reaches(everywhere, 0.5).sum() / ball.reaches(everywhere).sum()
    assert ball.reaches(drawn.points, 0.5).mean() == pytest.approx(inner, abs=0.05)


def test_colours_that_only_the_sample_has_are_taken_from_it(segmenter: Segmenter, mesh: Mesh) -> None:
    plain = Mesh(mesh.vertices, mesh.triangles)
    sample = sample_surface(plain, 400)
    colors = np.where(sample.points[:, 2:] > 0, [[1.0, 0, 0]], [[0, 0, 1.0]])
    shape = segmenter.encode_points(
        sample.points, sample.normals, colors, point_faces=sample.faces, mesh=plain
    )
    ball = ball_around(shape, face_centroids(mesh)[[200]], 0.015)
    assert ball is not None
    drawn = sample_ball(shape, ball, 300)
    assert (drawn.colors[drawn.points[:, 2] > 0.1] == [1.0, 0, 0]).all()


def test_it_is_left_out_where_it_is_no_help(segmenter: Segmenter, mesh: Mesh, shape: EncodedShape) -> None:
    click = face_centroids(mesh)[[200]]
    near, far = click + 0.02, face_centroids(mesh)[[7]]
    cloud = segmenter.encode_points(shape.world_points)
    assert segmenter.where_to_look(shape, click, INSIDE) is None
    assert segmenter.where_to_look(shape, click, INSIDE, size=0.05) is None
    assert segmenter.where_to_look(cloud, click, INSIDE, size=FINE) is None
    assert ball_around(shape, np.concatenate([click, far]), FINE) is None
    corner = np.array([[2.0, 2.0, 0.0]])  # of large faces, whose middles are not in the ball
    assert segmenter.where_to_look(shape, corner, INSIDE, size=FINE) is None
    distance = np.linalg.norm(shape.world_points - corner, axis=1)
    assert ball_around_mask(shape, corner, distance <= np.partition(distance, 3)[3]) is None
    ball, larger = (segmenter.where_to_look(shape, click, INSIDE, size=size) for size in (FINE, 0.01))
    assert ball is not None and larger is not None
    assert ball.serves(ball, near)
    assert not ball.serves(ball, far)
    assert not ball.serves(larger, near)


def test_a_ball_around_a_mask_holds_it_and_its_clicks(
    segmenter: Segmenter, mesh: Mesh, shape: EncodedShape
) -> None:
    click = face_centroids(mesh)[[200]]
    distance = np.linalg.norm(shape.world_points - click, axis=1)
    mask = distance <= np.sort(distance)[len(distance) // 50]
    ball = ball_around_mask(shape, click, mask)
    assert ball is not None
    assert ball.reaches(shape.world_points[mask], 0.8).all()
    aside = ball_around_mask(shape, np.concatenate([click, click + 0.3]), mask)
    assert aside is not None
    assert aside.radius > ball.radius
    assert aside.reaches(click + 0.3).all()
    assert ball_around_mask(shape, click, np.zeros_like(mask)) is None
    assert ball_around_mask(shape, click, distance < np.median(distance)) is None
    assert ball.serves(aside, click) == (aside.radius < 2 * ball.radius)
    assert not ball.serves(ball, click + 0.3)
    assert not ball.serves(Ball(ball.center, ball.radius / 3, ball.share), click)  # it would show too little
    assert not ball.serves(Ball(ball.center, ball.radius, ball.share, wanted=0.04), click)


def test_corrections_count_inside_of_the_ball_and_the_rest_stays(
    segmenter: Segmenter, mesh: Mesh, shape: EncodedShape
) -> None:
    clicks = face_centroids(mesh)[[200, 201]]
    earlier = segmenter.predict(shape, clicks[:1], INSIDE)
    ball = ball_around(shape, clicks, FINE)
    assert ball is not None
    zoom = segmenter.close_up(shape, ball)
    said = {"labels": np.array([1, 0]), "previous": earlier}
    plain = segmenter.predict(shape, clicks, **said)
    answer = segmenter.predict(shape, clicks, **said, zoom=zoom)
    assert plain.face_logits is not None and answer.face_logits is not None
    for found, before, places in (
        (answer.point_logits, plain.point_logits, shape.world_points),
        (answer.face_logits, plain.face_logits, face_centroids(mesh)),
    ):
        within = ball.reaches(places)
        np.testing.assert_array_equal(found[:, ~within], before[:, ~within])
        assert (found[:, within] != before[:, within]).mean() > 0.9
    without = segmenter.predict(shape, clicks, said["labels"], zoom=zoom)
    assert (without.point_logits != answer.point_logits).any()  # the close-up shows the earlier mask, too
    elsewhere = np.concatenate([clicks[:1], [[4.0, 4.0, 0.0]]])  # of these the close-up sees one
    assert not ball.reaches(elsewhere[1:]).any()
    answer = segmenter.predict(shape, elsewhere, said["labels"], zoom=zoom)
    assert answer.face_logits is not None
    assert (len(answer.point_logits), len(answer.face_logits), len(answer.scores)) == (1, 1, 1)


def test_the_service_makes_a_close_up_of_a_small_answer_and_keeps_it(
    segmenter: Segmenter, mesh: Mesh, shape: EncodedShape
) -> None:
    footprint = Footprint(segmenter.prompt_batch, len(shape.points), segmenter.device)
    held = HeldShape("ball", "tiny", 0, mesh, None, footprint, footprint, encoded=shape)
    said: dict[str, Any] = {"points": face_centroids(mesh)[[200, 201]], "labels": np.array([1, 0])}
    plain = segmenter.predict(shape, **said)
    distance = np.linalg.norm(shape.world_points - said["points"][0], axis=1)
    small = replace(plain, point_logits=np.sort(distance)[len(distance) // 50] - distance[None])
    said |= {"previous": None, "size": None}
    for _ in range(2):
        found = held.look_closer(segmenter, said, small)
        (zoom,) = held.close_ups
        expected = segmenter.look_closer(shape, zoom, small, **said)
        assert found.face_logits is not None and expected.face_logits is not None
        np.testing.assert_array_equal(found.face_logits, expected.face_logits)
        assert (found.face_logits != small.face_logits).any()
    large = replace(plain, point_logits=np.ones_like(plain.point_logits))
    assert held.look_closer(segmenter, said, large) is large
    held.forget_encoding()
    assert not held.close_ups


def test_the_answer_that_promises_more_counts_and_ends_at_the_ball(
    segmenter: Segmenter, mesh: Mesh, shape: EncodedShape
) -> None:
    closer = 0
    for face in (60, 200, 400, 600, 900, 1100):
        click = face_centroids(mesh)[[face]]
        zoom = _close_up(segmenter, shape, click, FINE)
        plain = segmenter.predict(shape, click, [1], size=FINE)
        answer = segmenter.predict(shape, click, [1], size=FINE, zoom=zoom)
        assert answer.scores[answer.best] >= plain.scores[plain.best]
        assert answer.point_logits.shape == plain.point_logits.shape
        assert answer.face_logits is not None
        if (answer.point_logits == plain.point_logits).all():
            continue
        closer += 1
        assert (answer.point_logits[:, ~zoom.ball.reaches(shape.world_points)] < 0).all()
        assert (answer.face_logits[:, ~zoom.ball.reaches(face_centroids(mesh))] < 0).all()
        again = segmenter.predict(
            shape, np.concatenate([click, click + 0.01]), [1, 0], previous=answer, size=FINE, zoom=zoom
        )
        assert again.point_logits.shape == (1, len(shape.points))
    assert closer, "none of the close-ups promised more"


def test_evaluation_can_look_closely_at_small_parts(segmenter: Segmenter, shape: EncodedShape) -> None:
    points = torch.as_tensor(shape.points)
    order = torch.cdist(points[:1], points)[0].argsort()
    targets = torch.zeros(2, len(points), dtype=torch.bool)
    targets[0, order[:3]] = targets[1, order[:200]] = True
    clicks = order[[0, 0]]
    plain, closer = (
        first_answers(segmenter, shape, points, targets, clicks, zoom=zoom) for zoom in (False, True)
    )
    np.testing.assert_array_equal(plain.chosen, closer.chosen)
    assert plain.with_size[1] == closer.with_size[1]
    place, size = shape.world_points[[int(clicks[0])]], 3 / len(points)
    zoom = _close_up(segmenter, shape, place, size)
    answer = segmenter.predict(shape, place, INSIDE, size=size, zoom=zoom)
    expected = mask_ious(torch.as_tensor(answer.point_logits[answer.best] > 0), targets[0])
    assert closer.with_size[0] == pytest.approx(float(expected))


def test_evaluation_can_look_closely_at_corrections(mesh: Mesh, shape: EncodedShape) -> None:
    """The oracle takes some of the plate to the small ball, and in a close-up what is in its middle."""
    ball = shape.normalization.apply(np.array([[0.3, 0.4, 0.2]]))[0]
    seen, middle = (Box(tuple(at - half), tuple(at + half)) for at, half in ((ball, 0.12), (0 * ball, 0.4)))
    labels = (mesh.vertices[mesh.triangles].mean(axis=1)[:, 2] > 0).astype(np.int32)
    item = KnownShape(mesh, labels, "made", "made", "made")
    plain, closer = (
        measure_interactive(oracle_segmenter([seen, middle]), item, InteractiveSettings(clicks=3, zoom=zoom))
        for zoom in (False, True)
    )
    assert plain is not None and closer is not None
    assert (plain.close_ups, closer.close_ups) == (0, 1)  # both corrections are answered in it
    np.testing.assert_array_equal(plain.ious[:, 0], closer.ious[:, 0])
    np.testing.assert_array_equal(plain.ious[0], closer.ious[0])
    assert (plain.ious[1, 1:] != closer.ious[1, 1:]).all()
    assert plain.accepted_ious[1][1] == closer.accepted_ious[1][1]
    assert plain.accepted_ious[3][1] != closer.accepted_ious[3][1]


def _close_up(segmenter: Segmenter, shape: EncodedShape, place: np.ndarray, size: float) -> CloseUp:
    ball = segmenter.where_to_look(shape, place, INSIDE, size=size)
    assert ball is not None
    return segmenter.close_up(shape, ball)
