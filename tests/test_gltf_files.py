# SPDX-License-Identifier: GPL-3.0-or-later
"""glTF in and out: what real files contain is read as the specification says, and written back whole."""

from __future__ import annotations

import base64
import io
import json
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from gltf_builder import GltfBuilder, glb_tree
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from backend.__main__ import main
from backend.errors import MeshError, MeshFileError, PartSAMError
from backend.geometry import face_areas, face_normals
from backend.mesh_files import SourceScene, part_color, read_mesh_file, write_labels, write_parts

DATA = Path(__file__).parent / "data"
SQUARE = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], dtype=float)
TWO = np.array([[0, 1, 2], [0, 2, 3]])


def png(pixels: Any) -> bytes:
    """A PNG file of RGB pixels [height, width, 3]."""
    file = io.BytesIO()
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(file, format="PNG")
    return file.getvalue()


def textured(builder: GltfBuilder, picture: bytes, uv: Any, slot: dict[str, Any] | None = None) -> None:
    """A unit square of two triangles with one texture."""
    builder.tree["images"] = [{"bufferView": builder.view(picture), "mimeType": "image/png"}]
    builder.tree["textures"] = [{"source": 0}]
    texture = {"index": 0, **(slot or {})}
    builder.tree["materials"] = [{"name": "paint", "pbrMetallicRoughness": {"baseColorTexture": texture}}]
    attributes = {"POSITION": builder.accessor(SQUARE), "TEXCOORD_0": builder.accessor(uv)}
    builder.single_mesh(
        {"attributes": attributes, "indices": builder.accessor(TWO.ravel(), "u2"), "material": 0}
    )


def corner_rows(scene: SourceScene) -> np.ndarray:
    """Everything known about each corner of each face, one sorted row per face: to compare as sets."""
    rows = []
    for surface in scene.surfaces:
        parts = [surface.positions] + [surface.attributes[name] for name in sorted(surface.attributes)]
        rows.append(
            np.concatenate(parts, axis=1)
            .astype(np.float32)[surface.triangles]
            .reshape(len(surface.triangles), -1)
        )
    stacked = np.concatenate(rows)
    return stacked[np.lexsort(stacked.T)]


# --- reading ---------------------------------------------------------------------------------------


def test_nodes_are_placed_as_by_another_reader() -> None:
    scene = read_mesh_file(DATA / "knight.glb")
    other = trimesh.load_scene(DATA / "knight.glb", process=False)
    assert [surface.name for surface in scene.surfaces][:3] == [
        "Knight_ArmLeft",
        "Knight_ArmRight",
        "Knight_Body",
    ]
    assert scene.mesh.face_count == 4712
    for surface in scene.surfaces:
        matrix, geometry = other.graph[surface.name]
        expected = trimesh.transform_points(other.geometry[geometry].vertices, matrix)
        np.testing.assert_allclose(surface.positions, expected, atol=1e-6)
        np.testing.assert_array_equal(surface.triangles, other.geometry[geometry].faces)
        np.testing.assert_allclose(np.linalg.norm(surface.attributes["NORMAL"], axis=1), 1, atol=1e-5)


def test_real_texture_gives_face_colours() -> None:
    scene = read_mesh_file(DATA / "knight.glb")
    colors = scene.mesh.face_colors
    assert colors is not None
    picture = np.asarray(Image.open(io.BytesIO(scene.looks.images[0].data)).convert("RGB"))
    uv = np.concatenate([s.attributes["TEXCOORD_0"][s.triangles].mean(axis=1) for s in scene.surfaces])
    texel = (uv * picture.shape[0]).astype(int)
    at_centroid = picture[texel[:, 1], texel[:, 0]] / 255
    # The palette texture is flat within most faces; gradients explain the rest.
    assert np.median(np.abs(colors - at_centroid).max(axis=1)) < 0.01


def test_nested_rotated_and_mirrored_nodes(tmp_path: Path) -> None:
    builder = GltfBuilder()
    normals = np.tile([0, 0, 1], (4, 1))
    attributes = {"POSITION": builder.accessor(SQUARE), "NORMAL": builder.accessor(normals)}
    builder.single_mesh({"attributes": attributes, "indices": builder.accessor(TWO.ravel(), "u1")})
    half = np.sqrt(0.5)
    builder.tree["nodes"] = [
        {"children": [1], "translation": [0, 0, 5], "rotation": [half, 0, 0, half]},
        {"mesh": 0, "scale": [-2, 1, 1]},
    ]
    scene = read_mesh_file(builder.save(tmp_path / "nested.glb"))
    # Mirror and stretch x, turn y towards z, lift: written out by hand.
    np.testing.assert_allclose(scene.mesh.vertices, [[0, 0, 5], [-2, 0, 5], [-2, 0, 6], [0, 0, 6]], atol=1e-6)
    np.testing.assert_allclose(scene.surfaces[0].attributes["NORMAL"], np.tile([0, -1, 0], (4, 1)), atol=1e-6)
    np.testing.assert_allclose(face_normals(scene.mesh), np.tile([0, -1, 0], (2, 1)), atol=1e-6)


def test_shared_mesh_is_placed_by_each_node(tmp_path: Path) -> None:
    builder = GltfBuilder()
    builder.single_mesh({"attributes": {"POSITION": builder.accessor(SQUARE[:3])}})
    builder.tree["nodes"] = [{"mesh": 0, "name": "a"}, {"mesh": 0, "name": "b", "translation": [3, 0, 0]}]
    builder.tree["scenes"] = [{"nodes": [1, 0]}]
    scene = read_mesh_file(builder.save(tmp_path / "twice.glb"))
    assert [surface.name for surface in scene.surfaces] == ["b", "a"]
    assert scene.mesh.vertices[:, 0].tolist() == [3, 4, 4, 0, 1, 1]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [(4, [[0, 1, 2]]), (5, [[0, 1, 2], [1, 3, 2]]), (6, [[0, 1, 2], [0, 2, 3]])],
)
def test_triangle_modes(tmp_path: Path, mode: int, expected: list[list[int]]) -> None:
    builder = GltfBuilder()
    builder.single_mesh({"attributes": {"POSITION": builder.accessor(SQUARE)}, "mode": mode})
    assert read_mesh_file(builder.save(tmp_path / "mode.glb")).mesh.triangles.tolist() == expected


def test_interleaved_normalised_and_sparse_accessors(tmp_path: Path) -> None:
    builder = GltfBuilder()
    rows = np.zeros(4, dtype=[("position", "<f4", 3), ("uv", "<u2", 2)])
    rows["position"], rows["uv"] = SQUARE, (SQUARE[:, :2] * 65535)
    view = builder.view(rows.tobytes())
    builder.tree["bufferViews"][view]["byteStride"] = rows.itemsize
    indices, values = (
        builder.view(np.array([2], "<u2").tobytes()),
        builder.view(np.array([[7, 7, 7]], "<f4").tobytes()),
    )
    sparse = {
        "count": 1,
        "indices": {"bufferView": indices, "componentType": 5123},
        "values": {"bufferView": values},
    }
    builder.tree["accessors"] = [
        {"bufferView": view, "componentType": 5126, "count": 4, "type": "VEC3", "sparse": sparse},
        {"bufferView": view, "byteOffset": 12, "componentType": 5123, "count": 4, "type": "VEC2"},
    ]
    builder.tree["accessors"][1]["normalized"] = True
    builder.single_mesh(
        {"attributes": {"POSITION": 0, "TEXCOORD_0": 1}, "indices": builder.accessor(TWO.ravel(), "u4")}
    )
    surface = read_mesh_file(builder.save(tmp_path / "packed.glb")).surfaces[0]
    assert surface.positions.tolist() == [[0, 0, 0], [1, 0, 0], [7, 7, 7], [0, 1, 0]]
    np.testing.assert_allclose(surface.attributes["TEXCOORD_0"], SQUARE[:, :2], atol=1e-6)


def test_skin_places_vertices_by_their_joints(tmp_path: Path) -> None:
    builder = GltfBuilder()
    joints = [[0, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0]]
    weights = [[1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0], [0.5, 0.5, 0, 0]]
    inverse = np.tile(np.eye(4).ravel(), (2, 1))
    inverse[1, 13] = -1  # column-major: joint 1 was bound at y = 1
    attributes = {
        "POSITION": builder.accessor(SQUARE),
        "JOINTS_0": builder.accessor(joints, "u1"),
        "WEIGHTS_0": builder.accessor(weights),
    }
    builder.tree["skins"] = [{"joints": [1, 2], "inverseBindMatrices": builder.accessor(inverse)}]
    builder.single_mesh({"attributes": attributes, "indices": builder.accessor(TWO.ravel(), "u2")})
    builder.tree["nodes"] = [
        {"mesh": 0, "skin": 0, "translation": [100, 0, 0]},  # a skinned mesh ignores its own node
        {"children": [2], "translation": [10, 0, 0]},
        {"translation": [0, 1, 4]},
    ]
    builder.tree["scenes"] = [{"nodes": [0, 1]}]
    scene = read_mesh_file(builder.save(tmp_path / "skin.glb"))
    assert scene.mesh.vertices.tolist() == [[10, 0, 0], [11, 0, 0], [11, 1, 4], [10, 1, 2]]
    assert scene.notes == ()


def test_more_than_four_joints_at_a_vertex(tmp_path: Path) -> None:
    builder = GltfBuilder()
    first, second = np.zeros((4, 4)), np.zeros((4, 4))
    first[:, 0], second[:, 1] = 0.25, 0.75
    attributes = {
        "POSITION": builder.accessor(SQUARE),
        "JOINTS_0": builder.accessor(np.zeros((4, 4)), "u1"),
        "WEIGHTS_0": builder.accessor(first),
        "JOINTS_1": builder.accessor(np.ones((4, 4)), "u1"),
        "WEIGHTS_1": builder.accessor(second),
    }
    builder.tree["skins"] = [{"joints": [1, 2]}]
    builder.single_mesh({"attributes": attributes, "indices": builder.accessor(TWO.ravel(), "u2")})
    builder.tree["nodes"] = [{"mesh": 0, "skin": 0}, {}, {"translation": [0, 0, 4]}]
    builder.tree["scenes"] = [{"nodes": [0, 1, 2]}]
    scene = read_mesh_file(builder.save(tmp_path / "skin.glb"))
    np.testing.assert_allclose(scene.mesh.vertices, SQUARE + [0, 0, 3])
    write_parts(tmp_path / "out.glb", scene, np.arange(2))
    again = read_mesh_file(tmp_path / "out.glb")  # all eight joints are written, too
    np.testing.assert_allclose(again.mesh.vertices[again.mesh.triangles], scene.mesh.vertices[TWO], atol=1e-6)


def test_ktx2_textures_and_further_scenes_are_kept_or_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    builder = GltfBuilder()
    textured(builder, b"KTX 20 stands here", SQUARE[:, :2])
    builder.tree["images"][0]["mimeType"] = "image/ktx2"
    builder.tree["textures"][0]["extensions"] = {"KHR_texture_basisu": {"source": 0}}
    del builder.tree["textures"][0]["source"]
    builder.tree |= {"extensionsUsed": ["KHR_texture_basisu"], "scene": 1}
    builder.tree["scenes"] = [{"name": "Storeroom", "nodes": []}, {"nodes": [0]}]
    scene = read_mesh_file(builder.save(tmp_path / "in.glb"))
    labels = tmp_path / "labels.npy"
    write_labels(labels, np.arange(2))
    output = ["-o", str(tmp_path / "printed.glb")]
    source, other = str(tmp_path / "in.glb"), str(builder.save(tmp_path / "other.glb"))
    for command in (["segment", source, "--model", "absent"], ["transfer", source, str(labels), other]):
        main([*command, *output])
        printed = capsys.readouterr().err
        assert "note: 1 texture is KTX2: kept, but its colors are not seen\n" in printed
        assert "note: only the default scene is read, not: Storeroom\n" in printed
    write_parts(tmp_path / "out.glb", scene, np.arange(2))
    tree = glb_tree(tmp_path / "out.glb")
    assert tree["textures"][0]["extensions"]["KHR_texture_basisu"]["source"] == 0
    assert tree["images"][0]["mimeType"] == "image/ktx2"
    assert b"KTX 20 stands here" in (tmp_path / "out.glb").read_bytes()


def test_texture_vertex_colour_and_factor_multiply(tmp_path: Path) -> None:
    builder = GltfBuilder()
    textured(builder, png([[[255, 0, 0], [0, 0, 255]]]), [[0, 0], [0.4, 0], [0.4, 1], [0, 1]])
    path = builder.save(tmp_path / "red.glb")
    assert read_mesh_file(path).mesh.face_colors.tolist() == [[1, 0, 0], [1, 0, 0]]
    builder.tree["materials"][0]["pbrMetallicRoughness"]["baseColorFactor"] = [0.5, 1, 1, 1]
    attributes = builder.tree["meshes"][0]["primitives"][0]["attributes"]
    attributes["COLOR_0"] = builder.accessor([[128, 255, 255, 255]] * 4, "u1", normalized=True)
    colors = read_mesh_file(builder.save(path)).mesh.face_colors
    linear = 0.5 * 128 / 255
    np.testing.assert_allclose(colors[:, 0], 1.055 * linear ** (1 / 2.4) - 0.055, atol=1e-6)
    assert (colors[:, 1:] == 0).all()


@pytest.mark.parametrize(
    ("slot", "sampler", "expected"),
    [
        ({}, {}, [1, 0, 0]),
        ({"extensions": {"KHR_texture_transform": {"offset": [0.5, 0]}}}, {}, [0, 0, 1]),
        ({"extensions": {"KHR_texture_transform": {"offset": [1.5, 0]}}}, {}, [0, 0, 1]),
        ({"extensions": {"KHR_texture_transform": {"offset": [1.5, 0]}}}, {"wrapS": 33648}, [1, 0, 0]),
        ({"extensions": {"KHR_texture_transform": {"offset": [-9, 0]}}}, {"wrapS": 33071}, [1, 0, 0]),
        ({"extensions": {"KHR_texture_transform": {"scale": [-1, 1]}}}, {}, [0, 0, 1]),
        # A half turn around the origin lands, repeated, on the other half of the picture.
        ({"extensions": {"KHR_texture_transform": {"rotation": np.pi}}}, {}, [0, 0, 1]),
        ({"texCoord": 1}, {}, [0, 0, 1]),
    ],
)
def test_texture_lookup_rules(tmp_path: Path, slot: dict, sampler: dict, expected: list[int]) -> None:
    builder = GltfBuilder()
    left = np.array([[0.1, 0.1], [0.4, 0.1], [0.4, 0.9], [0.1, 0.9]])
    textured(builder, png([[[255, 0, 0], [0, 0, 255]]]), left, slot)
    builder.tree["samplers"] = [sampler]
    builder.tree["textures"][0]["sampler"] = 0
    attributes = builder.tree["meshes"][0]["primitives"][0]["attributes"]
    attributes["TEXCOORD_1"] = builder.accessor(left + np.array([0.5, 0]))
    colors = read_mesh_file(builder.save(tmp_path / "lookup.glb")).mesh.face_colors
    assert colors.tolist() == [expected, expected]


def test_broken_texture_is_grey_and_noted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    builder = GltfBuilder()
    textured(builder, b"not a picture", SQUARE[:, :2])
    assert read_mesh_file(builder.save(tmp_path / "grey.glb")).mesh.face_colors is None
    assert "cannot be decoded" in caplog.text
    builder.tree["images"] = [{"uri": "absent.png"}]
    scene = read_mesh_file(builder.save(tmp_path / "grey.glb"))
    assert scene.notes == ("the texture 'absent.png' cannot be read",)
    write_parts(tmp_path / "out.glb", scene, np.zeros(2, int))
    assert glb_tree(tmp_path / "out.glb")["images"] == [{"uri": "absent.png"}]


def test_gltf_with_files_beside_it_and_embedded(tmp_path: Path) -> None:
    builder = GltfBuilder()
    textured(builder, png([[[0, 255, 0]]]), SQUARE[:, :2])
    (tmp_path / "my mesh.bin").write_bytes(builder.binary)
    for uri in (
        "my%20mesh.bin",
        "data:application/octet-stream;base64," + base64.b64encode(builder.binary).decode(),
    ):
        builder.tree["buffers"] = [{"byteLength": len(builder.binary), "uri": uri}]
        path = tmp_path / "scene.gltf"
        path.write_text(json.dumps(builder.tree))
        assert read_mesh_file(path).mesh.face_colors.tolist() == [[0, 1, 0]] * 2
    (tmp_path / "my mesh.bin").write_bytes(builder.binary[:20])
    builder.tree["buffers"][0]["uri"] = "my%20mesh.bin"
    path.write_text(json.dumps(builder.tree))
    with pytest.raises(MeshFileError, match="truncated"):
        read_mesh_file(path)
    (tmp_path / "my mesh.bin").unlink()
    with pytest.raises(MeshFileError, match="keep both in one folder"):
        read_mesh_file(path)


# --- damaged files ---------------------------------------------------------------------------------


@given(data=st.data())
def test_any_truncation_of_a_real_file_is_named(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    whole = (DATA / "knight_fused.glb").read_bytes()
    length = data.draw(st.integers(0, len(whole) - 1))
    path = tmp_path_factory.mktemp("cut") / "cut.glb"
    path.write_bytes(whole[:length])
    with pytest.raises(MeshFileError, match=r"truncated|not a glTF file|is empty"):
        read_mesh_file(path)


@given(data=st.data())
def test_flipped_header_bytes_never_crash(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    builder = GltfBuilder()
    textured(builder, png([[[255, 0, 0]]]), SQUARE[:, :2])
    content = bytearray(builder.glb())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("flip") / "flip.glb"
    path.write_bytes(content)
    try:
        scene = read_mesh_file(path)
    except PartSAMError:
        return
    assert scene.mesh.face_count > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tree: tree["accessors"][2].update(count=9), "reaches past"),
        (lambda tree: tree["nodes"][0].update(mesh=7), "damaged or truncated"),
        (lambda tree: tree["nodes"][0].update(children=[0]), "several parents"),
        (lambda tree: tree["meshes"][0]["primitives"][0].update(material=1), "materials do not fit"),
        (lambda tree: tree["textures"][0].update(source=5), "materials do not fit"),
        (lambda tree: tree["asset"].update(version="1.0"), "only glTF 2.0"),
        (lambda tree: tree.pop("asset"), "not a glTF file"),
    ],
)  # fmt: skip
def test_structural_damage_is_named(tmp_path: Path, change: Any, message: str) -> None:
    builder = GltfBuilder()
    textured(builder, png([[[255, 0, 0]]]), SQUARE[:, :2])
    change(builder.tree)
    with pytest.raises(MeshFileError, match=message):
        read_mesh_file(builder.save(tmp_path / "damaged.glb"))


def test_indices_past_the_vertices_are_named(tmp_path: Path) -> None:
    builder = GltfBuilder()
    builder.single_mesh(
        {"attributes": {"POSITION": builder.accessor(SQUARE)}, "indices": builder.accessor([0, 1, 9], "u2")}
    )
    with pytest.raises(MeshFileError, match="vertices that are not there"):
        read_mesh_file(builder.save(tmp_path / "indices.glb"))


def test_points_only_and_empty_scenes_have_no_faces(tmp_path: Path) -> None:
    builder = GltfBuilder()
    builder.single_mesh({"attributes": {"POSITION": builder.accessor(SQUARE)}, "mode": 0})
    with pytest.raises(MeshError, match="no faces"):
        read_mesh_file(builder.save(tmp_path / "points.glb"))
    with pytest.raises(MeshError, match="no faces"):
        read_mesh_file(GltfBuilder().save(tmp_path / "empty.glb"))


# --- writing ---------------------------------------------------------------------------------------


def test_parts_of_a_real_file_keep_everything(tmp_path: Path) -> None:
    source, out = DATA / "knight.glb", tmp_path / "out.glb"
    scene = read_mesh_file(source)
    labels = np.argsort(np.argsort(scene.mesh.corners()[:, :, 1].mean(axis=1))) * 5 // scene.mesh.face_count
    write_parts(out, scene, labels)
    again = read_mesh_file(out)
    names = [node["name"] for node in glb_tree(out)["nodes"]]
    assert all(re.fullmatch(r"Knight_[A-Za-z]+(\.Part \d)?", name) for name in names)
    assert len(set(names)) == 5
    for key in ("materials", "textures", "samplers"):
        assert glb_tree(out)[key] == glb_tree(source)[key]
    assert again.looks.images == scene.looks.images
    np.testing.assert_array_equal(corner_rows(again), corner_rows(scene))
    areas = np.bincount(labels, weights=face_areas(scene.mesh))
    for surface, label in zip(again.surfaces, range(5), strict=True):
        mesh = SourceScene((surface,), again.looks).mesh
        assert surface.name == names[label]
        assert mesh.face_count == (labels == label).sum()
        np.testing.assert_allclose(face_areas(mesh).sum(), areas[label], rtol=1e-6)
    # Another reader agrees about names, sizes and textures.
    other = trimesh.load_scene(out, process=False)
    assert sorted(other.geometry) == sorted(names)
    for label in range(5):
        geometry = other.geometry[names[label]]
        assert len(geometry.faces) == (labels == label).sum()
        assert geometry.visual.material.baseColorTexture.size == (1024, 1024)


def test_part_over_two_materials_is_one_node_with_two_primitives(tmp_path: Path) -> None:
    builder = GltfBuilder()
    position = builder.accessor(SQUARE)
    corners = [builder.accessor(row, "u2") for row in TWO]
    extension = {"KHR_materials_emissive_strength": {"emissiveStrength": 3.0}}
    builder.tree["materials"] = [
        {"name": "skin", "extensions": extension, "extras": {"keep": [1, 2]}},
        {"name": "cloth", "alphaMode": "MASK", "alphaCutoff": 0.25},
    ]
    builder.tree["extensionsUsed"] = list(extension)
    builder.single_mesh({"attributes": {"POSITION": position}, "indices": corners[0], "material": 1})
    builder.tree["meshes"][0]["primitives"].append(
        {"attributes": {"POSITION": position}, "indices": corners[1], "material": 0}
    )
    scene = read_mesh_file(builder.save(tmp_path / "two.glb"))
    write_parts(tmp_path / "one.glb", scene, np.zeros(2, int))
    tree = glb_tree(tmp_path / "one.glb")
    assert len(tree["nodes"]) == 1
    assert [primitive["material"] for primitive in tree["meshes"][0]["primitives"]] == [1, 0]
    assert tree["materials"] == builder.tree["materials"]
    assert tree["extensionsUsed"] == builder.tree["extensionsUsed"]


def test_parts_without_looks_get_distinct_colours(tmp_path: Path) -> None:
    scene = read_mesh_file(DATA / "knight_fused.glb")
    labels = np.arange(scene.mesh.face_count) % 12
    write_parts(tmp_path / "fused.glb", scene, labels)
    tree = glb_tree(tmp_path / "fused.glb")
    assert [mesh["primitives"][0]["material"] for mesh in tree["meshes"]] == list(range(12))
    colors = np.unique(read_mesh_file(tmp_path / "fused.glb").mesh.face_colors, axis=0)
    assert len(colors) == 12
    np.testing.assert_allclose(
        np.sort(colors, axis=0), np.sort([part_color(i) for i in range(12)], axis=0), atol=1e-5
    )


def test_colours_of_many_parts_are_told_apart() -> None:
    colors = np.array([part_color(label) for label in range(40)])
    distance = np.linalg.norm(colors[:, None] - colors[None], axis=2) + np.eye(40)
    assert distance.min() > 0.1
    assert np.diag(distance, 1).min() > 0.25


def test_part_colours_can_replace_materials(tmp_path: Path) -> None:
    scene = read_mesh_file(DATA / "knight.glb")
    write_parts(tmp_path / "out.glb", scene, np.arange(4712) % 2, part_colors=True)
    tree = glb_tree(tmp_path / "out.glb")
    assert "images" not in tree
    assert [material["name"] for material in tree["materials"]] == ["part_00", "part_01"]


def test_labels_without_faces_become_empty_nodes(tmp_path: Path) -> None:
    builder = GltfBuilder()
    builder.single_mesh({"attributes": {"POSITION": builder.accessor(SQUARE[:3])}})
    scene = read_mesh_file(builder.save(tmp_path / "in.glb"))
    write_parts(tmp_path / "out.glb", scene, np.array([2]))
    assert [(n["name"], "mesh" in n) for n in glb_tree(tmp_path / "out.glb")["nodes"]] == [
        ("part_00", False), ("part_01", False), ("part_02", True),
    ]  # fmt: skip


@given(labels=st.lists(st.integers(0, 5), min_size=2, max_size=2))
def test_written_binary_chunk_follows_the_specification(
    labels: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("spec")
    builder = GltfBuilder()
    textured(builder, png([[[255, 0, 0]]]), SQUARE[:, :2])
    scene = read_mesh_file(builder.save(folder / "in.glb"))
    write_parts(folder / "out.glb", scene, np.array(labels))
    data, tree = (folder / "out.glb").read_bytes(), glb_tree(folder / "out.glb")
    magic, version, length, text_length = struct.unpack_from("<IIII", data)
    assert (magic, version, length) == (0x46546C67, 2, len(data))
    assert text_length % 4 == 0
    (binary_length,) = struct.unpack_from("<I", data, 20 + text_length)
    assert binary_length == tree["buffers"][0]["byteLength"] == len(data) - 28 - text_length
    for accessor in tree["accessors"]:
        view = tree["bufferViews"][accessor["bufferView"]]
        width = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}[accessor["type"]]
        size = {5123: 2, 5125: 4, 5126: 4}[accessor["componentType"]]
        assert view["byteOffset"] % 4 == 0
        assert view["byteLength"] == accessor["count"] * width * size
    for mesh in tree["meshes"]:
        for primitive in mesh["primitives"]:
            assert {"min", "max"} <= tree["accessors"][primitive["attributes"]["POSITION"]].keys()


def test_labels_file(tmp_path: Path) -> None:
    write_labels(tmp_path / "labels.npy", np.array([3, 1, 2], dtype=np.int64))
    labels = np.load(tmp_path / "labels.npy")
    assert labels.dtype == np.int32
    assert labels.tolist() == [3, 1, 2]
    assert [path.name for path in tmp_path.iterdir()] == ["labels.npy"]
