# SPDX-License-Identifier: GPL-3.0-or-later
"""Shapes are set upright in a frame of their own: their file's axes and order change nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from backend import encoding
from backend.device_surface import DeviceSurface
from backend.errors import CheckpointError
from backend.geometry import Mesh, Normalization, face_centroids, sample_surface
from backend.geometry.canonical import CanonicalFrame
from backend.network import PRESETS, NetworkConfig, save_network
from backend.segmenter import Segmenter
from backend.training.trainer import grown_network
from backend.transfer import correspond, face_features
from backend.upright import (
    BUNDLED,
    SEEN_POINTS,
    UprightNetwork,
    _turned_grids,
    bundled_upright,
    load_upright,
    save_upright,
    surface_grids,
    upright_turn,
)
from tests.built_meshes import cube, joined, plate
from tests.bundled_cases import labelled
from tests.tiny_network import TINY, UNFILTERED, tiny_segmenter

UPRIGHT = replace(TINY, upright=True)

_X = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
_Y = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])
_Z = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
TURNS = {
    **{f"{name} by {90 * times}": np.linalg.matrix_power(turn, times)
       for name, turn in (("x", _X), ("y", _Y), ("z", _Z)) for times in (1, 2)},
    **{f"mirrored along {name}": np.diag(signs)
       for name, signs in (("x", [-1.0, 1, 1]), ("y", [1.0, -1, 1]), ("z", [1.0, 1, -1]))},
    "turned and mirrored": _X @ _Z @ np.diag([1.0, -1, 1]),
}  # fmt: skip


@lru_cache(maxsize=1)
def crossbow() -> Mesh:
    """With colours, which are to be the faces' own wherever these are in the file."""
    mesh = labelled("crossbow").mesh
    return replace(mesh, face_colors=np.random.default_rng(1).random((mesh.face_count, 3)))


@lru_cache(maxsize=1)
def upright() -> Segmenter:
    return tiny_segmenter(UPRIGHT)


def turned(mesh: Mesh, turn: np.ndarray) -> Mesh:
    """Turned or mirrored, its faces wound outward as before."""
    triangles = mesh.triangles if np.linalg.det(turn) > 0 else mesh.triangles[:, ::-1]
    return Mesh(mesh.vertices @ turn.T, triangles, mesh.face_colors)


def shuffled(mesh: Mesh, seed: int) -> tuple[Mesh, np.ndarray]:
    """The same mesh with faces and vertices in another order, and which face each was."""
    random = np.random.default_rng(seed)
    faces, vertices = random.permutation(mesh.face_count), random.permutation(len(mesh.vertices))
    triangles = np.argsort(vertices)[mesh.triangles[faces]]
    colors = None if mesh.face_colors is None else mesh.face_colors[faces]
    return Mesh(mesh.vertices[vertices], triangles, colors), faces


def answers(segmenter: Segmenter, mesh: Mesh, turn: np.ndarray, *, poses: int = 1) -> list[np.ndarray]:
    """All that a user sees of a mesh: labels at three granularities, and masks of clicks far and near."""
    shape = segmenter.encode(mesh)
    found = segmenter.segment_every_part(shape, prompts=24, poses=poses, settings=UNFILTERED)
    clicks = face_centroids(crossbow())[[100, 400]] @ turn.T
    first = segmenter.predict(shape, clicks[:1], np.array([1]), size=0.01)
    both = segmenter.predict(shape, clicks, np.array([1, 0]), previous=first)
    ball = segmenter.where_to_look(shape, clicks[:1], np.array([1]), size=0.01)
    assert ball is not None
    near = segmenter.predict(
        shape, clicks[:1], np.array([1]), size=0.01, zoom=segmenter.close_up(shape, ball)
    )
    masks = [answer.face_logits[answer.best] for answer in (first, both, near)]
    return [*(found.refined_labels(granularity) for granularity in (0.2, 0.5, 0.8)), *masks]


@lru_cache(maxsize=2)
def answers_as_it_is(poses: int = 1) -> list[np.ndarray]:
    return answers(upright(), crossbow(), np.eye(3), poses=poses)


@pytest.mark.parametrize("name", TURNS)
def test_turned_and_mirrored_files_get_the_same_parts_and_masks(name: str) -> None:
    found = answers(upright(), turned(crossbow(), TURNS[name]), TURNS[name])
    for ours, expected in zip(found, answers_as_it_is(), strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_so_do_files_in_another_order() -> None:
    mesh, faces = shuffled(turned(crossbow(), _X), 4)
    for ours, expected in zip(answers(upright(), mesh, _X), answers_as_it_is(), strict=True):
        np.testing.assert_array_equal(ours, expected[faces])


def test_so_do_several_poses() -> None:
    turn = TURNS["turned and mirrored"]
    found = answers(upright(), turned(crossbow(), turn), turn, poses=3)
    for ours, expected in zip(found, answers_as_it_is(poses=3), strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_a_network_that_is_not_set_upright_sees_the_file() -> None:
    """The test above would fail for it."""
    plain = tiny_segmenter(TINY)
    np.testing.assert_array_equal(plain.encode(crossbow()).normalization.turn, np.eye(3))
    there, here = (answers(plain, turned(crossbow(), turn), turn) for turn in (TURNS["x by 90"], np.eye(3)))
    assert not any(np.array_equal(ours, theirs) for ours, theirs in zip(there[2:], here[2:], strict=True))


def test_the_bundled_network_is_set_upright_and_says_the_same_of_every_pose() -> None:
    segmenter = Segmenter.load("small", device="cpu")
    assert segmenter.config.upright
    mesh, faces = shuffled(crossbow(), 0)
    cases = {
        "as it is": (crossbow(), np.eye(3)),
        "shuffled": (mesh, np.eye(3)),
        **{name: (turned(crossbow(), TURNS[name]), TURNS[name]) for name in ("z by 90", "mirrored along x")},
    }
    found = {}
    for name, (case, turn) in cases.items():
        shape = segmenter.encode(case)
        parts = segmenter.segment_every_part(shape, prompts=64).refined_labels(0.5)
        click = segmenter.predict(shape, face_centroids(crossbow())[[100]] @ turn.T, np.array([1]))
        assert click.face_logits is not None
        found[name] = parts, click.face_logits[click.best] > 0
    for name, answered in found.items():
        for ours, expected in zip(answered, found["as it is"], strict=True):
            np.testing.assert_array_equal(ours, expected[faces] if name == "shuffled" else expected, name)


def test_seeds_do_not_turn_a_shape() -> None:
    turns = [upright().encode(crossbow(), seed=seed).normalization.turn for seed in range(3)]
    for turn in turns[1:]:
        np.testing.assert_array_equal(turn, turns[0])
    sent = sample_surface(crossbow(), TINY.points, seed=5)
    shape = upright().encode_points(sent.points, sent.normals, sent.colors, mesh=crossbow())
    np.testing.assert_array_equal(shape.normalization.turn, turns[0])


def test_the_device_turns_it_likewise(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = upright().encode(crossbow())
    monkeypatch.setattr(encoding, "keeps_surfaces", lambda device: True)
    found = upright().encode(crossbow())
    np.testing.assert_array_equal(found.normalization.turn, expected.normalization.turn)
    np.testing.assert_array_equal(found.points, expected.points)
    assert torch.equal(found.encoding.texels, expected.encoding.texels)


def test_clouds_are_set_upright_too() -> None:
    """With the same points the same, whatever the axes of the file."""
    drawn = sample_surface(crossbow(), 6000, seed=2)
    here = upright().encode_points(drawn.points, drawn.normals)
    there = upright().encode_points(drawn.points @ _Y.T, drawn.normals @ _Y.T)
    np.testing.assert_array_equal(there.points, here.points)
    np.testing.assert_array_equal(there.normalization.turn @ _Y, here.normalization.turn)


# --- shapes that say nothing ------------------------------------------------------------------------


def _round(make: Callable[..., trimesh.Trimesh], **sizes: float) -> Mesh:
    made = make(**sizes)
    return Mesh(made.vertices, made.faces)


DULL = {
    "cube": cube,
    "sphere": lambda: _round(trimesh.creation.icosphere, subdivisions=2),
    "cylinder": lambda: _round(trimesh.creation.cylinder, radius=1.0, height=2.0),
    "plate": lambda: plate(5, 5),
    "triangle": lambda: Mesh(np.eye(3), np.array([[0, 1, 2]])),
    "pair": lambda: joined(cube(center=(-2, 0, 0)), cube(center=(2, 0, 0))),
}


@pytest.mark.parametrize("name", DULL)
def test_shapes_that_look_alike_from_all_sides_are_answered_again_as_before(name: str) -> None:
    first, again = (upright().encode(DULL[name]()) for _ in range(2))
    turn = first.normalization.turn
    np.testing.assert_array_equal(np.sort(np.abs(turn), axis=1), [[0, 0, 1]] * 3)
    np.testing.assert_array_equal(np.abs(turn).sum(axis=0), 1)
    np.testing.assert_array_equal(again.normalization.turn, turn)
    np.testing.assert_array_equal(again.points, first.points)
    found = upright().segment_every_part(first, prompts=4, settings=UNFILTERED).face_labels()
    assert len(found) == DULL[name]().face_count


def undecided() -> UprightNetwork:
    """All directions look alike to it."""
    network = UprightNetwork().eval().requires_grad_(False)
    torch.nn.init.zeros_(network.output.weight)
    return network


def test_of_directions_that_look_alike_it_is_the_first_of_the_frame() -> None:
    drawn, frame = sample_surface(crossbow(), SEEN_POINTS), crossbow().order.frame
    np.testing.assert_array_equal(
        upright_turn(undecided(), drawn.points, drawn.normals, frame), frame.turns()[0]
    )


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("side", [-3.0, 3.0])
def test_faces_without_area_have_no_say_in_the_frame(axis: int, side: float) -> None:
    mesh = crossbow()
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    stray = (low + high) / 2
    stray[axis] += side * float((high - low).max())
    corner = len(mesh.vertices)
    strayed = Mesh(np.vstack([mesh.vertices, stray]), np.vstack([mesh.triangles, [[corner] * 3]]))
    for frame in (strayed.order.frame, DeviceSurface(strayed, "cpu").frame):
        np.testing.assert_array_equal(frame.axes, mesh.order.frame.axes)
        np.testing.assert_array_equal(frame.signs, mesh.order.frame.signs)
    encoded = upright().encode(strayed)
    np.testing.assert_array_equal(encoded.normalization.turn, upright().encode(mesh).normalization.turn)


def test_a_frame_has_every_direction_up_once() -> None:
    turns = CanonicalFrame(np.array([2, 0, 1]), np.array([1.0, -1.0, 1.0])).turns()
    assert len({tuple(turn[1]) for turn in turns}) == 6
    for turn in turns:
        np.testing.assert_array_equal(turn @ turn.T, np.eye(3))


def test_grids_are_turned_as_the_points_are() -> None:
    drawn, turns = sample_surface(crossbow(), SEEN_POINTS), crossbow().order.frame.turns()
    cube_points = torch.as_tensor(Normalization.of_points(drawn.points).apply(drawn.points))
    normals = torch.as_tensor(drawn.normals)
    found = _turned_grids(surface_grids(cube_points[None], normals[None])[0], turns)
    for grid, turn in zip(found, torch.as_tensor(turns).float(), strict=True):
        expected = surface_grids((cube_points @ turn.T)[None], (normals @ turn.T)[None])[0]
        torch.testing.assert_close(grid, expected, atol=1e-4, rtol=1e-4)


# --- the cube ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TURNS)
def test_a_turned_cube_leads_back(name: str) -> None:
    random = np.random.default_rng(3)
    points, vectors = random.random((50, 3)) * [2, 3, 5] + 40, random.random((50, 3)).astype(np.float32)
    plain, seen = Normalization.of_points(points), Normalization.of_points(points, TURNS[name])
    np.testing.assert_array_equal(seen.apply(points), plain.apply(points) @ TURNS[name].T.astype(np.float32))
    np.testing.assert_array_equal(seen.directions(vectors), vectors @ TURNS[name].T.astype(np.float32))
    np.testing.assert_allclose(seen.invert(seen.apply(points)), points, atol=1e-5)
    further = seen.turned(_X)
    np.testing.assert_array_equal(further.apply(points), seen.apply(points) @ _X.T.astype(np.float32))


# --- shapes of a kind -------------------------------------------------------------------------------


def test_fields_of_two_shapes_are_compared_as_the_files_stand() -> None:
    """However each was turned by itself: one up axis leaves two ways to face."""
    mesh = crossbow()
    stretched = replace(mesh, vertices=mesh.vertices * [1.0, 1.3, 1.0])
    source, target = (upright().encode(shape) for shape in (mesh, stretched))
    expected = correspond(upright(), source, target)
    for turn in mesh.order.frame.turns():
        other = upright().turned(target, turn)
        np.testing.assert_array_equal(other.normalization.turn, turn)
        np.testing.assert_array_equal(correspond(upright(), source, other).faces, expected.faces)
    plain = upright().turned(target, np.eye(3))
    assert upright().turned(plain, np.eye(3)) is plain
    np.testing.assert_array_equal(face_features(upright(), plain), face_features(upright(), target))


# --- what is stored ---------------------------------------------------------------------------------


def test_damaged_and_foreign_weights_are_named(tmp_path: Path) -> None:
    whole = BUNDLED.read_bytes()
    with np.load(BUNDLED) as stored:
        arrays = dict(stored)
    first = next(iter(arrays))
    wrong = {
        "foreign": {"something": np.zeros(3)},
        "short": {name: values for name, values in arrays.items() if name != first},
        "other sizes": {**arrays, first: arrays[first][:1]},
        "words": {**arrays, first: np.array(["no number"])},
    }
    for name, values in wrong.items():
        np.savez(tmp_path / f"{name}.npz", **values)
    for name, data in (("empty", b""), ("cut", whole[: len(whole) // 2]), ("text", b"not an archive")):
        (tmp_path / f"{name}.npz").write_bytes(data)
    for name in (*wrong, "empty", "cut", "text", "nowhere"):
        with pytest.raises(CheckpointError, match=r"missing or damaged; install"):
            load_upright(tmp_path / f"{name}.npz")
    np.savez(tmp_path / "nan.npz", **{**arrays, first: np.full_like(arrays[first], np.nan)})
    with pytest.raises(CheckpointError, match="not finite"):
        load_upright(tmp_path / "nan.npz")


def test_weights_are_read_as_they_were_written(tmp_path: Path) -> None:
    save_upright(bundled_upright(), tmp_path / "again.npz")
    again = load_upright(tmp_path / "again.npz").state_dict()
    for name, values in bundled_upright().state_dict().items():
        assert torch.equal(again[name], values), name


def test_a_model_says_whether_its_shapes_are_set_upright(tmp_path: Path) -> None:
    """Weights from before do not say, and see shapes as they are in the file; so does the published one."""
    assert [PRESETS[name].upright for name in ("published", "small")] == [False, True]
    before = UPRIGHT.to_json().replace('"upright": true, ', "")
    assert NetworkConfig.from_json(before) == TINY
    for config in (TINY, UPRIGHT):
        path = tmp_path / "model.safetensors"
        save_network(tiny_segmenter(config).network, path, dtype=torch.float32)
        loaded = Segmenter.load(path, device="cpu")
        assert loaded.config.upright is config.upright
        own = loaded.encode(crossbow()).normalization.turn
        np.testing.assert_array_equal(np.array_equal(own, np.eye(3)), not config.upright)


def test_training_goes_on_from_weights_that_do_not_say() -> None:
    grown = grown_network(tiny_segmenter(TINY).network, UPRIGHT)
    assert grown is not None
    assert grown.config == UPRIGHT


def test_encoded_shapes_hold_the_callers_points_and_normals() -> None:
    mesh = crossbow()
    shape = upright().encode(mesh)
    assert not np.array_equal(shape.normalization.turn, np.eye(3))
    drawn = sample_surface(mesh, TINY.points)
    np.testing.assert_array_equal(shape.normals, drawn.normals)
    np.testing.assert_allclose(shape.world_points, drawn.points, atol=1e-6)
