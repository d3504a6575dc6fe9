# SPDX-License-Identifier: GPL-3.0-or-later
"""What installing knows about systems where the tests do not run: from recorded facts."""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
import tomllib
import zipfile
from pathlib import Path, PureWindowsPath

import pytest
from plain_addon import ROOT, load

from dev_tools import wheels, zips

locations = load("environment.locations")
graphics = load("environment.graphics")

WINDOWS_LIMIT = 259  # characters of a path: 260 with the null at its end
LONGEST_USER = 20  # what Windows allows for the name of an account
BLENDERS_FOLDER = "AppData\\Roaming\\Blender Foundation\\Blender\\5.10\\extensions\\.local\\lib\\python3.11"


def home(name: str) -> PureWindowsPath:
    return PureWindowsPath("C:\\Users", name)


@pytest.mark.parametrize(
    ("system", "machine", "variables", "home_folder", "expected"),
    [
        (
            *("win32", "AMD64", {"LOCALAPPDATA": "C:\\Users\\Łucja\\AppData\\Local"}, "C:\\Users\\Łucja"),
            "C:\\Users\\Łucja\\AppData\\Local\\PartSAM\\win-x64",
        ),
        ("win32", "ARM64", {}, "C:\\Users\\Jo", "C:\\Users\\Jo\\AppData\\Local\\PartSAM\\win-arm64"),
        ("win32", "AMD64", {"PARTSAM_FOLDER": "D:\\p"}, "C:\\Users\\Jo", "D:\\p\\win-x64"),
        ("darwin", "arm64", {}, "/Users/jo", "/Users/jo/Library/Application Support/PartSAM/mac-arm64"),
        ("linux", "x86_64", {}, "/home/jo", "/home/jo/.local/share/partsam/linux-x64"),
        ("linux", "aarch64", {"XDG_DATA_HOME": "/data"}, "/home/jo", "/data/partsam/linux-arm64"),
    ],
)
def test_environments_lie_in_one_place_per_machine(
    system: str, machine: str, variables: dict[str, str], home_folder: str, expected: str
) -> None:
    found = locations.machine_folder(system=system, machine=machine, variables=variables, home=home_folder)
    assert str(found) == expected


def test_no_path_of_a_locked_wheel_is_too_long_for_windows() -> None:
    """Neither where Blender unpacks it, nor in the environment of Set Up."""
    user = home("x" * LONGEST_USER)
    unpacked = len(str(user / BLENDERS_FOLDER / "site-packages")) + 1
    folder = locations.machine_folder(system="win32", machine="AMD64", variables={}, home=str(user))
    installed = len(str(folder / "env-12345678" / "Lib" / "site-packages")) + 1
    for wheel in wheels.locked():
        if wheel.platform in ("windows-x64", wheels.ANY):
            assert 0 < wheel.longest_path <= WINDOWS_LIMIT - max(unpacked, installed), wheel.file
            assert len(str(user / BLENDERS_FOLDER)) + len(wheel.file) < WINDOWS_LIMIT


def test_every_zip_gets_each_of_its_wheels_once_and_none_of_numpy() -> None:
    pins = wheels.pins()
    for platform in pins["platforms"]:
        for kind in (*zips.FULL, zips.LIGHT):
            chosen = [w for w in wheels.locked() if w.zips in kind.zips and w.fits(platform, kind.python)]
            names = sorted(wheel.name for wheel in chosen)
            wanted = sorted(name for part in kind.zips for name in pins[part])
            assert names == wanted, (platform, kind.suffix)
            assert "numpy" not in names


def test_the_lock_is_complete_and_matches_the_wheels_that_are_here() -> None:
    for wheel in wheels.locked():
        assert re.fullmatch("[0-9a-f]{64}", wheel.sha256)
        name, version = wheel.file.split("-")[:2]
        assert (name, version) == (wheel.name, wheel.version)
        if wheel.path.is_file() and wheel.size < 10**7:  # hashing the large ones is pip's task
            assert hashlib.sha256(wheel.path.read_bytes()).hexdigest() == wheel.sha256
            assert wheels.longest_path(wheel.path) == wheel.longest_path
            assert wheel.path.stat().st_size == wheel.size


def test_the_requirements_are_locked_and_are_what_the_tests_run_with() -> None:
    pinned = [
        line.split(";")[0].strip()
        for line in wheels.REQUIREMENTS.read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#") and '!= "linux"' not in line
    ]
    lock = wheels.REQUIREMENTS_LOCK.read_text(encoding="utf-8").lower()
    for requirement in pinned:
        name, version = requirement.split("==")
        assert f"\n{name.lower()}=={version}" in lock
        assert importlib.metadata.version(name).split("+")[0] == version
    hashed = set(re.findall(r"^([\w-]+)==\S+.*\\$", lock, re.MULTILINE))
    assert hashed >= {"numpy", "scipy", "pymaxflow", "safetensors"} and "torch" not in hashed


# Answers of `nvidia-smi` as its drivers give them.
TURING = "NVIDIA GeForce RTX 2070, 581.15, 7.5, 8192"
BLACKWELL = "NVIDIA GeForce RTX 5090, 572.16, 12.0, 32607"
PASCAL = "NVIDIA GeForce GTX 1080 Ti, 566.36, 6.1, 11264"
KEPLER = "Tesla K80, 470.256.02, 3.7, 11441"


@pytest.mark.parametrize(
    ("answer", "build", "said"),
    [
        (TURING, "cu130", "RTX 2070 with driver 581.15 can use CUDA 13.0"),
        (TURING.replace("581.15", "551.86"), "cu126", "CUDA 12.6"),
        (TURING.replace("581.15", "471.11"), "", "update it to 528.33 or newer"),
        (BLACKWELL, "", "update it to 580.0 or newer"),
        (BLACKWELL.replace("572.16", "590.01"), "cu130", "CUDA 13.0"),
        (PASCAL, "cu126", "GTX 1080 Ti"),
        (PASCAL.replace("566.36", "591.01"), "cu126", "CUDA 12.6"),
        (KEPLER, "", "compute capability 3.7) is not supported"),
        (f"{PASCAL}\n{TURING}\n", "cu130", "RTX 2070"),  # the strongest card counts
        ("NVIDIA T400, [N/A], [N/A], [N/A]", "", "driver does not answer"),
        ("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.", "", "not answer"),
        ("", "", "No usable NVIDIA card"),
    ],
)
def test_the_build_of_torch_suits_card_and_driver(answer: str, build: str, said: str) -> None:
    plan = graphics.choose_torch("win32", graphics.parse_cards(answer))
    assert plan.build == build
    assert said in plan.reason
    assert "to download" in plan.lines()[1] and plan.disk > plan.download


def test_systems_without_nvidia_get_their_own_build() -> None:
    assert graphics.choose_torch("linux", []).build == "cpu"  # the usual index has one with CUDA only
    assert graphics.choose_torch("linux", [], has_rocm=True).build == "auto"  # uv knows ROCm's versions
    assert graphics.choose_torch("win32", []).build == ""
    assert graphics.choose_torch("darwin", []).build == ""


def test_the_manifest_of_each_zip_is_valid_and_says_why() -> None:
    for kind in (*zips.FULL, zips.LIGHT):
        chosen = [w for w in wheels.locked() if w.zips in kind.zips and w.fits("linux-x64", kind.python)]
        text = zips.manifest_for(kind, ["linux-x64"], chosen, website="https://example.org/partsam")
        manifest = tomllib.loads(text)
        assert manifest["platforms"] == ["linux-x64"]
        assert len(manifest["wheels"]) == len(chosen)
        assert manifest.get("blender_version_max", "") == kind.newest
        assert manifest["blender_version_min"] == (kind.oldest or "4.2.0")
        assert set(manifest["permissions"]) == {"files", "network", "clipboard"}
        assert manifest["website"] == "https://example.org/partsam" and manifest["tags"]


def test_what_the_readme_in_the_zip_links_to_is_in_the_zip(tmp_path: Path) -> None:
    manifest = tomllib.loads((ROOT / zips.MANIFEST).read_text(encoding="utf-8"))
    left_out = manifest["build"]["paths_exclude_pattern"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#\s]+)\)", readme):
        if "://" not in link:
            assert (ROOT / link).is_file()
            assert not [p for p in left_out if f"/{link}".startswith(p) or f"/{link}" == p.rstrip("/")], link


def test_longest_path_is_read_from_the_wheel(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as archive:
        archive.writestr("a/b.py", "")
        archive.writestr("a/longer/c.py", "")
    assert wheels.longest_path(tmp_path / "a.whl") == len("a/longer/c.py")
