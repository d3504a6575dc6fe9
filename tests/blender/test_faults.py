# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong while a request runs, and meshes that nobody should have made: the scene survives it."""

from __future__ import annotations

import os
import signal
import stat
import sys
import time
from functools import partial
from pathlib import Path

import addon_utils
import bpy
import numpy as np
import pytest
from conftest import PACKAGE
from meshes import add_object, cube
from segmenting import dumbbell, needs_backend, part_ids, tick_until, use_real_backend

pytestmark = needs_backend

PROMPTS = 16


@pytest.fixture(autouse=True)
def backend(monkeypatch):
    use_real_backend(monkeypatch)


@pytest.fixture
def session(addon):
    return addon("session").get_session()


@pytest.fixture
def start(addon):
    """Start segmenting the active object as the Segment button does; the caller moves the timer."""

    def begin() -> None:
        session = addon("session").get_session()
        tasks = addon("session.reading").read_tasks(
            bpy.context, [bpy.context.object], addon("mesh_exchange").ReadSettings()
        )
        steps = addon("session.find_parts")
        flow = steps.segment(session, tasks, steps.SegmentSettings(prompts=PROMPTS))
        session.start(
            "Segmenting", flow, done=partial(addon("operators.running").finish_in_window, "Segment")
        )

    return begin


def segment(**settings):
    return bpy.ops.partsam.segment(**{"prompts": PROMPTS, **settings})


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def fake_python(folder: Path, body: str) -> Path:
    """A program that is started in place of the backend's Python."""
    script = folder / "python"
    script.write_text(f"#!{sys.executable}\n{body}", encoding="utf-8")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return script


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_backend_killed_in_the_middle(session, start):
    obj = dumbbell()
    segment()
    before = part_ids(obj)
    start()
    os.kill(session.backend.pid, signal.SIGKILL)
    tick_until(session, lambda: not session.is_busy)
    assert "SIGKILL" in session.problem.message and session.problem.restart
    assert (part_ids(obj) == before).all()
    assert bpy.ops.partsam.restart_backend() == {"FINISHED"}
    assert session.problem is None
    assert segment() == {"FINISHED"}


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_backend_killed_while_idle_starts_again(session):
    dumbbell()
    segment()
    os.kill(session.backend.pid, signal.SIGKILL)
    tick_until(session, lambda: session.backend.crash is not None)
    assert segment() == {"FINISHED"}


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a script with a first line for Unix")
@pytest.mark.parametrize(
    "body",
    [
        "print('this is no message at all')",
        "import struct, sys; sys.stdout.buffer.write(struct.pack('<4sHHIQ', b'PSAM', 999, 0, 2, 0) + b'{}')",
        "raise SystemExit(3)",
    ],
    ids=["garbage", "another protocol version", "exit at once"],
)
def test_broken_backend_programs(monkeypatch, tmp_path, session, body):
    monkeypatch.setenv("PARTSAM_BACKEND_PYTHON", str(fake_python(tmp_path, body)))
    obj = dumbbell()
    with pytest.raises(RuntimeError, match="PartSAM backend"):
        segment()
    assert session.problem.restart
    assert "partsam_part" not in obj.data.attributes


def test_mesh_edited_meanwhile(session, start):
    obj = dumbbell()
    start()
    obj.data.vertices[0].co.x += 0.1
    tick_until(session, lambda: not session.is_busy)
    assert "edited meanwhile" in session.problem.message
    assert "partsam_part" not in obj.data.attributes


def test_object_deleted_meanwhile(session, start):
    dumbbell()
    start()
    bpy.data.objects.remove(bpy.context.object)
    tick_until(session, lambda: not session.is_busy)
    assert "deleted" in session.problem.message


def test_another_object_takes_the_name_meanwhile(session, start):
    dumbbell(name="shape")
    start()
    bpy.data.objects.remove(bpy.context.object)
    other = cube(name="shape")
    tick_until(session, lambda: not session.is_busy)
    assert session.problem is not None
    assert "partsam_part" not in other.data.attributes


def test_file_loaded_meanwhile(session, start, tmp_path):
    dumbbell()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "before.blend"))
    start()
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "before.blend"))
    assert not session.is_busy
    assert "file was opened" in session.problem.message
    assert "partsam_part" not in bpy.data.objects["dumbbell"].data.attributes
    assert bpy.context.object is not None and segment() == {"FINISHED"}


def test_addon_disabled_meanwhile(session, start):
    dumbbell()
    start()
    pid = session.backend.pid
    try:
        addon_utils.disable(PACKAGE, default_set=True)
        assert not is_running(pid)
    finally:
        addon_utils.enable(PACKAGE, default_set=True)
    assert segment() == {"FINISHED"}


def test_two_requests_at_once(addon, session, start):
    obj = dumbbell()
    start()
    assert not bpy.ops.partsam.segment.poll()
    with pytest.raises(addon("backend.errors").PartSAMError, match="still running"):
        start()
    tick_until(session, lambda: not session.is_busy)
    assert session.problem is None and part_ids(obj).min() >= 1


def test_undo_meanwhile(session, start):
    obj = dumbbell()
    bpy.ops.ed.undo_push(message="made")
    obj.location.x = 5
    bpy.ops.ed.undo_push(message="moved")
    start()
    bpy.ops.ed.undo()
    tick_until(session, lambda: not session.is_busy)
    assert session.problem is None
    assert part_ids(bpy.data.objects["dumbbell"]).min() >= 1


def plane(points, polygons):
    return add_object("broken", points, polygons)


@pytest.mark.parametrize(
    ("points", "polygons", "message"),
    [
        ([], [], "nothing"),
        ([(0, 0, 0), (1, 0, 0)], [], "only 2 points"),
        ([(0, 0, 0), (1, 0, 0), (0, 1, float("nan"))], [(0, 1, 2)], "finite"),
        ([(0, 0, 0), (1, 0, 0), (2, 0, 0)], [(0, 1, 2)], "area"),
    ],
    ids=["empty", "two points", "nan", "zero area"],
)
def test_meshes_that_cannot_be_segmented_are_refused(points, polygons, message):
    obj = plane(points, polygons)
    with pytest.raises(RuntimeError, match=message):
        segment()
    assert "partsam_part" not in obj.data.attributes


def test_non_manifold_loose_and_collapsed_faces_are_segmented():
    points = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, -1, 0), (5, 5, 5), (6, 5, 5), (2, 0, 0)]
    obj = plane(points, [(0, 1, 2), (0, 1, 3), (0, 1, 4), (0, 1, 7)])
    segment()
    assert len(part_ids(obj)) == 4 and part_ids(obj).min() >= 1


def test_n_gons_around_a_hole():
    outer = [(x, y, 0) for x, y in ((-2, -2), (2, -2), (2, 2), (-2, 2))]
    inner = [(x, y, 0) for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    # Two concave hexagons that enclose the hole.
    obj = plane(outer + inner, [(0, 1, 2, 6, 5, 4), (2, 3, 0, 4, 7, 6)])
    segment()
    assert len(part_ids(obj)) == 2 and part_ids(obj).min() >= 1


def test_linked_data_is_refused_with_the_way_on(tmp_path):
    cube(name="library")
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "library.blend"))
    bpy.ops.wm.read_homefile(use_empty=True)
    with bpy.data.libraries.load(str(tmp_path / "library.blend"), link=True) as (_, wanted):
        wanted.objects = ["library"]
    bpy.context.scene.collection.objects.link(wanted.objects[0])
    bpy.context.view_layer.objects.active = wanted.objects[0]
    with pytest.raises(RuntimeError, match="Make Local"):
        segment()


def test_a_million_faces(session, start):
    side = 708
    line = np.linspace(-1, 1, side, dtype=np.float32)
    y, x = np.meshgrid(line, line, indexing="ij")
    points = np.stack([x, y, np.sin(4 * x) * np.cos(4 * y) / 4], axis=-1).reshape(-1, 3)
    index = np.arange(side * side, dtype=np.int32).reshape(side, side)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    triangles = np.concatenate(
        [np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)]
    )
    mesh = bpy.data.meshes.new("large")
    mesh.vertices.add(len(points))
    mesh.vertices.foreach_set("co", points.ravel())
    mesh.loops.add(triangles.size)
    mesh.loops.foreach_set("vertex_index", triangles.ravel())
    mesh.polygons.add(len(triangles))
    mesh.polygons.foreach_set("loop_start", np.arange(0, triangles.size, 3, dtype=np.int32))
    mesh.update(calc_edges=True)
    obj = bpy.data.objects.new("large", mesh)
    bpy.context.scene.collection.objects.link(obj)
    bpy.context.view_layer.objects.active = obj
    started = time.monotonic()
    assert segment(prompts=4, refine=False) == {"FINISHED"}
    print("seconds", time.monotonic() - started)
    assert len(part_ids(obj)) == len(triangles) and part_ids(obj).min() >= 1
