# SPDX-License-Identifier: GPL-3.0-or-later
"""Training of the network that says which way is up."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from backend.errors import CheckpointError, DataError  # noqa: E402
from backend.training.upright import (  # noqa: E402
    AXES,
    DIRECTIONS,
    UNKNOWN,
    Surfaces,
    agreed_labels,
    chances_of_directions,
    known_label,
    main,
    train_upright,
)
from backend.upright import load_upright, save_upright  # noqa: E402

Y, Z = AXES.index("y"), AXES.index("z")


@pytest.mark.parametrize(
    ("info", "label"),
    [
        ({"repo": "somebody/kit", "path": "a/chair.glb"}, Y),
        ({"repo": "somebody/robot", "path": "arm.urdf"}, Z),
        ({"repo": "somebody/kit", "path": "a/chair.obj"}, UNKNOWN),
        ({"repo": "gkjohnson/ldraw-parts-library", "path": "parts/3001.dat"}, AXES.index("-y")),
        ({"repo": "RobotLocomotion/models", "path": "a.gltf"}, UNKNOWN),
        ({"repo": "somebody/kit", "path": "a.glb@walk", "names": ["bone_body"]}, Z),
        ({"repo": "GodotVR/godot-xr-tools", "path": "hand.gltf", "names": ["bone_fine"]}, Y),
        ({}, UNKNOWN),
    ],
)
def test_up_is_known_by_source_format_or_bones(info: dict, label: int) -> None:
    assert known_label(info) == label


def test_directions_are_rotations_that_set_each_axis_upright() -> None:
    axes = np.array([[-1, 0, 0], [1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], float)
    turns = DIRECTIONS.numpy().astype(float)
    assert np.allclose(np.linalg.det(turns), 1)
    assert np.array_equal(np.einsum("kij,kj->ki", turns, axes), np.tile([0.0, 1.0, 0.0], (6, 1)))


def test_what_a_network_is_sure_of_changes_labels() -> None:
    sure, doubtful = np.full(6, 0.01), np.full(6, 0.15)
    sure[Z], doubtful[Z], doubtful[Y] = 0.95, 0.32, 0.08
    found = np.stack([sure, sure, sure, doubtful, doubtful])
    labels = np.array([UNKNOWN, Y, Z, Y, UNKNOWN])
    assert agreed_labels(found, labels).tolist() == [Z, Z, Z, UNKNOWN, UNKNOWN]


def test_a_few_steps_make_the_labelled_direction_likelier(tmp_path) -> None:
    surfaces = _cones(4, label=Z)
    before = train_upright(surfaces, steps=1, batch=2)
    after = train_upright(surfaces, steps=12, batch=2)
    chances = [chances_of_directions(network, surfaces)[:, Z].mean() for network in (before, after)]
    assert chances[1] > chances[0] + 0.01
    save_upright(after, tmp_path / "upright.npz")
    stored = chances_of_directions(load_upright(tmp_path / "upright.npz"), surfaces)
    assert np.allclose(stored, chances_of_directions(after, surfaces), atol=0.01)


def test_without_a_known_axis_nothing_is_trained() -> None:
    with pytest.raises(DataError, match="up axis"):
        train_upright(_cones(2, label=UNKNOWN), steps=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-o", "nowhere/up.npz"], "folder that exists"),
        (["-o", "."], "folder that exists"),
        (["-o", "up.npz", "--seconds", "0"], "above 0"),
        (["-o", "up.npz", "--workers", "0"], "above 0"),
    ],
)
def test_what_cannot_be_done_is_said_before_training(
    options: list[str], message: str, tmp_path, monkeypatch, caplog
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["missing.npz.xz", *options]) == 1
    assert message in caplog.text


def test_weights_are_written_where_asked_or_not_at_all(tmp_path) -> None:
    network = train_upright(_cones(2, label=Z), steps=1, batch=2)
    save_upright(network, tmp_path / "up")
    assert [path.name for path in tmp_path.iterdir()] == ["up"]
    load_upright(tmp_path / "up")
    with pytest.raises(CheckpointError, match="cannot write"):
        save_upright(network, tmp_path / "nowhere" / "up.npz")


def _cones(count: int, *, label: int) -> Surfaces:
    """Cones whose tip is at the end of the third axis."""
    random = np.random.default_rng(0)
    height, angle = random.uniform(-1, 1, (count, 2048)), random.uniform(0, 2 * np.pi, (count, 2048))
    radius = (1 - height) / 3
    sides = np.stack([np.cos(angle), np.sin(angle)], axis=2)
    points = np.concatenate([radius[..., None] * sides, height[..., None]], axis=2)
    normals = np.concatenate([0.95 * sides, np.full((count, 2048, 1), 0.3)], axis=2)
    return Surfaces(
        torch.from_numpy(points.astype(np.float16)),
        torch.from_numpy(normals.astype(np.float16)),
        ("cones",) * count,
        np.full(count, label),
    )
