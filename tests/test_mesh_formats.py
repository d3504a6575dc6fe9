# SPDX-License-Identifier: GPL-3.0-or-later
"""Real files of every format, written by other programs: the same shape, materials and names from each."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from gltf_builder import glb_tree

from backend.errors import MeshFileError, PartSAMError
from backend.geometry import face_areas, face_normals
from backend.mesh_files import SourceScene, read_mesh_file, write_parts
from backend.mesh_files.optional import PACKAGES

FORMATS = Path(__file__).parent / "data" / "mesh_formats"
HEAD_AREA = 6.588997
RED, BLUE = [0.906, 0.349, 0.247], [0.247, 0.349, 0.906]  # of linear .8 .1 .05 and .05 .1 .8

LOOKS = ("two.dae", "two.fbx", "two.glb", "two.obj", "two.usdc", "two.usdz", "two_draco.glb",
         "two_draco_blender.glb", "two_quantized.glb")  # fmt: skip


def areas_by_name(scene: SourceScene) -> dict[str, float]:
    areas = np.split(face_areas(scene.mesh), scene.face_offsets[1:-1])
    names = [surface.name for surface in scene.surfaces]
    return {
        name: sum(a.sum() for n, a in zip(names, areas, strict=True) if n == name)
        for name in dict.fromkeys(names)
    }


@pytest.mark.parametrize("name", [*LOOKS, "two.ply", "two.stl"])
def test_the_same_shape_from_every_format(name: str) -> None:
    mesh = read_mesh_file(FORMATS / name).mesh
    assert mesh.face_count == 32
    assert face_areas(mesh).sum() == pytest.approx(24 + HEAD_AREA, rel=1e-4)
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    up = 2 if name in ("two.ply", "two.stl") else 1
    assert low[up] == pytest.approx(0, abs=1e-3)
    assert high[up] == pytest.approx(3.4777, abs=1e-3)
    assert (np.delete(low, up), np.delete(high, up)) == (
        pytest.approx(-1, abs=1e-3),
        pytest.approx(1, abs=1e-3),
    )
    # Every face looks away from the middle of its own half: nothing was turned inside out.
    centers = mesh.corners().mean(axis=1)
    middle = np.where(np.arange(3) == up, np.where(centers[:, up] > 2.0001, 3, 1)[:, None], 0)
    assert (((centers - middle) * face_normals(mesh)).sum(axis=1) > 0).all()


@pytest.mark.parametrize("name", LOOKS)
def test_materials_and_names_from_every_format(name: str, tmp_path: Path) -> None:
    scene = read_mesh_file(FORMATS / name)
    areas = areas_by_name(scene)
    assert areas.pop("Head") == pytest.approx(HEAD_AREA, rel=1e-4)
    assert list(areas) == ["BodyMesh" if name == "two_quantized.glb" else "Body"]
    assert sum(areas.values()) == pytest.approx(24, rel=1e-4)
    colors = scene.mesh.face_colors
    assert colors is not None
    blue = np.abs(colors - BLUE).max(axis=1) < 0.01
    assert (blue | (np.abs(colors - RED).max(axis=1) < 0.01)).all()
    assert face_areas(scene.mesh)[blue].sum() == pytest.approx(4 + HEAD_AREA, rel=1e-4)
    assert {material["name"] for material in scene.looks.materials} == {"Red", "Blue"}
    write_parts(tmp_path / "out.glb", scene, np.arange(32) // 16)
    assert {material["name"] for material in glb_tree(tmp_path / "out.glb")["materials"]} == {"Red", "Blue"}


def test_instances_are_placed_one_by_one() -> None:
    scene = read_mesh_file(FORMATS / "two_instanced.glb")
    mesh = scene.mesh
    assert mesh.face_count == 20 + 6 * 12
    boxes = [s.positions for s in scene.surfaces if s.name == "BodyMesh"]
    corners = np.array([np.concatenate(boxes[i : i + 2]).max(axis=0) for i in range(0, len(boxes), 2)])
    expected = [[3 * i + 1, 1 + i / 10, 6] for i in range(5)]
    np.testing.assert_allclose(corners[1:], expected, atol=1e-5)
    assert any("instances" in note for note in scene.notes)


_READ_MESHOPT = """
import pathlib, sys
import numpy as np
from backend.mesh_files import read_mesh_file
folder = pathlib.Path(sys.argv[1])
scenes = [read_mesh_file(folder / name) for name in ("two_meshopt.glb", "two_quantized.glb")]
for packed, plain in zip(*(scene.surfaces for scene in scenes), strict=True):
    assert packed.name == plain.name and len(packed.triangles) == len(plain.triangles)
    corners = [surface.positions[surface.triangles].reshape(-1, 3) for surface in (packed, plain)]
    boxes = [np.concatenate([c.min(axis=0), c.max(axis=0)]) for c in corners]
    np.testing.assert_allclose(*boxes, atol=1e-3)
    assert (scenes[0].looks is not None) == (scenes[1].looks is not None)
assert scenes[0].mesh.face_count == 32
"""


def test_meshopt_is_decoded(repository: Path) -> None:
    """Its library needs Python 3.12, which uv finds also where pyenv hides it."""
    libraries = [f"--with={line}" for line in ("meshopt==0.1.1", "numpy", "scipy", "pillow")]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    folders = [*map(str, pyenv.glob("versions/3.1[2-9]*/bin")), os.environ["PATH"]]
    found = subprocess.run(
        [sys.executable, "-m", "uv", "run", "-q", "--no-project", "--no-python-downloads", "--python=>=3.12",
         *libraries, "python", "-c", _READ_MESHOPT, str(FORMATS)],
        cwd=repository, capture_output=True, text=True, timeout=300,
        env=os.environ | {"PATH": os.pathsep.join(folders)},
    )  # fmt: skip
    if "No interpreter found" in found.stderr:
        pytest.skip("no Python 3.12 here")
    assert found.returncode == 0, found.stderr


def test_damaged_meshopt_data_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = (FORMATS / "two_meshopt.glb").read_bytes().replace(b'"count":96', b'"count":-6')
    (tmp_path / "bad.glb").write_bytes(data)
    monkeypatch.setitem(sys.modules, "meshopt", types.ModuleType("meshopt"))
    with pytest.raises(MeshFileError, match="reaches past"):
        read_mesh_file(tmp_path / "bad.glb")


def test_step_solids_become_meshes() -> None:
    scene = read_mesh_file(FORMATS / "two.step")
    box, cylinder = (np.ptp(surface.positions, axis=0) for surface in scene.surfaces)
    np.testing.assert_allclose(box, [0.010, 0.020, 0.030], rtol=1e-5)  # glTF's metres
    np.testing.assert_allclose(cylinder, [0.008, 0.008, 0.012], rtol=1e-2)


def test_3mf_items_names_and_materials() -> None:
    scene = read_mesh_file(FORMATS / "two.3mf")
    assert [(surface.name, surface.material) for surface in scene.surfaces] == [("Base", 0), ("Tip", None)]
    assert scene.surfaces[1].positions[:, 2].min() == 7
    np.testing.assert_allclose(scene.mesh.face_colors[0], np.array([204, 25, 13]) / 255, atol=0.01)


@pytest.mark.parametrize(
    ("name", "module"),
    [("two.fbx", "assimp_py"), ("two.3mf", "lib3mf"), ("two.usdc", "pxr"), ("two.step", "cascadio"),
     ("two_draco.glb", "DracoPy"), ("two_meshopt.glb", "meshopt")],
)  # fmt: skip
def test_a_missing_library_is_named_with_its_pip_line(
    name: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # what an absent module raises
    with pytest.raises(MeshFileError, match=f'python -m pip install "{PACKAGES[module]}"'):
        read_mesh_file(FORMATS / name)


@pytest.mark.parametrize("suffix", [".fbx", ".dae", ".3mf", ".usda", ".usdc", ".usdz", ".step", ".xyz"])
@pytest.mark.parametrize("content", [b"", b"\0" * 200, b"hello, this is no mesh\n"])
def test_files_that_are_not_what_they_say(suffix: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"bad{suffix}"
    path.write_bytes(content)
    with pytest.raises(PartSAMError, match="bad") as caught:
        read_mesh_file(path)
    assert "\n" not in str(caught.value)


def test_tests_install_what_messages_name(repository: Path) -> None:
    lines = (repository / "tests" / "requirements.txt").read_text().splitlines()
    assert set(PACKAGES.values()) <= {line.partition(";")[0] for line in lines}
