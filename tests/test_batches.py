# SPDX-License-Identifier: GPL-3.0-or-later
"""Batches: every input has exactly one record, whatever happens to files, processes, machines or driver."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend import Segmenter
from backend.__main__ import main
from backend.batches.engines import EngineSettings
from backend.batches.inputs import Input, Shard, find_inputs
from backend.batches.local_engine import Limits, LocalEngine
from backend.batches.records import Record, unpacked_labels
from backend.batches.segment_job import SegmentJob
from backend.batches.segmenting import SegmentSettings, segment_file
from backend.batches.tables import RecordTables, done_ids, only_writer
from backend.curation import CurationSettings, curate
from backend.errors import DataError, DeviceError, MeshFileError
from backend.labelled_meshes.shards import read_shard
from backend.mesh_files import read_mesh_file
from tests.dealt_job import DealtJob

DATA = Path(__file__).parent / "data"
SETTINGS = SegmentSettings(prompts=4, refine=False)
WORKER = SegmentJob(SETTINGS, model="small-untrained", device="cpu", threads=1)


def make_inputs(folder: Path, copies: int) -> Path:
    """A folder of small meshes, some of them damaged."""
    folder.mkdir()
    for number in range(copies):
        shutil.copy(DATA / "mesh_formats" / "two.ply", folder / f"good_{number}.ply")
    (folder / "deep").mkdir()
    shutil.copy(DATA / "mesh_cases" / "ply_gaussian_splat.ply", folder / "deep" / "cloud.ply")
    shutil.copy(DATA / "mesh_cases" / "stl_binary_truncated.stl", folder / "cut.stl")
    return folder


def terminate_after(folder: Path, count: int) -> None:
    """Send this process SIGTERM, as schedulers do, when a folder holds so many whole files."""
    while not folder.is_dir() or sum(not path.name.startswith(".") for path in folder.iterdir()) < count:
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGTERM)


def records(folder: Path) -> dict[str, dict[str, Any]]:
    """The rows of all tables by path; fails where one occurs twice or the manifest differs."""
    import pyarrow.parquet

    rows = [
        row
        for path in sorted(folder.glob("*.parquet"))
        for row in pyarrow.parquet.read_table(path).to_pylist()
    ]
    assert len({row["path"] for row in rows}) == len(rows)
    lines = [
        json.loads(line) for path in folder.glob("manifest*.jsonl") for line in path.read_text().splitlines()
    ]
    assert sorted(line["id"] for line in lines) == sorted(row["id"] for row in rows)
    return {row["path"]: row for row in rows}


# --- one file --------------------------------------------------------------------------------------


def test_one_file_is_a_pure_function() -> None:
    segmenter = Segmenter.load("small-untrained", device="cpu")
    path = str(DATA / "mesh_formats" / "two.ply")
    (first, scene), (second, _) = (segment_file(path, segmenter, SETTINGS) for _ in range(2))
    assert scene is not None
    np.testing.assert_array_equal(first.labels, second.labels)
    assert sum(part.faces for part in first.parts) == 32 == len(unpacked_labels(first.row()["labels"]))
    assert sum(part.share for part in first.parts) == pytest.approx(1)
    assert {"read", "encode", "segment"} <= first.seconds.keys()
    fetched, _ = segment_file(Path(path).as_uri(), segmenter, SETTINGS)
    np.testing.assert_array_equal(fetched.labels, first.labels)
    absent, _ = segment_file(Path(path).with_name("absent.glb").as_uri(), segmenter, SETTINGS)
    assert absent.error == "unreadable"
    assert "cannot be fetched" in absent.detail
    failed, nothing = segment_file(str(DATA / "absent.ply"), segmenter, SETTINGS)
    assert (failed.error, nothing) == ("unreadable", None)


# --- lists and tables ------------------------------------------------------------------------------


def test_lists_folders_and_shards(tmp_path: Path) -> None:
    folder = make_inputs(tmp_path / "in", 12)
    found = find_inputs(folder)
    assert [item.name for item in found][:2] == ["cut.stl", "deep/cloud.ply"]
    (folder / "list.txt").write_text("# comment\ngood_1.ply\n\ngood_2.ply\ngood_1.ply\ns3://bucket/x.glb\n")
    listed = find_inputs(folder / "list.txt")
    assert [item.name for item in listed] == ["good_1.ply", "good_2.ply", "s3://bucket/x.glb"]
    assert listed[0].place == str(folder / "good_1.ply")
    assert listed[2].place == "s3://bucket/x.glb"
    shards = [[item for item in found if Shard(number, 3).takes(item)] for number in (1, 2, 3)]
    assert sorted(item.name for shard in shards for item in shard) == sorted(item.name for item in found)
    assert all(shards)
    with pytest.raises(DataError, match="4/3"):
        Shard(4, 3)
    with pytest.raises(DataError, match="neither a folder"):
        find_inputs(tmp_path / "absent")
    (folder / "list.txt").write_text("# nothing\n")
    with pytest.raises(DataError, match="one path per line"):
        find_inputs(folder / "list.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no file in .*glb.*ply"):
        find_inputs(tmp_path / "empty")


def test_names_as_people_have_them(tmp_path: Path) -> None:
    odd = tmp_path / "in" / "a \"b\" \u2028'c' é"
    odd.mkdir(parents=True)
    names = [" lead.stl", "x.0123456789.parts.glb", "#1.ply", "two.obj"]
    for name in names:
        (odd / name).touch()
    (odd / "gone.glb").symlink_to("nowhere.glb")
    assert len(find_inputs(tmp_path / "in")) == 5
    found = find_inputs(tmp_path / "in", odd)
    expected = {" lead.stl", "gone.glb", "#1.ply", "two.obj"}  # not what an earlier run wrote there
    assert {Path(item.place).name for item in found} == expected
    lines = [f"{odd.name}/two.obj", f"{odd.name}/#1.ply", "#1.ply"]
    (tmp_path / "in" / "list.txt").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    assert [item.name for item in find_inputs(tmp_path / "in" / "list.txt")] == lines[:2]
    assert [item.name for item in find_inputs(odd / "two.obj")] == ["two.obj"]  # not a list of its lines


def test_manifest_with_a_line_cut_off_counts_what_is_whole(tmp_path: Path) -> None:
    tables = RecordTables(tmp_path, kind="jsonl")
    for name in ("a", "b"):
        item = Input(name, name)
        tables.add(
            {
                "id": item.id,
                "path": name,
                "error": "timeout" * (name == "b"),
                "detail": "",
                "part_count": 0,
                "labels": b"",
            }
        )
    tables.flush()
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text(manifest.read_text() + '{"id": "c", "pa')
    assert done_ids(tmp_path) == {Input("a", "").id, Input("b", "").id}
    assert done_ids(tmp_path, retry_failed=True) == {Input("a", "").id}


def test_a_table_that_the_manifest_does_not_know_is_not_made_again(tmp_path: Path) -> None:
    rows = [Record(name).row() for name in "abcd"]
    for kind, pair in (("jsonl", rows[:2]), ("parquet", rows[2:])):
        tables = RecordTables(tmp_path, kind=kind)
        for row in pair:
            tables.add(row)
        tables.flush()
    manifest = tmp_path / "manifest.jsonl"
    whole = manifest.read_text()
    manifest.write_text(whole[: whole.index("\n") + 20])  # killed while it wrote the second line
    RecordTables(tmp_path, kind="parquet")
    assert done_ids(tmp_path) == {row["id"] for row in rows}
    lines = manifest.read_text().splitlines()
    assert [lines[0], *lines[2:]] == whole.splitlines()
    (tmp_path / "table-00001.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"table-00001\.parquet is damaged"):
        RecordTables(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot make the folder"):
        RecordTables(tmp_path / "file")


FILLED = """
import sys
from pathlib import Path
from backend.batches.records import Record
from backend.batches.tables import RecordTables, done_ids
from backend.errors import DataError

def fill():
    with (folder / "filler").open("ab", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            pass

def batch(*names):
    tables = RecordTables(folder, kind="jsonl", rows_per_table=2)
    try:
        with tables.open():
            for name in names:
                tables.add(Record(name).row()) if name else fill()
    except DataError as error:
        print(error)
    print(len(done_ids(folder)))

folder = Path(sys.argv[1])
batch("a", "b", "", "c", "d")
batch("e")
(folder / "filler").unlink()
batch("e")
print(sorted(path.name for path in folder.glob("*")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs a small disk of its own, as Linux makes one")
def test_a_disk_that_is_or_gets_full(tmp_path: Path) -> None:
    small = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    mount = f"mount -t tmpfs -o size=12m none {tmp_path}"
    if subprocess.run([*small, mount], capture_output=True).returncode:
        pytest.skip("this user may make no disk of its own")
    command = [*small, f'{mount} && exec "$@"', "sh", sys.executable, "-c", FILLED, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=DATA.parents[1])
    assert done.returncode == 0, done.stderr
    fills, four, is_full, still_four, five, files = done.stdout.splitlines()
    assert "No space left" in fills and "the same command goes on" in fills
    assert four == still_four == "4"  # what was done as the disk got full is written all the same
    assert re.search("No space left.*make room there, or name another folder", is_full) and five == "5"
    assert files == str(["labels", "manifest.jsonl", *(f"table-{number:05}.jsonl" for number in range(3))])


def test_rows_are_written_also_where_the_reserve_cannot_be_removed(tmp_path: Path) -> None:
    tables = RecordTables(tmp_path, kind="jsonl")
    with tables.open():
        tables.add(Record("a").row())
        reserve = tmp_path / ".reserve"
        reserve.unlink()
        reserve.mkdir()
    assert len(done_ids(tmp_path)) == 1


def test_a_killed_writer_leaves_the_folder_to_the_next(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from backend.batches.tables import only_writer\n"
        "with only_writer(Path(sys.argv[1])): print('writes', flush=True); time.sleep(100)"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, cwd=DATA.parents[1], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None and writer.stdout.readline() == "writes\n"
        with pytest.raises(DataError, match="another batch"), only_writer(tmp_path):
            pass
        writer.kill()
    with only_writer(tmp_path):
        pass


def test_a_folder_has_one_writer_at_a_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = make_inputs(tmp_path / "in", 1), tmp_path / "out"
    command = ["segment-many", str(folder), "-o", str(out), "--format", "jsonl"]
    assert main(["segment-many", str(tmp_path / "missing"), "-o", str(out)]) != 0
    assert not out.exists() and "neither a folder" in capsys.readouterr().err
    with only_writer(out):
        assert main(command) != 0
        assert "another batch writes into" in capsys.readouterr().err
        assert [path.name for path in out.iterdir() if not path.name.startswith(".")] == []
        with only_writer(out, "-2-of-3"):  # shards have tables of their own
            pass
    with only_writer(out):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="needs flock")
@pytest.mark.parametrize("answer", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_file_systems_without_locks_are_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: int
) -> None:
    def no_lock(*_: object) -> None:
        raise OSError(answer, os.strerror(answer))

    monkeypatch.setattr("fcntl.flock", no_lock)
    with only_writer(tmp_path):
        pass  # as a killed process leaves it: nothing bars the next one
    with only_writer(tmp_path), only_writer(tmp_path):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(DataError), only_writer(tmp_path / "file"):
        pass


def test_without_pyarrow_the_pip_line_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MeshFileError, match="pip install"):
        RecordTables(tmp_path)


# --- this machine ----------------------------------------------------------------------------------


def test_batch_resumes_and_costs_bad_files_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = make_inputs(tmp_path / "in", 2), tmp_path / "out"
    if sys.platform == "linux":  # other systems have neither
        for name in (b"bad\xff.ply", b"l" * 251 + b".ply"):
            shutil.copy(folder / "good_0.ply", os.fsencode(folder) + b"/" + name)
    quick = [
        "--model",
        "small-untrained",
        "--prompts",
        "4",
        "--device",
        "cpu",
        "--threads",
        "1",
        "--write-parts",
    ]
    watch = threading.Thread(target=terminate_after, args=(out / "parts", 3), daemon=True)
    watch.start()
    assert main(["segment-many", str(folder), "-o", str(out), *quick]) == 130
    done = len(records(out))
    assert done > 0
    capsys.readouterr()
    assert main(["segment-many", str(folder), "-o", str(out), *quick]) == 0
    printed = capsys.readouterr()
    assert f"{done} done before" in printed.err
    assert "segmented" in printed.out
    rows = records(out)
    if sys.platform == "linux":
        assert not rows.pop("bad\\udcff.ply")["error"]
        assert not rows.pop(f"{'l' * 251}.ply")["error"]
    assert {path: row["error"] for path, row in rows.items()} == {
        "cut.stl": "unreadable", "deep/cloud.ply": "", "good_0.ply": "", "good_1.ply": "",
    }  # fmt: skip
    assert rows["deep/cloud.ply"]["kind"] == "cloud"
    assert len(unpacked_labels(rows["good_0.ply"]["labels"])) == 32
    written = [path for path in (out / "parts").iterdir() if path.name.startswith("good_0")]
    assert read_mesh_file(written[0]).mesh.face_count == 32
    shutil.copy(folder / "good_0.ply", folder / "new.ply")
    assert main(["segment-many", str(folder), "-o", str(out), *quick]) == 0
    assert f"{6 if sys.platform == 'linux' else 4} done before" in capsys.readouterr().err
    assert len(records(out)) == (7 if sys.platform == "linux" else 5)
    shutil.rmtree(out / "parts")
    (out / "parts").touch()  # no folder, so nothing can be written there
    with pytest.raises(DeviceError, match="cannot write"):
        list(LocalEngine(replace(WORKER, parts_folder=out / "parts")).run(find_inputs(folder / "new.ply")))


@pytest.mark.skipif(os.name == "nt", reason="named pipes")
def test_crash_hang_and_memory_cost_one_file_each(tmp_path: Path) -> None:
    folder = make_inputs(tmp_path / "in", 3)
    os.mkfifo(folder / "hangs.ply")  # reading it never ends
    # Last, so that it is not in hand when the process is killed.
    items = [*find_inputs(folder), Input("hangs.ply", str(folder / "hangs.ply"))]
    with LocalEngine(WORKER, limits=Limits(seconds=8)) as engine:
        rows = engine.run(items)
        first = next(rows)
        os.kill(engine._workers[0].process.pid or 0, signal.SIGSEGV)
        found = {row["path"]: row["error"] for row in [first, *rows]}
    assert len(found) == len(items)
    assert found["hangs.ply"] == "timeout"
    assert found["cut.stl"] == "unreadable"
    # The killed process had at most one file alone in hand; all others were done by the next.
    assert sum(error == "crashed" for error in found.values()) <= 1
    with LocalEngine(WORKER, limits=Limits(memory=1)) as engine:
        assert [row["error"] for row in engine.run(items[-1:])] == ["out_of_memory"]


# --- graphics cards --------------------------------------------------------------------------------


def test_cards_are_dealt_out_to_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    assert [DealtJob().prepare(worker)[2] for worker in range(5)] == ["4", "7", "4", "7", "4"]
    assert DealtJob(device="cpu").prepare(1)[2] == ""  # nothing of it lies on a card
    with LocalEngine(DealtJob(), workers=2) as engine:
        rows = list(engine.run([Input(str(number), "") for number in range(4)]))
    assert {(row["worker"], row["card"]) for row in rows} == {(0, "4"), (1, "7")}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert DealtJob().prepare(3)[2] == ""


def test_what_ray_could_not_give_a_worker_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ray = ["segment-many", str(DATA), "-o", str(tmp_path / "out"), "--engine", "ray"]
    assert main([*ray, "--device", "cuda"]) == 1
    assert "add --gpus 1" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*ray, "--gpus", "2"])  # a worker computes on one
    assert "not between 0 and 1" in capsys.readouterr().err


# --- a cluster -------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="Ray's clusters of several nodes run on Linux")
def test_ray_cluster_survives_the_death_of_actors_nodes_and_the_driver(
    tmp_path: Path, repository: Path
) -> None:
    """In a process of its own: Ray warns and leaves threads behind."""
    folder, out = make_inputs(tmp_path / "in", 10), tmp_path / "out"
    script = repository / "tests" / "ray_batch.py"
    command = [sys.executable, str(script), str(folder), str(out)]
    environment = os.environ | {"RAY_DISABLE_IMPORT_WARNING": "1", "OMP_NUM_THREADS": "1"}
    killed = subprocess.run([*command, "die"], env=environment, capture_output=True, text=True, timeout=600)
    assert killed.returncode == 9, killed.stderr[-3000:]
    before = records(out)
    assert 0 < len(before) < 12
    result = subprocess.run(
        [*command, "finish"], env=environment, capture_output=True, text=True, timeout=600
    )
    assert result.returncode == 0, result.stderr[-3000:]
    rows = records(out)
    assert len(rows) == 12
    assert {path for path, row in rows.items() if row["error"]} == {"cut.stl"}
    assert "actor killed, node removed" in result.stdout
    assert re.search(r"^refused: unknown device 'abacus'.*$", result.stdout, re.MULTILINE)
    # Ray shows each actor its own card, which is then the first of one; without --gpus there is none.
    printed = next(line for line in result.stdout.splitlines() if line.startswith("cards "))
    two, none = json.loads(printed.removeprefix("cards "))
    assert {(row["worker"], row["cards"], row["card"]) for row in two} == {(0, "4", "4"), (0, "7", "7")}
    assert [(row["cards"], row["card"], row["error"]) for row in none] == [("", "", "")]
    # Shards do not depend on the engine, nor on how many workers race.
    report = curate(DATA, tmp_path / "shards", CurationSettings(), EngineSettings(workers=2))
    assert report.kept >= 2
    assert report.reasons["unreadable"] > 5
    for name in ("shard_000.npz.xz", "manifest.jsonl"):
        assert (out / "shards" / name).read_bytes() == (tmp_path / "shards" / name).read_bytes()
    fused = read_shard(out / "fused" / "shard_000.npz.xz")
    assert fused.info[0]["fused"] > 0
