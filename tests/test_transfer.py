# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts that travel: to the same shape anew, to another one, and to a shape's own copies."""

from __future__ import annotations

from pathlib import Path

import fast_simplification
import numpy as np
import pytest
import trimesh
from trimesh.transformations import reflection_matrix, rotation_matrix

from backend import Segmenter
from backend.__main__ import main
from backend.errors import MeshError
from backend.geometry import Mesh, face_areas
from backend.mesh_files import read_mesh_file
from backend.metrics import mean_best_iou
from backend.transfer import correspond, find_repeats, match_by_maps, transfer_labels

CUBE = trimesh.creation.box()
KNIGHT = Path(__file__).parent / "data" / "knight.glb"


def labelled_knight() -> tuple[Mesh, np.ndarray]:
    """The knight; its objects are its parts."""
    scene = read_mesh_file(KNIGHT)
    return scene.mesh, np.repeat(np.arange(len(scene.surfaces)), np.diff(scene.face_offsets))


def test_labels_survive_decimation() -> None:
    mesh, labels = labelled_knight()
    welded, group = np.unique(mesh.vertices, axis=0, return_inverse=True)
    points, faces = fast_simplification.simplify(welded, group.reshape(-1)[mesh.triangles], 0.5)
    smaller = Mesh(points, faces)
    found = transfer_labels(mesh, labels, smaller)
    back = transfer_labels(smaller, found, mesh)
    assert mean_best_iou(labels, back, face_areas(mesh)) > 0.93


def test_the_sides_of_a_sheet_keep_their_labels() -> None:
    sheet = trimesh.creation.box((2, 2, 0.01))
    labels = (sheet.face_normals[:, 2] < 0).astype(int)
    fine = sheet.subdivide().subdivide().subdivide()
    found = transfer_labels(Mesh(sheet.vertices, sheet.faces), labels, Mesh(fine.vertices, fine.faces))
    flat = np.abs(fine.face_normals[:, 2]) > 0.9
    np.testing.assert_array_equal(found[flat], fine.face_normals[flat][:, 2] < 0)


def test_labels_find_faces_that_are_wound_the_other_way() -> None:
    """Of a plate so thin that its sides are told apart by normals only, as of a copy that was mirrored."""
    plate = trimesh.creation.box((1.0, 1.0, 0.02))
    for _ in range(4):
        plate = plate.subdivide()
    side = (plate.triangles_center[:, 2] > 0).astype(np.int32)
    source = Mesh(plate.vertices, plate.faces)
    target = Mesh(plate.vertices * [-1, 1, 1] + [1e-3, 2e-3, 3e-3], plate.faces)
    flat = np.abs(plate.face_normals[:, 2]) > 0.5
    assert (transfer_labels(source, side, target) == side)[flat].all()


def test_labels_keep_their_numbers_and_must_fit() -> None:
    box = trimesh.creation.box()
    mesh = Mesh(box.vertices, box.faces)
    labels = np.where(box.face_normals[:, 0] > 0.5, 7, 3)
    np.testing.assert_array_equal(transfer_labels(mesh, labels, mesh), labels)
    with pytest.raises(MeshError, match="12 faces"):
        transfer_labels(mesh, labels[:5], mesh)


def test_a_shape_corresponds_to_itself_elsewhere() -> None:
    """The field is one of the shape, whatever its place and size in the world."""
    mesh, labels = labelled_knight()
    moved = Mesh(mesh.vertices * 3 + [5, 0, -2], mesh.triangles, mesh.face_colors)
    segmenter = Segmenter.load("small-untrained", device="cpu")
    shapes = [segmenter.encode(shape) for shape in (mesh, moved)]
    found = correspond(segmenter, *shapes)
    assert (labels[found.faces[:, 0]] == labels).mean() > 0.98


def test_functional_maps_follow_a_bent_surface() -> None:
    """A tapered bar, and the same bent round three quarters of a circle: other places, one surface."""
    bar = trimesh.creation.cylinder(1, 8, sections=24).subdivide_to_size(0.9)
    points, part = bar.vertices, (np.digitize(bar.triangles_center[:, 2], [-2, 0.5, 3])).astype(int)
    width = 0.4 + 0.08 * (points[:, 2:] + 4)
    straight = np.column_stack([points[:, :2] * width, points[:, 2]])
    angle, radius = (points[:, 2] + 4) / 8 * 1.5 * np.pi, 2.0 + straight[:, 0]
    bent = np.column_stack([radius * np.cos(angle), straight[:, 1], radius * np.sin(angle)])
    meshes = [Mesh(vertices, bar.faces) for vertices in (straight, bent)]
    along, around = np.arange(1, 6) * np.pi / 8 * bar.triangles_center[:, 2:], bar.triangles_center[:, :2]
    features = np.column_stack([np.sin(along), np.cos(along), around])
    found = match_by_maps((meshes[0], features), (meshes[1], features))
    labels = transfer_labels(meshes[0], part, meshes[1], correspondence=found)
    areas = face_areas(meshes[1])
    assert mean_best_iou(part, labels, areas) > 0.9
    assert mean_best_iou(part, transfer_labels(meshes[0], part, meshes[1]), areas) < 0.6
    with pytest.raises(MeshError, match="--method field"):
        match_by_maps((Mesh(CUBE.vertices, CUBE.faces), np.ones((12, 2))), (meshes[0], features))


def test_commands_write_labels_and_maps(tmp_path: Path) -> None:
    box = trimesh.creation.box()
    box.export(tmp_path / "a.ply")
    box.subdivide().export(tmp_path / "b.ply")
    np.save(tmp_path / "a.npy", (box.face_normals[:, 2] > 0.5).astype(np.int32))
    names = [str(tmp_path / name) for name in ("a.ply", "b.ply", "a.npy", "b.npy", "map.npz", "b.glb")]
    quick = ["--model", "small-untrained", "--device", "cpu"]
    assert main(["transfer", names[0], names[2], names[1], "--labels", names[3], "-o", names[5]]) == 0
    assert np.load(names[3]).sum() == 8
    assert len(read_mesh_file(names[5]).surfaces) == 2
    assert main(["correspond", names[0], names[1], "-o", names[4], *quick]) == 0
    found = np.load(names[4])
    assert found["faces"].shape == found["weights"].shape
    assert found["faces"].shape[0] == 48
    assert main(["transfer", names[0], names[1], names[1], "--labels", names[3]]) == 1


def test_what_is_no_map_and_no_labels_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One array without a name, an empty file, and the first half of an archive."""
    box, labels, target = (tmp_path / name for name in ("a.ply", "a.npy", "out.npy"))
    trimesh.creation.box().export(box)
    np.save(labels, np.zeros(12, dtype=np.int32))
    for name in ("labels", "empty", "half"):
        (tmp_path / f"{name}.npz").write_bytes(b"" if name == "empty" else labels.read_bytes())
    with (tmp_path / "half.npz").open("wb") as file:
        np.savez(file, faces=np.zeros((12, 1), dtype=np.int64), weights=np.ones((12, 1)))
    (tmp_path / "half.npz").write_bytes((tmp_path / "half.npz").read_bytes()[:300])
    asked = [str(box), "--labels", str(target)]
    for name in ("labels", "empty", "half"):
        wrong = str(tmp_path / f"{name}.npz")
        assert main(["transfer", str(box), str(labels), *asked, "--map", wrong]) == 1
        assert "is no map" in capsys.readouterr().err
    for name in ("empty", "half"):
        assert main(["transfer", str(box), str(tmp_path / f"{name}.npz"), *asked]) == 1
        assert "is no .npy file" in capsys.readouterr().err


# --- copies ----------------------------------------------------------------------------------------


def scattered(pieces: list[trimesh.Trimesh]) -> tuple[Mesh, np.ndarray]:
    joined = trimesh.util.concatenate(pieces)
    return Mesh(joined.vertices, joined.faces), np.repeat(
        np.arange(len(pieces)), [len(p.faces) for p in pieces]
    )


def hook() -> trimesh.Trimesh:
    """A shape without any symmetry."""
    boxes = [
        trimesh.creation.box((3, 0.4, 0.4)),
        trimesh.creation.box((0.4, 1.5, 0.4)),
        trimesh.creation.box((0.4, 0.4, 0.8)),
    ]
    boxes[1].apply_translation((1.3, 0.7, 0))
    boxes[2].apply_translation((-1.3, 0, 0.5))
    return trimesh.util.concatenate(boxes)


def test_copies_are_found_with_their_motion() -> None:
    turn = rotation_matrix(1.1, (1, 2, 3))
    turn[:3, 3] = (9, 0, 1)
    mirror = reflection_matrix((0, 0, 20), (0.2, 0, 1))
    pieces = [
        hook(),
        trimesh.creation.icosphere(radius=0.9),
        hook().apply_transform(turn),
        hook().apply_transform(mirror),
    ]
    (group,) = find_repeats(*scattered(pieces))
    assert group.parts == (0, 2, 3)
    assert group.mirrored.tolist() == [False, False, True]
    np.testing.assert_allclose(group.transforms[1], turn, atol=0.05)
    np.testing.assert_allclose(group.transforms[2], mirror, atol=0.4)


def test_bolts_and_others_are_grouped_apart() -> None:
    bolts = [trimesh.creation.cylinder(0.2, 1.0).apply_translation((i, 0, 0)) for i in range(5)]
    longer = [trimesh.creation.cylinder(0.2, 1.4).apply_translation((i, 5, 0)) for i in range(2)]
    groups = find_repeats(*scattered([*bolts, trimesh.creation.box((8, 1, 1)), *longer]))
    assert [group.parts for group in groups] == [(0, 1, 2, 3, 4), (6, 7)]
