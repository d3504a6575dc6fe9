# SPDX-License-Identifier: GPL-3.0-or-later
"""OBJ, PLY, STL and OFF files, and what all formats share: face order, errors, atomic writing."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from backend.errors import MeshError, MeshFileError, PartSAMError
from backend.geometry import NEUTRAL_GREY, face_areas
from backend.mesh_files import read_mesh_file, write_parts
from backend.mesh_files.atomic import atomic_writer
from backend.mesh_files.polygons import fan_corners, split_vertices

OWN_READERS = (".glb", ".gltf", ".obj", ".ply", ".stl", ".off")
"""Formats that need no optional library; `test_mesh_formats.py` has the others."""

PENTAGON = [[0, 0, 0], [2, 0, 0], [3, 2, 0], [1, 3, 0], [-1, 2, 0], [1, 1, 4]]
MIXED = [[0, 1, 5], [0, 4, 3, 2, 1], [1, 2, 3, 5], [4, 0, 5]]
"""A triangle, a pentagon, a quad, a triangle: the kind of mix at which readers lose the order."""
FANS = [[0, 1, 5], [0, 4, 3], [0, 3, 2], [0, 2, 1], [1, 2, 3], [1, 3, 5], [4, 0, 5]]


PLY_POINT = "ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float y\nproperty float z\n"
PLY_FACE = f"{PLY_POINT}element face 1\nproperty list uchar int vertex_index\n"


def picture(color: tuple[int, int, int], kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4), color).save(file, format=kind)
    return file.getvalue()


def vertex_lines(prefix: str = "") -> str:
    return "".join(f"{prefix}{x} {y} {z}\n" for x, y, z in PENTAGON)


def from_smallest(triangle: list[int]) -> list[int]:
    """The same corners in the same sense, the smallest first."""
    start = triangle.index(min(triangle))
    return triangle[start:] + triangle[:start]


# --- one mesh, every format ------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", OWN_READERS)
def test_every_format_gives_the_same_triangles_in_order(tmp_path: Path, suffix: str) -> None:
    source = trimesh.creation.icosphere(subdivisions=2, radius=3)
    path = tmp_path / f"ball{suffix}"
    if suffix == ".gltf":
        for name, content in source.scene().export(file_type="gltf").items():
            (tmp_path / name.replace("model", "ball")).write_bytes(content)
    else:
        source.export(path)
    mesh = read_mesh_file(path).mesh
    np.testing.assert_allclose(mesh.corners(), source.triangles, atol=1e-5)
    assert mesh.face_colors is None


def test_text_stl_with_two_solids(tmp_path: Path) -> None:
    facet = (
        "facet normal 0 0 1\nouter loop\nvertex {0} 0 0\nvertex {1} 0 0\nvertex {0} 1 0\nendloop\nendfacet\n"
    )
    text = "".join(f"solid {n}\n{facet.format(x, x + 1)}endsolid {n}\n" for n, x in (("a", 0), ("b", 5)))
    (tmp_path / "two.stl").write_text(text)
    scene = read_mesh_file(tmp_path / "two.stl")
    assert [surface.name for surface in scene.surfaces] == ["a", "b"]
    assert scene.mesh.corners()[:, 0, 0].tolist() == [0, 5]


def test_a_million_faces(tmp_path: Path) -> None:
    rows, columns = 1001, 501
    grid = np.arange(rows * columns, dtype=np.int32).reshape(rows, columns)
    a, b, c, d = (g.ravel() for g in (grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]))
    faces = np.zeros(2 * len(a), dtype=[("n", "u1"), ("v", "<i4", 3)])
    faces["n"], faces["v"] = 3, np.concatenate([np.column_stack([a, b, c]), np.column_stack([a, c, d])])
    x, y = np.meshgrid(np.arange(columns), np.arange(rows))
    vertices = np.column_stack([x.ravel(), y.ravel(), np.sin(x / 9).ravel()]).astype("<f4")
    header = (
        f"ply\nformat binary_little_endian 1.0\nelement vertex {len(vertices)}\n"
        "property float x\nproperty float y\nproperty float z\n"
        f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    path = tmp_path / "grid.ply"
    path.write_bytes(header.encode() + vertices.tobytes() + faces.tobytes())
    scene = read_mesh_file(path)
    assert scene.mesh.face_count == 1_000_000
    write_parts(tmp_path / "grid.glb", scene, np.arange(1_000_000) // 250_000)
    assert [len(surface.triangles) for surface in read_mesh_file(tmp_path / "grid.glb").surfaces] == [
        250_000
    ] * 4


# --- polygons --------------------------------------------------------------------------------------


def test_off_polygons_keep_their_order(tmp_path: Path) -> None:
    faces = "".join(f"{len(f)} {' '.join(map(str, f))} 255 0 0\n" for f in MIXED)
    (tmp_path / "mixed.off").write_text(f"OFF # comment\n\n6 4 0\n{vertex_lines()}{faces}")
    mesh = read_mesh_file(tmp_path / "mixed.off").mesh
    assert mesh.triangles.tolist() == FANS
    assert mesh.vertices.tolist() == PENTAGON


def test_off_vertex_colours_and_counts_on_the_first_line(tmp_path: Path) -> None:
    (tmp_path / "c.off").write_text("COFF 3 1 0\n0 0 0 255 0 0\n1 0 0 255 0 0\n0 1 0 255 0 0\n3 0 1 2\n")
    assert read_mesh_file(tmp_path / "c.off").mesh.face_colors.tolist() == [[1, 0, 0]]


@pytest.mark.parametrize("kind", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_ply_polygons_keep_their_order(tmp_path: Path, kind: str) -> None:
    header = (
        f"ply\nformat {kind} 1.0\nelement vertex 6\nproperty double x\nproperty double y\n"
        "property double z\nelement face 4\nproperty uchar red\nproperty list uchar int vertex_index\n"
        "property uchar green\nproperty uchar blue\nelement edge 1\nproperty int vertex1\nend_header\n"
    )
    if kind == "ascii":
        rows = "".join(f"255 {len(f)} {' '.join(map(str, f))} {51 * i} 0\n" for i, f in enumerate(MIXED))
        body = f"{vertex_lines()}{rows}0\n".encode()
    else:
        order = "<" if "little" in kind else ">"
        body = np.array(PENTAGON, f"{order}f8").tobytes()
        for i, face in enumerate(MIXED):
            body += bytes([255, len(face)]) + np.array(face, f"{order}i4").tobytes() + bytes([51 * i, 0])
        body += bytes(4)
    path = tmp_path / "mixed.ply"
    path.write_bytes(header.encode() + body)
    mesh = read_mesh_file(path).mesh
    np.testing.assert_array_equal(mesh.corners(), np.array(PENTAGON, float)[FANS])
    greens = np.array([0, 51, 51, 51, 102, 102, 153]) / 255
    expected = np.column_stack([np.ones(7), greens, np.zeros(7)])
    np.testing.assert_allclose(mesh.face_colors, expected, atol=1e-5)
    path.write_bytes((header.encode() + body)[:-10])
    with pytest.raises(MeshFileError, match="truncated"):
        read_mesh_file(path)


def test_ply_corner_uvs_split_vertices_and_find_their_texture(tmp_path: Path) -> None:
    (tmp_path / "skin.bmp").write_bytes(picture((0, 0, 255), "BMP"))
    (tmp_path / "uv.ply").write_text(
        "ply\nformat ascii 1.0\ncomment TextureFile skin.bmp\nelement vertex 4\nproperty float x\n"
        "property float y\nproperty float z\nelement face 2\nproperty list uchar int vertex_indices\n"
        "property list uchar float texcoord\nend_header\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n"
        "3 0 1 2 6 0 0 1 0 1 1\n3 0 2 3 6 0.5 0.5 1 1 0 1\n"
    )
    scene = read_mesh_file(tmp_path / "uv.ply")
    surface = scene.surfaces[0]
    assert len(surface.positions) == 5  # the vertex 0 has two texture coordinates
    uv = surface.attributes["TEXCOORD_0"][surface.triangles]
    assert uv[1].tolist() == [[0.5, 0.5], [1, 0], [0, 0]]  # v is counted from the top in glTF
    assert scene.looks.images[0].mime_type == "image/png"
    assert scene.mesh.face_colors.tolist() == [[0, 0, 1]] * 2


def test_ply_vertex_colours(tmp_path: Path) -> None:
    ball = trimesh.creation.icosphere(subdivisions=1)
    ball.visual.vertex_colors = np.tile([255, 102, 0, 255], (len(ball.vertices), 1)).astype(np.uint8)
    ball.export(tmp_path / "ball.ply")
    colors = read_mesh_file(tmp_path / "ball.ply").mesh.face_colors
    np.testing.assert_allclose(colors, np.tile([1, 0.4, 0], (80, 1)), atol=1e-5)


# --- OBJ -------------------------------------------------------------------------------------------


def test_obj_polygons_keep_their_order(tmp_path: Path) -> None:
    faces = "".join("f " + " ".join(str(i + 1) for i in f) + "\n" for f in MIXED)
    (tmp_path / "mixed.obj").write_text(vertex_lines("v ") + faces)
    triangles = read_mesh_file(tmp_path / "mixed.obj").mesh.triangles
    assert [from_smallest(t) for t in triangles.tolist()] == [from_smallest(t) for t in FANS]
    quads = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nv 2 0 0\nv 2 1 0\nf 1 2 3 4\nf 2 5 6 3\n"
    (tmp_path / "quads.obj").write_text(quads)
    triangles = read_mesh_file(tmp_path / "quads.obj").mesh.triangles
    assert triangles.tolist() == [[0, 1, 2], [0, 2, 3], [1, 4, 5], [1, 5, 2]]


def test_obj_relative_indices_count_from_their_line(tmp_path: Path) -> None:
    square = "v {0} 0 0\nv {1} 0 0\nv {1} 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nf -3/-3 -2/-2 -1/-1\n"
    (tmp_path / "relative.obj").write_text(square.format(0, 1) + square.format(5, 6))
    corners = read_mesh_file(tmp_path / "relative.obj").mesh.corners()
    assert corners[:, :, 0].tolist() == [[0, 1, 1], [5, 6, 6]]


def obj_with_materials(folder: Path) -> Path:
    """Four triangles along x, materials red, textured green, red, transparent."""
    (folder / "grün tex.jpg").write_bytes(picture((0, 255, 0), "JPEG"))
    (folder / "looks.mtl").write_text(
        "newmtl red\nKd 1 0 0\nnewmtl green\nKd 0 0 0\nmap_Kd grün tex.jpg\nnewmtl glass\nKd 0 0 1\nd 0.5\n",
        encoding="utf-8",
    )
    lines = ["mtllib looks.mtl", "vt 0 0", "vt 1 0", "vt 0 1", "vn 0 0 1"]
    for x in range(4):
        lines += [f"v {x} 0 0", f"v {x + 1} 0 0", f"v {x} 1 0"]
    for x, material in enumerate(("red", "green", "red", "glass")):
        corners = " ".join(f"{3 * x + i}/{i}/1" for i in (1, 2, 3))
        lines += [f"o thing{x}", f"usemtl {material}", f"f {corners}"]
    path = folder / "looks.obj"
    path.write_text("\n".join(lines))
    return path


def test_obj_materials_stay_in_face_order(tmp_path: Path) -> None:
    scene = read_mesh_file(obj_with_materials(tmp_path))
    assert scene.mesh.corners()[:, 0, 0].tolist() == [0, 1, 2, 3]
    names = [scene.looks.materials[surface.material]["name"] for surface in scene.surfaces]
    assert names == ["red", "green", "red", "glass"]
    colors = scene.mesh.face_colors
    np.testing.assert_allclose(colors, [[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1]], atol=0.02)
    assert scene.notes == ()


def test_obj_looks_arrive_in_the_glb(tmp_path: Path) -> None:
    scene = read_mesh_file(obj_with_materials(tmp_path))
    write_parts(tmp_path / "parts.glb", scene, np.array([0, 0, 0, 1]))
    again = read_mesh_file(tmp_path / "parts.glb")
    assert [surface.name for surface in again.surfaces] == ["thing0", "thing0", "thing3"]
    assert again.looks.images[0].data == (tmp_path / "grün tex.jpg").read_bytes()
    assert again.looks.materials[again.surfaces[2].material]["alphaMode"] == "BLEND"
    uv = again.surfaces[1].attributes["TEXCOORD_0"]
    assert sorted(uv.tolist()) == [[0, 0], [0, 1], [1, 1]]


def test_obj_notes_what_is_missing(tmp_path: Path) -> None:
    path = obj_with_materials(tmp_path)
    (tmp_path / "grün tex.jpg").unlink()
    assert read_mesh_file(path).notes == ("the texture 'grün tex.jpg' is missing",)
    (tmp_path / "looks.mtl").unlink()
    scene = read_mesh_file(path)
    assert scene.notes == ("the material file 'looks.mtl' is missing",)
    assert [material["name"] for material in scene.looks.materials] == ["red", "green", "glass"]
    np.testing.assert_allclose(scene.mesh.face_colors, np.full((4, 3), NEUTRAL_GREY), atol=1e-6)


# --- bad files -------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", OWN_READERS)
@pytest.mark.parametrize("content", [b"", b"\0" * 200, b"hello, this is no mesh\n", bytes(range(256)) * 4])
def test_files_that_are_no_meshes(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"bad{suffix}"
    path.write_bytes(content)
    with pytest.raises((MeshFileError, MeshError), match="bad"):
        read_mesh_file(path)


@pytest.mark.parametrize("suffix", OWN_READERS)
@given(data=st.data())
def test_cut_files_never_crash(
    suffix: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    exported = trimesh.creation.box().export(file_type="glb" if suffix == ".gltf" else suffix[1:])
    whole = exported.encode() if isinstance(exported, str) else exported
    path = folder / f"cut{suffix}"
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    try:
        scene = read_mesh_file(path)
    except PartSAMError:
        return
    assert 1 <= scene.mesh.face_count <= 12  # text formats may lose just their end


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("points.ply", f"{PLY_POINT}end_header\n0 0 0\n", "no faces"),
        ("points.obj", "v 0 0 0\nv 1 0 0\nv 0 1 0\n", "no faces"),
        ("points.off", "OFF\n3 0 0\n0 0 0\n1 0 0\n0 1 0\n", "no faces"),
        ("nan.obj", "v 0 0 nan\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "not finite"),
        ("inf.off", "OFF\n3 1 0\n0 0 inf\n1 0 0\n0 1 0\n3 0 1 2\n", "not finite"),
        ("flat.obj", "v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\nf 3 2 1\n", "no surface area"),
        ("point.off", "OFF\n3 1 0\n1 1 1\n1 1 1\n1 1 1\n3 0 1 2\n", "no surface area"),
    ],
)  # fmt: skip
def test_meshes_that_cannot_be_segmented(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(MeshError, match=message):
        read_mesh_file(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("far.obj", "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n"),
        ("far.off", "OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 9\n"),
        ("less.off", "OFF\n3 2 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n"),
        ("far.ply", PLY_FACE + "end_header\n0 0 0\n3 0 0 1"),
        ("huge.ply", "ply\nformat binary_little_endian 1.0\nelement vertex 99999999999999\nproperty float x\n"
                     "property float y\nproperty float z\nend_header\n"),
        ("words.obj", "v a b c\nf 1 1 1\n"),
    ],
)  # fmt: skip
def test_damaged_text_files(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(MeshFileError, match=name):
        read_mesh_file(tmp_path / name)


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(MeshFileError, match="does not exist"):
        read_mesh_file(tmp_path / "absent.glb")
    with pytest.raises(MeshFileError, match="is a folder"):
        read_mesh_file(tmp_path)
    (tmp_path / "scene.blend").touch()
    with pytest.raises(MeshFileError, match=r"'\.blend'; supported are \.glb"):
        read_mesh_file(tmp_path / "scene.blend")
    (tmp_path / "nothing.glb").touch()
    with pytest.raises(MeshFileError, match=r"nothing\.glb is empty \(0 bytes\)"):
        read_mesh_file(tmp_path / "nothing.glb")


# --- writing ---------------------------------------------------------------------------------------


def test_failed_block_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "kept.glb"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError), atomic_writer(path) as file:
        file.write(b"new and longer")
        raise RuntimeError
    assert path.read_bytes() == b"old"
    assert [item.name for item in tmp_path.iterdir()] == ["kept.glb"]
    with atomic_writer(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"


def test_no_room_on_disk_leaves_the_old_file_alone(tmp_path: Path, repository: Path) -> None:
    """A limit on the size of files makes a write fail half-way, as a full disk does."""
    pytest.importorskip("resource", reason="Windows has no such limit")
    path = tmp_path / "kept.glb"
    path.write_bytes(b"old")
    script = (
        "import resource, sys, numpy as np\n"
        "from pathlib import Path\n"
        "from backend.errors import MeshFileError\n"
        "from backend.mesh_files import read_mesh_file, write_parts\n"
        "scene = read_mesh_file(sys.argv[1])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "try:\n"
        "    write_parts(Path(sys.argv[2]), scene, np.zeros(scene.mesh.face_count, int))\n"
        "except MeshFileError as error:\n"
        "    print(error)\n"
    )
    source = repository / "tests" / "data" / "knight.glb"
    command = [sys.executable, "-c", script, str(source), str(path)]
    result = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True)
    assert "cannot write" in result.stdout
    assert "nothing was changed" in result.stdout
    assert path.read_bytes() == b"old"
    assert [item.name for item in tmp_path.iterdir()] == ["kept.glb"]


def test_unwritable_place_is_named(tmp_path: Path) -> None:
    with pytest.raises(MeshFileError, match="cannot write"), atomic_writer(tmp_path / "no" / "folder.glb"):
        pass


# --- polygon arithmetic ----------------------------------------------------------------------------


@given(st.lists(st.integers(0, 9), max_size=30))
def test_fans_match_a_plain_loop(sizes: list[int]) -> None:
    expected, start = [], 0
    for size in sizes:
        expected += [[start, start + k, start + k + 1] for k in range(1, size - 1)]
        start += size
    assert fan_corners(np.array(sizes, dtype=np.int64)).tolist() == expected


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from([0.0, 0.25, 1.0])), min_size=1, max_size=40))
def test_split_vertices_lose_and_mix_nothing(pairs: list[tuple[int, float]]) -> None:
    corners = np.array([corner for corner, _ in pairs])
    data = np.array([[value, 1 - value] for _, value in pairs])
    new, old, kept = split_vertices(corners, data)
    assert (old[new] == corners).all()
    assert (kept[new] == data).all()
    assert len(old) == len(set(pairs))


def test_areas_survive_the_fan(tmp_path: Path) -> None:
    """A convex polygon's fan covers it exactly."""
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    lines = (
        "".join(f"v {np.cos(a)} {np.sin(a)} 0\n" for a in angles) + "f " + " ".join(map(str, range(1, 13)))
    )
    (tmp_path / "disc.obj").write_text(lines + "\n")
    area = face_areas(read_mesh_file(tmp_path / "disc.obj").mesh).sum()
    assert area == pytest.approx(12 * np.sin(np.pi / 12) * np.cos(np.pi / 12))


def test_a_mesh_is_made_once(tmp_path: Path) -> None:
    """Colours come from textures: making the mesh is most of the reading."""
    trimesh.creation.box().export(tmp_path / "box.ply")
    scene = read_mesh_file(tmp_path / "box.ply")
    assert "mesh" in vars(scene)
