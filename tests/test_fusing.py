# SPDX-License-Identifier: GPL-3.0-or-later
"""Fused shells of shapes with known parts: closed, hollow inside, and with the right part on each face."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh

from backend import Mesh
from backend.__main__ import main
from backend.errors import DataError
from backend.geometry import face_centroids, face_normals
from backend.labelled_meshes.packing import load_shapes
from backend.labelled_meshes.shards import UNLABELLED, LabelledShape, ShapeSet, write_shard
from backend.training.fuse_job import FuseJob, fuse_shards
from backend.training.fusing import FuseSettings, fuse_shape, taubin_smoothing

COARSE = FuseSettings(cells=(40, 41), smoothing=0, faces=(4000, 4001))


def boxes(*bounds: tuple[tuple[float, ...], tuple[float, ...]], names: tuple[str, ...] = ("node",)):
    """Axis-aligned boxes (low, high), each a part, with the same labeling under every name."""
    solids = [
        trimesh.creation.box(extents=np.subtract(high, low)).apply_translation(np.add(low, high) / 2)
        for low, high in bounds
    ]
    whole = trimesh.util.concatenate(solids)
    labels = np.repeat(np.arange(len(solids)), 12).astype(np.uint8)
    colors = np.array([[0.2, 0.4, 0.6], [0.8, 0.1, 0.3], [0.5, 0.9, 0.0]], dtype=np.float32)[labels % 3]
    info = {"names": list(names), "repo": "made/here", "path": "boxes.glb", "licence": "CC0-1.0"}
    return LabelledShape(Mesh(whole.vertices, whole.faces, colors), np.stack([labels] * len(names)), info)


TABLE = (
    ((-1.0, 0.5, -1.0), (1.0, 0.7, 1.0)),
    ((-0.9, -0.7, -0.2), (-0.6, 0.55, 0.2)),
    ((0.6, -0.7, -0.2), (0.9, 0.55, 0.2)),
)


def as_trimesh(mesh: Mesh) -> trimesh.Trimesh:
    return trimesh.Trimesh(mesh.vertices, mesh.triangles, process=False)


def test_a_fused_table_is_one_closed_shell_with_the_right_part_everywhere():
    fused = fuse_shape(boxes(*TABLE), COARSE, seed=1)
    assert fused is not None
    shell = as_trimesh(fused.mesh)
    assert shell.is_watertight
    assert shell.body_count == 1
    # The union, a little grown: the legs reach into the top.
    cell = 2.0 / 40
    union = 2 * 0.2 * 2 + 2 * 0.3 * 1.2 * 0.4
    assert union < shell.volume < union + 1.2 * COARSE.offset * cell * shell.area
    place = face_centroids(fused.mesh)
    expected = np.where(place[:, 1] > 0.5, 0, np.where(place[:, 0] < 0, 1, 2))
    clear = np.abs(place[:, 1] - 0.5) > 2 * cell
    np.testing.assert_array_equal(fused.labelings[0][clear], expected[clear])
    colors = boxes(*TABLE).mesh.face_colors
    assert colors is not None
    np.testing.assert_allclose(fused.mesh.face_colors[clear], colors[12 * expected[clear]], atol=1e-6)
    assert fused.info["names"] == ["node"]
    assert 40 <= fused.info["fused"] <= 41


def test_faces_look_outward():
    fused = fuse_shape(boxes(*TABLE), COARSE, seed=1)
    assert fused is not None
    top = face_centroids(fused.mesh)[:, 1] > 0.7
    assert top.any()
    assert face_normals(fused.mesh)[top, 1].mean() > 0.9


@pytest.mark.parametrize(("gap", "bodies"), [(0.01, 1), (0.4, 3)])
def test_gaps_below_a_cell_close(gap: float, bodies: int):
    row = [((x, 0.0, 0.0), (x + 0.5, 0.5, 0.5)) for x in (0.0, 0.5 + gap, 1.0 + 2 * gap)]
    fused = fuse_shape(boxes(*row), COARSE, seed=0)
    assert fused is not None
    assert as_trimesh(fused.mesh).body_count == bodies


def test_what_cannot_be_seen_is_gone():
    inside = ((-0.3, 0.55, -0.3), (0.3, 0.65, 0.3))
    fused = fuse_shape(boxes(*TABLE, inside), COARSE, seed=0)
    assert fused is not None
    assert set(np.unique(fused.labelings)) == {0, 1, 2}
    assert fuse_shape(boxes(TABLE[0], TABLE[1], inside), COARSE, seed=0) is None  # two parts are left


def test_sheets_become_thin_solids():
    sheet = boxes(*TABLE)
    open_mesh = Mesh(sheet.mesh.vertices, sheet.mesh.triangles[2:], sheet.mesh.face_colors[2:])
    fused = fuse_shape(LabelledShape(open_mesh, sheet.labelings[:, 2:], sheet.info), COARSE, seed=0)
    assert fused is not None
    assert as_trimesh(fused.mesh).is_watertight


def test_painted_labelings_are_left_behind():
    shape = boxes(*TABLE, names=("component", "material", "patch"))
    fused = fuse_shape(shape, COARSE, seed=0)
    assert fused is not None
    assert fused.info["names"] == ["component"]
    assert fused.labelings.shape == (1, fused.mesh.face_count)
    assert fuse_shape(boxes(*TABLE, names=("material",)), COARSE, seed=0) is None


def test_small_parts_are_unlabelled():
    knob = ((0.0, 0.7, 0.0), (0.06, 0.76, 0.06))
    settings = FuseSettings(cells=(80, 81), smoothing=0, faces=(9000, 9001), min_part_area=0.01)
    fused = fuse_shape(boxes(*TABLE, knob), settings, seed=0)
    assert fused is not None
    near_knob = np.linalg.norm(face_centroids(fused.mesh) - [0.03, 0.75, 0.03], axis=1) < 0.03
    assert near_knob.any()
    assert set(fused.labelings[0][near_knob]) == {UNLABELLED}


def test_equal_seeds_give_equal_shells():
    settings = FuseSettings()
    first, again, other = (fuse_shape(boxes(*TABLE), settings, seed=seed) for seed in (3, 3, 4))
    assert first is not None
    assert again is not None
    assert other is not None
    np.testing.assert_array_equal(first.mesh.vertices, again.mesh.vertices)
    np.testing.assert_array_equal(first.labelings, again.labelings)
    assert first.mesh.face_count != other.mesh.face_count
    low, high = settings.faces
    assert low <= first.mesh.face_count <= high


def test_smoothing_removes_noise_and_keeps_the_volume():
    ball = trimesh.creation.icosphere(subdivisions=4)
    noise = np.random.default_rng(0).normal(scale=0.01, size=ball.vertices.shape)
    smooth = taubin_smoothing(ball.vertices + noise, ball.faces, rounds=10)
    radius = np.linalg.norm(smooth, axis=1)
    assert radius.std() < 0.4 * np.linalg.norm(ball.vertices + noise, axis=1).std()
    assert trimesh.Trimesh(smooth, ball.faces).volume == pytest.approx(ball.volume, rel=0.01)


def test_the_command_writes_shards_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    shapes = [boxes(*TABLE), boxes(*TABLE, names=("material",)), boxes(*TABLE)]
    shapes[2].info["repo"] = "not/this"
    source, output = tmp_path / "shapes.npz.xz", tmp_path / "fused"
    write_shard(source, ShapeSet.from_shapes(shapes))
    arguments = ["fuse", str(source), "-o", str(output), "--skip", "not/this"]
    assert main(arguments) == 0
    assert "1 of 2 shapes fused" in capsys.readouterr().out
    fused = load_shapes([output / "shard_000.npz.xz"])
    assert fused.info[0]["repo"] == "made/here"
    assert fused.info[0]["licence"] == "CC0-1.0"
    assert len(np.unique(fused.shape(0).labelings)) == 3
    assert main(arguments) == 0
    assert "0 of 0 shapes fused, 2 known" in capsys.readouterr().out


def test_nothing_to_fuse_is_an_error(tmp_path: Path):
    source = tmp_path / "shapes.npz.xz"
    write_shard(source, ShapeSet.from_shapes([boxes(*TABLE, names=("patch",))]))
    with pytest.raises(DataError, match="none of the shapes can be fused"):
        fuse_shards([source], tmp_path / "fused", FuseJob())


def test_missing_libraries_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("backend.training.fusing._LIBRARIES", ("numpy", "no_such_library"))
    with pytest.raises(DataError, match="fusing needs no_such_library: pip install"):
        fuse_shards([], tmp_path, FuseJob())


@pytest.mark.parametrize("bad", [{"cells": (4, 9)}, {"faces": (1, 9)}, {"offset": 0.0}])
def test_impossible_settings_are_refused(bad: dict):
    with pytest.raises(DataError):
        FuseSettings(**bad)
