# SPDX-License-Identifier: GPL-3.0-or-later
"""Files as people have them: the right triangles, area and looks, as read and as written again."""

from __future__ import annotations

import json
import re
import secrets
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzz_mesh_files import fuzz
from gltf_builder import glb_tree

from backend.errors import MeshFileError
from backend.geometry import face_areas, face_normals
from backend.mesh_files import SourceScene, read_mesh_file, write_parts

CASES = Path(__file__).parent / "data" / "mesh_cases"
EXPECTED: dict[str, dict[str, Any]] = json.loads((CASES / "expected.json").read_text())


def read(name: str) -> SourceScene:
    return read_mesh_file(CASES / name)


def written(scene: SourceScene, folder: Path, parts: int = 1) -> dict[str, Any]:
    """The JSON tree of the scene, written as `parts` parts of successive faces."""
    count = scene.mesh.face_count
    write_parts(folder / "out.glb", scene, np.arange(count) * parts // count)
    return glb_tree(folder / "out.glb")


def base_color_textures(scene: SourceScene) -> set[bytes | None]:
    """The distinct pictures that give the surfaces their colour."""
    found = set()
    for index in {surface.material for surface in scene.surfaces} - {None}:
        slot = scene.looks.materials[index].get("pbrMetallicRoughness", {}).get("baseColorTexture")
        if slot is not None:
            found.add(scene.looks.images[scene.looks.textures[slot["index"]]["source"]].data)
    return found


def check_unit_normals(scene: SourceScene) -> None:
    for surface in scene.surfaces:
        if "NORMAL" in surface.attributes:
            lengths = np.linalg.norm(surface.attributes["NORMAL"], axis=1)
            np.testing.assert_allclose(lengths, 1, atol=1e-5)


@pytest.mark.parametrize("name", EXPECTED)
def test_triangles_area_and_textures(name: str, tmp_path: Path) -> None:
    expected, scene = EXPECTED[name], read(name)
    assert scene.mesh.face_count == expected["faces"]
    assert face_areas(scene.mesh).sum() == pytest.approx(expected["area"], rel=1e-3)
    if "textures" in expected:
        assert len(base_color_textures(scene) - {None}) == expected["textures"]
    written(scene, tmp_path, parts=3)
    again = read_mesh_file(tmp_path / "out.glb")
    assert again.mesh.face_count == expected["faces"]
    assert face_areas(again.mesh).sum() == pytest.approx(expected["area"], rel=1e-3)
    assert base_color_textures(again) - {None} == base_color_textures(scene) - {None}
    check_unit_normals(again)


@pytest.mark.parametrize("suffix", [".obj", ".ply"])
def test_concave_polygons_have_no_inverted_triangles(suffix: str) -> None:
    mesh = read(f"concave_ngon{suffix}").mesh
    heights = mesh.corners()[:, :, 2]
    caps = np.ptp(heights, axis=1) < 1e-6
    assert caps.sum() == 36  # two stars of 20 corners each
    top = heights[caps].mean(axis=1) > heights.mean()
    up = face_normals(mesh)[caps][:, 2]
    np.testing.assert_allclose(up[top], up[top][0], atol=1e-6)
    np.testing.assert_allclose(up[~top], -up[top][0], atol=1e-6)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("glb_draco_used_not_required.glb", "Draco"),
        ("glb_length_field_too_long.glb", "truncated"),
        ("glb_texture_index_bad.glb", "materials do not fit"),
        ("stl_binary_truncated.stl", "395 of 396 triangles"),
        ("stl_binary_count_zero.stl", "says 0 triangles, its length 396"),
    ],
)
def test_refusals_say_what_is_wrong(name: str, message: str) -> None:
    with pytest.raises(MeshFileError, match=message) as caught:
        read(name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_trailing_bytes_of_a_binary_stl_do_no_harm() -> None:
    assert face_areas(read("stl_binary_trailing_bytes.stl").mesh).sum() == pytest.approx(11.002, rel=1e-3)


def test_damaged_files_are_read_or_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A slice of the fuzzer with a fresh seed; `dev.py fuzz --minutes 10` is the whole."""
    faults = fuzz(seconds=60, seed=secrets.randbelow(10**9), output=tmp_path, files=300)
    printed = capfd.readouterr().out
    assert faults == 0, printed
    counts = re.search(r"300 files, (\d+) read, (\d+) refused", printed)
    assert counts and int(counts[1]) > 20 and int(counts[2]) > 20, printed


# --- glTF ------------------------------------------------------------------------------------------


def test_default_morph_weights_shape_the_mesh_and_stay(tmp_path: Path) -> None:
    scene = read("glb_morph_default_weight.glb")
    assert scene.mesh.vertices.max() == pytest.approx(3.3, abs=1e-3)
    write_parts(tmp_path / "out.glb", scene, np.zeros(scene.mesh.face_count, int))
    assert read_mesh_file(tmp_path / "out.glb").mesh.vertices.max() == pytest.approx(3.3, abs=1e-3)
    source, written = (
        glb_tree(path)["meshes"][0] for path in (CASES / "glb_morph_default_weight.glb", tmp_path / "out.glb")
    )
    assert written["weights"] == source["weights"]
    assert len(written["primitives"][0]["targets"]) == len(source["primitives"][0]["targets"])


@pytest.mark.parametrize("name", ["glb_far_translation.glb", "obj_utm.obj"])
def test_far_from_the_origin_nothing_is_rounded(name: str, tmp_path: Path) -> None:
    scene = read(name)
    tree = written(scene, tmp_path)
    again = read_mesh_file(tmp_path / "out.glb")
    size = np.ptp(scene.mesh.vertices, axis=0).max()
    assert np.abs(scene.mesh.vertices).max() > 1e5
    np.testing.assert_allclose(again.mesh.corners(), scene.mesh.corners(), rtol=0, atol=1e-6 * size)
    translation = np.array(tree["nodes"][0]["translation"])
    np.testing.assert_array_equal(translation, translation.astype(np.float32))


def test_near_the_origin_no_translation_is_written(tmp_path: Path) -> None:
    assert "translation" not in written(read("glb_variants.glb"), tmp_path)["nodes"][0]


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("glb_nonunit_quaternion.glb", "unit length"),
        ("glb_primitive_without_position.glb", "without positions"),
        ("glb_points_lines.glb", "2 primitives of points or lines"),
        ("glb_variants.glb", "variants are not written: Red, Blue"),
        ("ply_rgba_label.ply", "segment_id"),
    ],
)
def test_what_is_left_out_is_named(name: str, note: str) -> None:
    assert any(note in line for line in read(name).notes)


def test_names_extras_and_copyright_arrive(tmp_path: Path) -> None:
    scene = read("glb_names_extras_copyright.glb")
    tree = written(scene, tmp_path, parts=2)
    assert [node["name"] for node in tree["nodes"]] == ["Body.Part 1", "Body.Part 2"]
    assert tree["nodes"][0]["extras"] == {"shape": "x", "asset_id": 42}
    assert tree["asset"]["copyright"] == "(c) 2026 Example"
    assert tree["asset"]["extras"] == {"author": "A"}
    attributes = tree["meshes"][0]["primitives"][0]["attributes"]
    assert {"TEXCOORD_2", "COLOR_1", "_PARTID", "_TEMP"} <= attributes.keys()


def test_parts_are_called_after_the_nodes_that_they_come_from(tmp_path: Path) -> None:
    tree = written(read("glb_three_named_nodes.glb"), tmp_path, parts=4)
    # Of the second and third quarter one half or more is Body's.
    assert [node["name"] for node in tree["nodes"]] == ["Head", "Body.Part 1", "Body.Part 2", "Arm"]
    assert tree["materials"] == [{"name": "peau"}]


def test_a_long_uri_of_a_missing_texture_stays_whole(tmp_path: Path) -> None:
    name = "glb_missing_texture_long_uri.glb"
    uri = glb_tree(CASES / name)["images"][0]["uri"]
    assert len(uri) > 80
    assert written(read(name), tmp_path)["images"] == [{"uri": uri}]


# --- OBJ -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "material"),
    [
        ("obj_latin1_mtl.obj", "Körper"),
        ("obj_latin1_comment_in_mtl.obj", "Body"),
        ("obj_usemtl_without_mtl.obj", "skin"),
    ],
)
def test_obj_materials_are_found_in_any_encoding(name: str, material: str) -> None:
    scene = read(name)
    assert [entry["name"] for entry in scene.looks.materials] == [material]
    assert {surface.material for surface in scene.surfaces} == {0}


def test_obj_map_options_become_a_texture_transform() -> None:
    slot = read("obj_map_options.obj").looks.materials[0]["pbrMetallicRoughness"]["baseColorTexture"]
    # v' = 2 v in MTL, which counts v upwards; 1 - v' = 2 (1 - v) - 1 in glTF.
    assert slot["extensions"]["KHR_texture_transform"] == {"scale": [2.0, 2.0], "offset": [0.1, -1.0]}


@pytest.mark.parametrize("name", ["obj_one_face_without_uv.obj", "obj_mixed_vn_vt.obj"])
def test_obj_faces_without_uv_cost_only_themselves(name: str) -> None:
    with_uv = len(re.findall(r"^f \d+/\d", (CASES / name).read_text(), re.MULTILINE))
    uv = [s.attributes["TEXCOORD_0"][s.triangles].reshape(-1, 6) for s in read(name).surfaces]
    mapped = (np.concatenate(uv) != 0).any(axis=1)
    assert 0 < with_uv < len(mapped)
    assert mapped.sum() == with_uv


def test_obj_normals_get_unit_length(tmp_path: Path) -> None:
    scene = read("obj_normals_not_unit.obj")
    written(scene, tmp_path)
    again = read_mesh_file(tmp_path / "out.glb")
    assert all("NORMAL" in surface.attributes for surface in again.surfaces)
    check_unit_normals(again)


def test_obj_maps_for_physically_based_shading(tmp_path: Path) -> None:
    tree = written(read("obj_pbr_maps.obj"), tmp_path)
    material = tree["materials"][0]
    assert material["normalTexture"]["scale"] == 0.5
    assert material["emissiveFactor"] == [0, 1, 0]
    assert "emissiveTexture" in material
    assert material["alphaMode"] == "BLEND"
    shading = material["pbrMetallicRoughness"]
    assert shading["metallicFactor"] == 1.0
    assert {"baseColorTexture", "metallicRoughnessTexture"} <= shading.keys()


def test_obj_tr_is_the_opposite_of_d() -> None:
    factor = read("obj_Tr.obj").looks.materials[0]["pbrMetallicRoughness"]["baseColorFactor"]
    assert factor[3] == pytest.approx(0.4)


def test_obj_objects_and_groups_name_the_parts(tmp_path: Path) -> None:
    scene = read("obj_objects_groups.obj")
    assert [surface.name for surface in scene.surfaces] == ["Head", "Stick", "Base"]
    assert {node["name"] for node in written(scene, tmp_path)["nodes"]} <= {"Head", "Stick", "Base"}


def test_obj_with_very_many_runs_of_materials(tmp_path: Path) -> None:
    """SketchUp and CAD exporters write a `usemtl` for every few faces: no step may be quadratic in them."""
    side, runs = 60, 1800
    lines = [f"v {x} {y} 0" for y in range(side + 1) for x in range(side + 1)]
    first = [y * (side + 1) + x + 1 for y in range(side) for x in range(side)]
    for number, corner in enumerate(first):
        if number % (len(first) // runs) == 0:
            lines.append(f"usemtl m{number // 2 % 7}")
        lines.append(f"f {corner} {corner + 1} {corner + side + 2} {corner + side + 1}")
    (tmp_path / "many.obj").write_text("\n".join(lines))
    scene = read_mesh_file(tmp_path / "many.obj")
    assert len(scene.surfaces) == runs
    assert len(scene.looks.materials) == 7
    # Seven primitives, however often the material changes.
    assert len(written(scene, tmp_path)["meshes"][0]["primitives"]) == 7


# --- PLY and OFF -----------------------------------------------------------------------------------


def test_ply_texnumber_picks_among_the_textures() -> None:
    scene = read("ply_two_textures.ply")
    pictures = [
        scene.looks.images[scene.looks.textures[surface.material]["source"]] for surface in scene.surfaces
    ]
    rows = (CASES / "ply_two_textures.ply").read_text().splitlines()[-396:]
    assert [picture.name for picture in pictures] == [f"t{rows[0].split()[-1]}", f"t{rows[-1].split()[-1]}"]


def test_ply_alpha_is_kept() -> None:
    assert read("ply_rgba_label.ply").surfaces[0].attributes["COLOR_0"].shape[1] == 4


def test_ply_rows_that_are_too_short_are_named(tmp_path: Path) -> None:
    text = (CASES / "ply_extra_values_per_row.ply").read_text()
    rows = text.splitlines()
    rows[rows.index("end_header") + 7] = "0 1"
    (tmp_path / "short.ply").write_text("\n".join(rows))
    with pytest.raises(MeshFileError, match="element vertex"):
        read_mesh_file(tmp_path / "short.ply")


def test_off_colours_of_faces_and_of_some_vertices() -> None:
    faces, vertices = (read(name) for name in ("off_face_colors.off", "off_coff_some_alpha.off"))
    np.testing.assert_allclose(faces.mesh.face_colors, [[1, 1, 1]] * 395 + [[1, 0, 0]], atol=1e-5)
    np.testing.assert_allclose(vertices.mesh.face_colors, np.tile([1, 0, 0], (396, 1)), atol=1e-5)
    assert vertices.surfaces[0].attributes["COLOR_0"].shape[1] == 4
