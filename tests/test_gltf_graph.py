# SPDX-License-Identifier: GPL-3.0-or-later
"""What a glTF file holds beside meshes survives the cut into parts, which move as their faces did."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gltf_builder import GltfBuilder, glb_tree

from backend.errors import MeshFileError
from backend.mesh_files import Groups, SourceScene, read_mesh_file, write_parts
from backend.mesh_files.gltf_document import read_document

RIGGED = Path(__file__).parent / "data" / "mesh_formats" / "rigged.glb"
CORNERS = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], dtype=float)


def with_tree(path: Path, tree: dict[str, Any], target: Path) -> Path:
    """A copy of a GLB file with another JSON tree."""
    data = path.read_bytes()
    (length,) = struct.unpack_from("<I", data, 12)
    text = json.dumps(tree).encode()
    text += b" " * (-len(text) % 4)
    body = struct.pack("<II", len(text), 0x4E4F534A) + text + data[20 + length :]
    target.write_bytes(struct.pack("<III", 0x46546C67, 2, 12 + len(body)) + body)
    return target


def at_the_end(path: Path, folder: Path) -> np.ndarray:
    """Middles of all faces, sorted, where all animations are at their last key."""
    document, tree = read_document(path), glb_tree(path)
    for animation in tree["animations"]:
        for channel in animation["channels"]:
            values = document.accessor(animation["samplers"][channel["sampler"]]["output"])
            node, name = tree["nodes"][channel["target"]["node"]], channel["target"]["path"]
            node[name] = values[-1].tolist()
    return middles(read_mesh_file(with_tree(path, tree, folder / f"posed_{path.name}")))


def middles(scene: SourceScene) -> np.ndarray:
    rows = np.round(scene.mesh.corners().mean(axis=1), 5) + 0.0
    return rows[np.lexsort(rows.T)]


def cuts(scene: SourceScene) -> dict[str, np.ndarray]:
    """Labelings: each object a part, objects cut in two, and parts across all objects."""
    objects = np.repeat(np.arange(len(scene.surfaces)), np.diff(scene.face_offsets))
    left = (scene.mesh.corners().mean(axis=1)[:, 0] > 0).astype(int)
    return {
        "objects": objects,
        "halves": np.unique(2 * objects + left, return_inverse=True)[1],
        "sides": left,
    }


@pytest.mark.parametrize("cut", ["objects", "halves", "sides"])
def test_parts_move_as_their_faces_did(cut: str, tmp_path: Path) -> None:
    scene = read_mesh_file(RIGGED)
    assert scene.notes == ()
    out = tmp_path / "out.glb"
    write_parts(out, scene, cuts(scene)[cut])
    np.testing.assert_allclose(middles(read_mesh_file(out)), middles(scene), atol=1e-4)
    moved = at_the_end(out, tmp_path)
    np.testing.assert_allclose(moved, at_the_end(RIGGED, tmp_path), atol=1e-4)
    assert np.abs(moved - middles(scene)).max() > 0.1


def test_cameras_lights_extras_and_names_stay(tmp_path: Path) -> None:
    scene, out = read_mesh_file(RIGGED), tmp_path / "out.glb"
    write_parts(out, scene, cuts(scene)["objects"])
    source, tree = glb_tree(RIGGED), glb_tree(out)
    for key in ("cameras", "extensions", "extensionsUsed"):
        assert tree[key] == source[key]
    assert tree["scenes"][0]["extras"] == {"project": "two halves"}
    assert [animation["name"] for animation in tree["animations"]] == ["Bow", "CubeAction"]
    # The part that is all of a node takes its place: names are there once, the hat is on its bone.
    names = [node["name"] for node in tree["nodes"]]
    assert sorted(names) == sorted(node["name"] for node in source["nodes"])
    assert names[:4] == ["Column", "Hat", "Face", "Block"]
    assert tree["nodes"][names.index("upper")]["children"] == [1]
    assert tree["nodes"][0]["extras"] == {"maker": "tests"}
    face = tree["meshes"][tree["nodes"][2]["mesh"]]
    assert face["extras"] == {"targetNames": ["Smile"]}
    assert len(face["primitives"][0]["targets"]) == 1


def test_a_part_over_several_bones_has_further_nodes(tmp_path: Path) -> None:
    scene, out = read_mesh_file(RIGGED), tmp_path / "out.glb"
    write_parts(out, scene, np.zeros(scene.mesh.face_count, int), part_colors=True)
    tree = glb_tree(out)
    with_mesh = [node["name"] for node in tree["nodes"] if "mesh" in node]
    assert with_mesh == ["Column", "Column.2", "Column.3", "Column.4"]
    assert tree["extensionsUsed"] == ["KHR_lights_punctual"]


def test_in_groups_parts_stand_where_they_were(tmp_path: Path) -> None:
    scene, out = read_mesh_file(RIGGED), tmp_path / "out.glb"
    labels = cuts(scene)["halves"]
    write_parts(out, scene, labels, groups=Groups([0] * (labels.max() + 1), [None]))
    np.testing.assert_allclose(middles(read_mesh_file(out)), middles(scene), atol=1e-4)
    tree = glb_tree(out)
    assert tree["nodes"][labels.max() + 1] == {"name": "group_00", "children": list(range(labels.max() + 1))}


@pytest.mark.parametrize(
    ("change", "note"),
    [
        (lambda tree: tree["animations"][0]["channels"][0].update(sampler=99), "are damaged and not written"),
        (lambda tree: tree.update(skins=[{"joints": [0, 99]}]), None),
        (lambda tree: tree["animations"][0]["channels"][0]["target"].update(path="pointer"),
         "1 of 6 channels of the animation Bow"),
    ],
)  # fmt: skip
def test_damage_beside_the_meshes_is_noted(change: Any, note: str | None, tmp_path: Path) -> None:
    tree = glb_tree(RIGGED)
    change(tree)
    path = with_tree(RIGGED, tree, tmp_path / "damaged.glb")
    if note is None:  # without its joints nobody knows where a skin is
        with pytest.raises(MeshFileError, match="damaged"):
            read_mesh_file(path)
        return
    scene = read_mesh_file(path)
    assert any(note in line for line in scene.notes)
    write_parts(tmp_path / "out.glb", scene, np.zeros(scene.mesh.face_count, int))


def test_a_mirrored_moving_node_keeps_its_winding(tmp_path: Path) -> None:
    builder = GltfBuilder()
    builder.single_mesh({"attributes": {"POSITION": builder.accessor(CORNERS[:3])}}, scale=[-1, 1, 1])
    times, values = builder.accessor([0, 1]), builder.accessor([[0, 0, 0], [0, 5, 0]])
    builder.tree["animations"] = [
        {
            "channels": [{"sampler": 0, "target": {"node": 0, "path": "translation"}}],
            "samplers": [{"input": times, "output": values}],
        }
    ]
    scene = read_mesh_file(builder.save(tmp_path / "in.glb"))
    write_parts(tmp_path / "out.glb", scene, np.array([0]))
    again = read_mesh_file(tmp_path / "out.glb")
    np.testing.assert_allclose(again.mesh.corners(), scene.mesh.corners())
    assert at_the_end(tmp_path / "out.glb", tmp_path)[0, 1] == pytest.approx(5 + 1 / 3, abs=1e-4)


def test_faces_without_joints_under_a_skinned_node_stay(tmp_path: Path) -> None:
    """The specification forbids it, and files have it: the node moves them then."""
    tree = glb_tree(RIGGED)
    node = next(node for node in tree["nodes"] if node["name"] == "Column")
    attributes = tree["meshes"][node["mesh"]]["primitives"][0]["attributes"]
    del attributes["JOINTS_0"]
    upper = next(node for node in tree["nodes"] if node["name"] == "upper")
    rig = next(node for node in tree["nodes"] if node["name"] == "Rig")
    upper["children"].append(rig["children"].pop(0))
    scene = read_mesh_file(with_tree(RIGGED, tree, tmp_path / "in.glb"))
    write_parts(tmp_path / "out.glb", scene, cuts(scene)["objects"])
    np.testing.assert_allclose(middles(read_mesh_file(tmp_path / "out.glb")), middles(scene), atol=1e-4)
