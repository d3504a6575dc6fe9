# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m backend`: exit codes, one-line errors, and whole runs in processes of their own."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import trimesh
from gltf_builder import glb_tree

from backend.__main__ import COMMANDS, main
from backend.mesh_files import read_mesh_file

DATA = Path(__file__).parent / "data"
KNIGHT = DATA / "knight.glb"
QUICK = ("--model", "small-untrained", "--prompts", "16", "--device", "cpu")


def backend(*arguments: object, repository: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "backend", *map(str, arguments)]
    return subprocess.run(command, cwd=repository, capture_output=True, text=True)


def exit_code(arguments: Sequence[object]) -> int:
    """Of `main`, in this process; argparse leaves by SystemExit."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as leaving:
        return int(leaving.code or 0)


# --- whole runs ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A folder with the outputs of one run over a real, textured mesh."""
    folder = tmp_path_factory.mktemp("run")
    outputs = ("-o", folder / "parts.glb", "--labels", folder / "labels.npy")
    return folder, backend("segment", KNIGHT, *outputs, *QUICK, repository=DATA.parent.parent)


def test_run_reports_parts_faces_and_seconds(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, result = finished
    assert result.returncode == 0, result.stderr
    assert re.search(r"^knight\.glb: \d+ parts, 4,712 faces$", result.stdout, re.MULTILINE)
    for stage in ("read", "load model", "encode", "segment", "labels", "refine", "write", "total"):
        assert re.search(rf"^{stage} +\d+\.\d\d$", result.stdout, re.MULTILINE), stage
    assert f"wrote {folder / 'parts.glb'}" in result.stdout
    shares = [float(share) for share in re.findall(r"(\d+\.\d)%", result.stdout)]
    assert sum(shares) == pytest.approx(100, abs=0.05 * len(shares))


def test_run_says_that_weights_are_untrained(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    _, result = finished
    assert result.stderr.startswith("warning: the weights of small-untrained are untrained")
    assert result.stderr.count("\n") == 1  # and no progress bar where there is no terminal
    assert "untrained weights" in result.stdout


def test_run_writes_what_it_reports(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, result = finished
    labels = np.load(folder / "labels.npy")
    counts = np.bincount(labels)
    assert labels.dtype == np.int32
    assert labels.shape == (4712,)
    assert (counts > 0).all()
    assert f"{len(counts)} parts" in result.stdout
    tree = glb_tree(folder / "parts.glb")
    names = [node["name"] for node in tree["nodes"]]
    assert len(set(names)) == len(counts)
    assert all(name.startswith("Knight_") for name in names)
    assert tree["materials"] == glb_tree(KNIGHT)["materials"]
    scene = read_mesh_file(folder / "parts.glb")
    assert [len(surface.triangles) for surface in scene.surfaces] == counts.tolist()
    assert sorted(path.name for path in folder.iterdir()) == ["labels.npy", "parts.glb"]


def test_split_parts_are_connected(tmp_path: Path, repository: Path) -> None:
    """A row of ten boxes, none of them large enough to be a part by itself at granularity 0."""
    row = tmp_path / "row.ply"
    boxes = [
        trimesh.creation.box(transform=trimesh.transformations.translation_matrix((3 * i, 0, 0)))
        for i in range(10)
    ]
    trimesh.util.concatenate(boxes).export(row)
    labels = {}
    for name, arguments in (("whole", ()), ("split", ("--split",))):
        path = tmp_path / f"{name}.npy"
        options = ("--granularity", "0", "--labels", path)
        result = backend("segment", row, *options, *QUICK, *arguments, repository=repository)
        assert result.returncode == 0, result.stderr
        labels[name] = np.load(path)
    assert not labels["whole"].any()
    np.testing.assert_array_equal(labels["split"], np.repeat(np.arange(10), 12))


def test_a_number_of_parts_and_their_tree(tmp_path: Path, repository: Path) -> None:
    row = tmp_path / "row.ply"
    boxes = [
        trimesh.creation.box(transform=trimesh.transformations.translation_matrix((3 * i, 0, 0)))
        for i in range(10)
    ]
    trimesh.util.concatenate(boxes).export(row)
    outputs = ("-o", tmp_path / "row.glb", "--labels", tmp_path / "row.npy")
    result = backend("segment", row, *outputs, *QUICK, "--parts", "10", "--tree", repository=repository)
    assert result.returncode == 0, result.stderr
    np.testing.assert_array_equal(np.unique(np.load(tmp_path / "row.npy")), np.arange(10))
    nodes = json.loads((tmp_path / "row.json").read_text())["nodes"]
    assert (nodes[0]["parent"], nodes[0]["part"]) == (None, None)
    assert sorted(node["part"] for node in nodes if node["part"] is not None) == list(range(10))
    tree = glb_tree(tmp_path / "row.glb")
    assert tree["scenes"][0]["nodes"] == [10]
    below = [child for node in tree["nodes"][10:] for child in node["children"]]
    assert sorted(below) == [number for number in range(len(tree["nodes"])) if number != 10]
    assert len(read_mesh_file(tmp_path / "row.glb").surfaces) == 10
    refused = backend("segment", row, *outputs, "--tree", "--split", repository=repository)
    assert refused.returncode == 2
    assert "give one of them" in refused.stderr


def test_same_seed_same_labels_and_no_output_but_the_asked(
    finished: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path, repository: Path
) -> None:
    result = backend("segment", KNIGHT, "--labels", tmp_path / "again.npy", *QUICK, repository=repository)
    assert result.returncode == 0, result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["again.npy"]
    np.testing.assert_array_equal(np.load(tmp_path / "again.npy"), np.load(finished[0] / "labels.npy"))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT to send")
def test_interrupt_leaves_nothing_behind(tmp_path: Path, repository: Path) -> None:
    arguments = [
        "segment",
        KNIGHT,
        "-o",
        tmp_path / "out.glb",
        "--model",
        "small-untrained",
        "--device",
        "cpu",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "backend", *map(str, arguments)],
        cwd=repository,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background job ignores SIGINT, and so would what it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stderr is not None
    assert "untrained" in process.stderr.readline()  # the network is loaded, the work begins
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert errors == "interrupted\n"
    assert list(tmp_path.iterdir()) == []


def test_progress_bar_on_a_terminal(tmp_path: Path, repository: Path) -> None:
    pty = pytest.importorskip("pty", reason="terminals are opened by pty, which Windows has not")
    import termios

    ours, theirs = pty.openpty()
    termios.tcsetwinsize(ours, (24, 100))  # a new terminal has no columns to draw in
    arguments = ["segment", DATA / "knight_fused.glb", "--labels", tmp_path / "l.npy", *QUICK]
    process = subprocess.Popen(
        [sys.executable, "-m", "backend", *map(str, arguments)],
        cwd=repository,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    try:
        while block := os.read(ours, 4096):
            shown += block
    except OSError:
        pass  # the other side is closed: Linux reports it as an error
    os.close(ours)
    assert process.wait() == 0
    assert b"encode" in shown
    assert re.search(rb"prompts +\d+% \|", shown)


# --- errors ----------------------------------------------------------------------------------------


def test_mesh_errors_come_before_torch_is_imported(tmp_path: Path, repository: Path) -> None:
    (tmp_path / "cut.glb").write_bytes(KNIGHT.read_bytes()[:5000])
    script = (
        "import sys\nfrom backend.__main__ import main\ncode = main(sys.argv[1:])\n"
        "sys.exit('torch was imported' if 'torch' in sys.modules else code)\n"
    )
    command = [sys.executable, "-c", script, "segment", tmp_path / "cut.glb", "-o", tmp_path / "out.glb"]
    result = subprocess.run(command, cwd=repository, capture_output=True, text=True)
    assert result.returncode == 1
    assert re.fullmatch(r"error: cut\.glb is truncated: .*\n", result.stderr)
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("v 0 0 0\n", "no faces"),
        ("v nan 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "not finite"),
        ("v 0 0 0\nv 0 0 0\nv 0 0 0\nf 1 2 3\n", "no surface area"),
        ("\x00\x01\x02", "no faces"),
        ("v 0 0 0\nf 1 2 3\n", "not an OBJ file, damaged"),
    ],
)
def test_bad_meshes_end_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, message: str
) -> None:
    (tmp_path / "bad.obj").write_text(content)
    assert exit_code(["segment", tmp_path / "bad.obj", "-o", tmp_path / "out.glb"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.fullmatch(rf"error: .*{message}.*\n", captured.err)
    assert not (tmp_path / "out.glb").exists()


def test_places_that_cannot_be_written_are_named_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "own.glb"
    own.write_bytes(KNIGHT.read_bytes())
    (tmp_path / "folder.glb").mkdir()
    (tmp_path / "alias.glb").symlink_to(own)
    for output, message in (
        (tmp_path / "alias.glb", "is an input"),
        (tmp_path / "no" / "out.glb", "does not exist"),
        (tmp_path / "folder.glb", "it is a folder"),
        (own, "is an input"),
    ):
        for command in (["segment", own], ["transfer", KNIGHT, tmp_path / "absent.npy", own]):
            assert exit_code([*command, "-o", output]) == 1
            assert message in capsys.readouterr().err
    place = tmp_path / "no" / "map.npz"
    assert exit_code(["correspond", KNIGHT, own, "-o", place]) == 1
    assert "does not exist" in capsys.readouterr().err
    assert own.read_bytes() == KNIGHT.read_bytes()


@pytest.mark.parametrize("command", ["segment", "segment-many"])
def test_a_number_of_parts_and_a_granularity_exclude_each_other(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = ["--granularity", "0.3", "--parts", "4"]
    assert exit_code([command, KNIGHT, "-o", tmp_path / "out.glb", *cut]) == 2
    assert "not allowed with" in capsys.readouterr().err


def test_unknown_model_and_device_end_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["segment", KNIGHT, "-o", tmp_path / "out.glb"]
    for extra, message in (
        (["--model", tmp_path / "absent.safetensors"], "no model"),
        (["--model", KNIGHT], "knight.glb"),
        (["--device", "abacus"], "unknown device 'abacus'"),
    ):
        assert exit_code([*arguments, *extra]) == 1
        assert re.fullmatch(rf"error: .*{message}.*\n", capsys.readouterr().err)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["segment"],
        ["segment", "in.glb"],
        ["segment", "in.glb", "-o", "out.fbx"],
        ["segment", "in.glb", "--labels", "out.txt"],
        ["segment", "in.glb", "-o", "out.glb", "--granularity", "1.5"],
        ["segment", "in.glb", "-o", "out.glb", "--granularity", "much"],
        ["segment", "in.glb", "-o", "out.glb", "--prompts", "0"],
    ],
)
def test_wrong_usage_is_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(arguments) == 2
    assert "usage: python -m backend" in capsys.readouterr().err


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(re.search(rf"^ +{name}( |$)", shown, re.MULTILINE) for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code([name, "--help"]) == 0
    assert f"usage: python -m backend {name}" in capsys.readouterr().out


def test_commands_work_without_what_the_zip_leaves_out(tmp_path: Path, repository: Path) -> None:
    """The extension carries neither benchmarks, training nor evaluation, nor their commands."""
    manifest = tomllib.loads((repository / "blender_manifest.toml").read_text(encoding="utf-8"))
    left_out = {pattern.strip("/") for pattern in manifest["build"]["paths_exclude_pattern"]}

    def ignored(folder: str, names: list[str]) -> set[str]:
        place = Path(folder).relative_to(repository)
        return {name for name in names if (place / name).as_posix() in left_out} | {"__pycache__"}

    shutil.copytree(repository / "backend", tmp_path / "backend", ignore=ignored)
    assert not (tmp_path / "backend/training").exists()
    shown = backend("--help", repository=tmp_path)
    assert shown.returncode == 0, shown.stderr
    listed = set(re.findall(r"^    ([\w-]+)", shown.stdout, re.MULTILINE))
    assert listed == {"segment", "segment-many", "correspond", "transfer", "doctor", "serve"}
    missing = backend("benchmark", repository=tmp_path)
    assert (missing.returncode, missing.stdout) == (2, "")
    assert missing.stderr == "error: benchmark is not part of the extension; run it from the source\n"
    labels = tmp_path / "labels.npy"
    done = backend("segment", KNIGHT, "--labels", labels, *QUICK, repository=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(np.load(labels)) == 4712


@pytest.mark.parametrize("name", ["segment", "benchmark"])
def test_help_does_not_wait_for_torch(name: str, repository: Path) -> None:
    script = (
        "import sys\nfrom backend.__main__ import main\n"
        f"try:\n    main([{name!r}, '--help'])\nexcept SystemExit as leaving:\n    assert leaving.code == 0\n"
        "sys.exit('torch' in sys.modules)\n"
    )
    result = subprocess.run([sys.executable, "-c", script], cwd=repository, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


# --- benchmark -------------------------------------------------------------------------------------


def test_benchmark_reports_every_stage_and_the_cut(tmp_path: Path, repository: Path) -> None:
    out = tmp_path / "numbers.json"
    tables = ("--only", "stages", "network", "sweeps", "cuts", "busy", "--busy", 1)
    quick = (*QUICK, "--repeat", 1, *tables)
    result = backend("benchmark", "--faces", 600, *quick, "--json", out, repository=repository)
    assert result.returncode == 0, result.stderr
    assert "(untrained weights)" in result.stdout
    numbers = json.loads(out.read_text())
    (stages,) = numbers["stages"]
    assert {"read", "load", "encode", "prompts", "labels", "refine", "write"} <= stages["seconds"].keys()
    assert all(seconds >= 0 for seconds in stages["seconds"].values())
    assert stages["command"] > 0
    if sys.platform == "linux":
        assert stages["peak_mib"] > 50  # torch alone is larger
    (network,) = numbers["network"]
    assert network["same_labels"] > 0.995
    assert min(network["mask_iou"], network["click_iou"]) > 0.99
    assert min(*network["fast"].values(), *network["plain"].values()) > 0
    (sweep,) = numbers["sweeps"]
    assert len(sweep["encode"]) == 3 and len(sweep["every_part"]) > 2
    (cut,) = numbers["cuts"]
    assert cut["faces"] == stages["faces"] == pytest.approx(600, rel=0.1)
    assert cut["reference_ratio"] > 0
    assert cut["sweep_energy"] == pytest.approx(cut["reference_energy"], rel=1e-3)
    (busy,) = numbers["busy"]
    assert busy["fair_ratio"] == max(1, (1 + busy["threads"]) / busy["cores"])
    assert min(*busy["idle"].values(), *busy["busy"].values()) > 0
