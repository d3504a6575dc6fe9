# SPDX-License-Identifier: GPL-3.0-or-later
"""Training shapes are set upright as the product sets them upright."""

from __future__ import annotations

import itertools
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_training import mushroom

from backend import Mesh
from backend.geometry.mesh import face_normals
from backend.labelled_meshes.packing import pack_store
from backend.labelled_meshes.shards import LabelledShape, ShapeSet, check_shapes, read_shard, write_shard
from backend.training.upright import AXES, known_label
from backend.training.upright_shards import main, mesh_turn, set_upright
from tests.bundled_cases import labelled, table
from tests.tiny_network import TINY, tiny_segmenter

LIES = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
MIRROR = np.diag([-1.0, 1, 1])


def chair_like(path: str, turn: np.ndarray) -> LabelledShape:
    """The crossbow, which has no two sides alike, turned or mirrored: with colours and two labelings."""
    known = labelled("crossbow")
    mesh, random = known.mesh, np.random.default_rng(0)
    triangles = mesh.triangles if np.linalg.det(turn) > 0 else mesh.triangles[:, ::-1]
    colors = random.random((mesh.face_count, 3))
    labels = np.stack([known.labels, random.integers(0, 9, mesh.face_count)]).astype(np.uint8)
    info = {"names": ["component", "material"], "repo": "a/a", "path": path, "licence": "CC0-1.0"}
    return LabelledShape(Mesh(mesh.vertices @ turn.T, triangles, colors), labels, info)


@pytest.fixture(scope="module")
def shapes() -> ShapeSet:
    """Of unknown and of known up axes, turned and mirrored; and one without area."""
    turns = {"plain": np.eye(3), "lies": LIES, "mirrored": MIRROR @ LIES}
    made = [
        chair_like(f"{name}.{ending}", turn)
        for ending in ("obj", "glb", "urdf")
        for name, turn in turns.items()
    ]
    spread = Mesh(np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0]]), np.array([[0, 1, 2]]))
    info = {"names": ["none"], "repo": "a/a", "path": "needle.glb", "licence": "CC0-1.0"}
    return ShapeSet.from_shapes([*made, LabelledShape(spread, np.zeros((1, 1), np.uint8), info)])


@pytest.fixture(scope="module")
def upright(shapes: ShapeSet) -> ShapeSet:
    return set_upright(shapes, workers=1)[0]


def test_the_product_turns_them_no_more_where_the_estimate_decided(
    shapes: ShapeSet, upright: ShapeSet
) -> None:
    segmenter = tiny_segmenter(replace(TINY, upright=True))
    for row in range(3):
        before, after = (segmenter.encode(of.shape(row).mesh) for of in (shapes, upright))
        np.testing.assert_array_equal(after.normalization.turn, np.eye(3))
        np.testing.assert_allclose(after.points, before.points, atol=1e-6)
    assert not np.array_equal(segmenter.encode(shapes.shape(1).mesh).normalization.turn, np.eye(3))


def test_however_a_file_stood_its_shape_is_stored_in_one_pose(upright: ShapeSet) -> None:
    """But for rounding, of which half a step may fall on the other side when it is mirrored."""
    first = upright.shape(0).mesh
    for row in (1, 2):
        np.testing.assert_allclose(upright.shape(row).mesh.vertices, first.vertices, atol=2 / 32767)


@pytest.mark.parametrize(("rows", "axis"), [((3, 4, 5), 1), ((6, 7, 8), 2)])
def test_what_is_known_to_be_up_becomes_the_second_axis(
    shapes: ShapeSet, upright: ShapeSet, rows: tuple[int, ...], axis: int
) -> None:
    """Whatever the shape looks like; the other axes are the longer one first, as the frame says."""
    for row in rows:
        before, after = shapes.shape(row).mesh, upright.shape(row).mesh
        np.testing.assert_allclose(after.vertices[:, 1], before.vertices[:, axis], atol=1e-12)
        sides = np.ptp(after.vertices, axis=0)
        assert sides[0] >= sides[2]
        turn = mesh_turn(before, known_label(shapes.info[row]))
        assert any(np.array_equal(turn, own) for own in before.order.frame.turns())
        np.testing.assert_array_equal(mesh_turn(after, AXES.index("y")), np.eye(3))


def test_positions_are_not_rounded_again(shapes: ShapeSet, upright: ShapeSet) -> None:
    for row, (start, end) in enumerate(itertools.pairwise(shapes.vertex_starts)):
        before, after = (of.vertices[start:end].astype(int) for of in (shapes, upright))
        stored = {tuple(column) for column in before.T} | {tuple(65535 - column) for column in before.T}
        assert {tuple(column) for column in after.T} <= stored, row


def test_normals_turn_with_the_shape(shapes: ShapeSet, upright: ShapeSet) -> None:
    """Also of those that were mirrored: faces are wound outward as before."""
    mirrored = 0
    for row in range(len(shapes) - 1):
        before, after = shapes.shape(row).mesh, upright.shape(row).mesh
        turn = mesh_turn(before, known_label(shapes.info[row]))
        mirrored += np.linalg.det(turn) < 0
        np.testing.assert_allclose(face_normals(after), face_normals(before) @ turn.T, atol=1e-5)
    assert 0 < mirrored < len(shapes) - 1


def test_all_else_stays(shapes: ShapeSet, upright: ShapeSet) -> None:
    check_shapes(upright, "upright")
    for name in ("vertex_counts", "face_counts", "labeling_counts", "colors", "labels"):
        np.testing.assert_array_equal(getattr(upright, name), getattr(shapes, name))
    assert upright.info[:-1] == tuple(line | {"up": "y"} for line in shapes.info[:-1])
    assert [known_label(line) for line in upright.info[:-1]] == [AXES.index("y")] * (len(shapes) - 1)


def test_a_shape_without_area_stays_as_it_is(shapes: ShapeSet, upright: ShapeSet) -> None:
    assert upright.info[-1] == shapes.info[-1]
    np.testing.assert_array_equal(upright.shape(9).mesh.vertices, shapes.shape(9).mesh.vertices)


def test_what_is_upright_stays_so(upright: ShapeSet) -> None:
    again = set_upright(upright, workers=1)[0]
    np.testing.assert_array_equal(again.vertices, upright.vertices)
    np.testing.assert_array_equal(again.faces, upright.faces)
    assert again.info == upright.info


def test_the_command_writes_a_shard_for_each_file(
    tmp_path: Path, shapes: ShapeSet, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    write_shard(tmp_path / "some.npz.xz", shapes)
    known = table()
    plain = LabelledShape(
        known.mesh, known.labels[None].astype(np.uint8), {**mushroom().info, "path": "t.urdf"}
    )
    write_shard(tmp_path / "one.npz.xz", ShapeSet.from_shapes([plain] * 17))
    pack_store([tmp_path / "one.npz.xz"], tmp_path / "packed.pack")
    folder = tmp_path / "upright"
    files = [str(tmp_path / name) for name in ("some.npz.xz", "packed.pack", "some.npz.xz")]
    assert main([*files, "-o", str(folder), "--workers", "2"]) == 0
    assert sorted(path.name for path in folder.iterdir()) == ["packed.npz.xz", "some.npz.xz"]
    expected = set_upright(shapes, workers=1)[0]
    np.testing.assert_array_equal(read_shard(folder / "some.npz.xz").vertices, expected.vertices)
    assert len(read_shard(folder / "packed.npz.xz")) == 17
    lines = caplog.text
    assert " y up: 3 known, " in lines
    assert " z up: 20 known, " in lines
    estimated = [int(line.split()[-2]) for line in lines.splitlines() if line.endswith("estimated")]
    assert sum(estimated) == 3
    assert "1 shapes cannot be segmented" in lines


def test_files_that_cannot_be_written_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shard = tmp_path / "one.npz.xz"
    write_shard(shard, ShapeSet.from_shapes([mushroom()]))
    stored = shard.read_bytes()
    other = tmp_path / "other" / "one.pack"
    other.parent.mkdir()
    other.write_bytes(b"")
    (tmp_path / "file").write_bytes(b"")
    for files, folder, message in (
        ([shard], tmp_path, "written over"),
        ([shard, other], tmp_path / "out", "would both be written to"),
        ([tmp_path / "nowhere.npz.xz"], tmp_path / "out", "cannot read"),
        ([shard], tmp_path / "file", "cannot write"),
    ):
        caplog.clear()
        assert main([*map(str, files), "-o", str(folder), "--workers", "1"]) == 1
        assert message in caplog.text
    assert shard.read_bytes() == stored
    assert not (tmp_path / "out").exists()
