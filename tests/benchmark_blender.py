# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures what the add-on itself does with a large mesh, and for how long Blender stands still in a Segment.

    PARTSAM_BACKEND_PYTHON=.venv/bin/python .venv-bpy45/bin/python tests/benchmark_blender.py
        [--faces N ...] [--only WORD] [--no-segment] [--no-ticks] [--repeat N] [--json OUT.json]

Runs in headless Blender on a built mesh (a torus whose tube swells) with 20 parts known by construction.
Stages are in seconds of processor time of this process, all threads. A stage that is repeated counts with its
quickest run. In `segment` the longest tick is what Blender stands still for: the main thread's own
processor time, and the wall time, which the other threads of this process and other programs stretch.
The table of docs/benchmarks.md comes from here. Not a test: it asserts nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "bl_ext.user_default.partsam"

_resources = Path(tempfile.mkdtemp(prefix="partsam-benchmark-"))
os.environ["BLENDER_USER_RESOURCES"] = str(_resources)
os.environ["PARTSAM_FOLDER"] = str(_resources / "machine")
(_resources / "extensions" / "user_default").mkdir(parents=True)
(_resources / "extensions" / "user_default" / "partsam").symlink_to(ROOT, target_is_directory=True)

import bpy  # noqa: E402, I001
import addon_utils  # noqa: E402
import numpy as np  # noqa: E402

PARTS = 20
TREE_STEPS = 21
FALLOFF_SHARE = 0.01
"""Half width of the blend of weights, relative to the mesh's size."""

SLOW_FACES = 200_000
"""Size from which many objects are left out: they are Blender's own work."""

TICK_SECONDS = 0.05


@dataclass
class Measured:
    """Seconds of processor time by stage, of one mesh; and what a Segment did."""

    faces: int
    seconds: dict[str, float] = field(default_factory=dict)


def addon(name: str) -> ModuleType:
    """A module of the enabled extension."""
    return importlib.import_module(f"{PACKAGE}.partsam_addon.{name}")


def torus(faces: int, parts: int = PARTS, *, quads: bool = False) -> tuple[bpy.types.Object, np.ndarray]:
    """The built mesh as active object, and the part of each face, from 0: slices around the ring."""
    across = max(3, round((faces / 6) ** 0.5))
    along = max(3, faces // 2 // across)
    ring, tube = np.meshgrid(
        np.arange(along) * (2 * np.pi / along), np.arange(across) * (2 * np.pi / across), indexing="ij"
    )
    radius = 0.35 + 0.12 * np.abs(np.sin(4 * ring)) + 0.03 * np.sin(5 * tube)
    reach = 1 + radius * np.cos(tube)
    points = np.stack([reach * np.cos(ring), reach * np.sin(ring), radius * np.sin(tube)], axis=-1)
    index = np.arange(along * across).reshape(along, across)
    first, second = np.roll(index, -1, axis=0), np.roll(index, -1, axis=1)
    diagonal = np.roll(first, -1, axis=1)
    sides = [index, first, diagonal, second] if quads else [index, first, diagonal, index, diagonal, second]
    polygons = np.stack(sides, axis=-1).reshape(-1, 4 if quads else 3)
    obj = _object("torus", points.reshape(-1, 3), polygons)
    corners = np.stack([ring, tube], axis=-1).reshape(-1, 2)[polygons]
    uv = obj.data.uv_layers.new(name="UVMap")
    uv.uv.foreach_set("vector", (corners / (2 * np.pi)).astype(np.float32).ravel())
    rows = round(parts**0.5) if parts > PARTS else 1  # many parts are patches, few are slices
    slices, strips = np.arange(along) * (parts // rows) // along, np.arange(2 * across) * rows // (2 * across)
    return obj, (slices[:, None] * rows + strips).ravel().astype(np.int32)


def _object(name: str, points: np.ndarray, polygons: np.ndarray) -> bpy.types.Object:
    mesh = bpy.data.meshes.new(name)
    mesh.vertices.add(len(points))
    mesh.loops.add(polygons.size)
    mesh.polygons.add(len(polygons))
    mesh.vertices.foreach_set("co", points.astype(np.float32).ravel())
    mesh.loops.foreach_set("vertex_index", polygons.astype(np.int32).ravel())
    mesh.polygons.foreach_set("loop_start", np.arange(0, polygons.size, polygons.shape[1], dtype=np.int32))
    mesh.update(calc_edges=True)
    obj = bpy.data.objects.new(name, mesh)
    bpy.context.scene.collection.objects.link(obj)
    activate(obj)
    return obj


def activate(obj: bpy.types.Object) -> None:
    for other in bpy.context.view_layer.objects:
        other.select_set(other == obj)
    bpy.context.view_layer.objects.active = obj
    bpy.context.view_layer.update()


class Stopwatch:
    """Runs stages and keeps their seconds."""

    def __init__(self, measured: Measured, *, only: str, repeat: int) -> None:
        self._measured, self._only, self._repeat = measured, only, repeat

    def run(self, name: str, work: Callable[[], Any], *, before: Callable[[], Any] | None = None) -> None:
        """Measure `work`; each repetition starts with `before`, which does not count."""
        if self._only not in name:
            return
        best = float("inf")
        for _ in range(self._repeat):
            if before is not None:
                before()
            start = time.process_time()
            with contextlib.redirect_stdout(io.StringIO()):  # operators say that they are done
                work()
            best = min(best, time.process_time() - start)
        self._measured.seconds[name] = best
        print(f"{self._measured.faces:>10,}  {name:<44}{best:9.3f}", flush=True)


class Sink:
    """A pipe that takes all."""

    def write(self, data: Any) -> int:
        return memoryview(data).nbytes


def exchange_stages(watch: Stopwatch, obj: bpy.types.Object) -> None:
    """Reading, sampling, hashing and sending; what comes back is in `label_stages`."""
    reading, shape_module = addon("session.reading"), addon("mesh_exchange.shape")
    requests = addon("backend_process.requests")
    protocol = importlib.import_module(f"{PACKAGE}.backend.service.protocol")
    context, settings = bpy.context, shape_module.ReadSettings()
    kept: dict[str, Any] = {}

    def read() -> None:
        kept["shape"] = reading.read_objects(context, [obj], settings)

    read()
    watch.run("read the mesh", read)

    def sample() -> None:
        kept["sample"] = shape_module.sample_shape(kept["shape"], 16_384)

    sample()
    watch.run("sample points", sample, before=read)

    def request() -> None:
        mesh, sample = kept["shape"].mesh, kept["sample"]
        arrays = {"vertices": mesh.vertices, "triangles": mesh.triangles, "points": sample.points}
        kept["request"] = requests.encode(arrays)

    request()
    watch.run("hash the message", request)
    message = protocol.Message("encode", 1, {}, kept["request"].arrays)
    watch.run("encode the message", lambda: protocol.write_message(Sink(), message))


def color_stages(watch: Stopwatch, faces: int) -> None:
    """Reading a mesh of quads with an image, and one with a painted attribute."""
    reading, settings = addon("session.reading"), addon("mesh_exchange.shape").ReadSettings()
    obj, _ = torus(faces, quads=True)
    read = partial(reading.read_objects, bpy.context, [obj], settings)
    watch.run("read quads", read)
    colors = obj.data.color_attributes.new("Paint", "BYTE_COLOR", "CORNER")
    painted = np.random.default_rng(0).random((len(obj.data.loops), 4), dtype=np.float32)
    colors.data.foreach_set("color", painted.ravel())
    obj.data.color_attributes.active_color = obj.data.color_attributes["Paint"]
    watch.run("read quads with painted colors", read)
    obj.data.materials.append(_textured())
    watch.run("read quads with an image of 4096 pixels", read)


def _textured() -> bpy.types.Material:
    """A material whose base color is a saved image."""
    image = bpy.data.images.new("wood", 4096, 4096)
    image.generated_type = "COLOR_GRID"
    image.filepath_raw, image.file_format = str(_resources / "wood.png"), "PNG"
    image.save()
    image = bpy.data.images.load(image.filepath_raw)
    material = bpy.data.materials.new("wood")
    material.use_nodes = True
    tree = material.node_tree
    node = tree.nodes.new("ShaderNodeTexImage")
    node.image = image
    tree.links.new(node.outputs["Color"], tree.nodes["Principled BSDF"].inputs["Base Color"])
    return material


def label_stages(watch: Stopwatch, obj: bpy.types.Object, labels: np.ndarray) -> None:
    """Writing labels, and what every operator does with the table of parts."""
    parts, writing, choice = addon("parts"), addon("session.writing"), addon("session.find_parts")
    reading, held = addon("session.reading"), addon("session.held")
    mesh, context = obj.data, bpy.context
    shape = reading.read_objects(context, [obj], addon("mesh_exchange.shape").ReadSettings())
    steps = np.linspace(1, PARTS, TREE_STEPS)
    table = np.floor(np.arange(PARTS)[None] * steps[:, None] / PARTS).astype(np.int32)
    tree = parts.PartTree(table, np.full((TREE_STEPS, PARTS), 0.8))
    room = parts.Room(np.ones(shape.mesh.face_count, dtype=bool))
    task, cut = choice.Task(shape, False, "", True, ({True: room, False: room},)), parts.Cut(granularity=1.0)
    counted = parts.CountedTree.of(tree, labels, shape.mesh.areas, room.open, room.kept)
    source = held.Held("parts", shape.sources[0], 0, shape.mesh.face_count)
    found = choice.Found(task, source, labels, tree, {True: counted}, cut, labels, np.full(PARTS, 0.8))
    level = writing.NewLevel(found, held.HeldTrees())

    def write() -> None:
        writing.write_changes(context, [level])

    watch.run("write labels, the first time", write, before=lambda: parts.clear_parts(mesh))
    write()
    watch.run("write labels again", write)
    watch.run("table sync, nothing changed", lambda: parts.bring_together(mesh))
    number = mesh.partsam.levels[0].number
    granularity = iter(np.tile([0.3, 0.6], 50).tolist())

    def slide() -> None:
        recut = writing.Recut(obj.session_uid, number, parts.Cut(next(granularity), None))
        writing.write_changes(context, [recut])

    slide()
    watch.run("move the slider", slide)
    write()


def edit_stages(watch: Stopwatch, obj: bpy.types.Object) -> None:
    """What an undo step in Edit mode costs, beside Blender's own work; and edits of the list."""
    parts, undo = addon("parts"), addon("parts.undo")
    mesh = obj.data
    bpy.ops.object.mode_set(mode="EDIT")

    def follow() -> None:
        undo._before()
        undo._follow()

    follow()
    watch.run("undo in Edit mode", follow)
    bpy.ops.object.mode_set(mode="OBJECT")
    watch.run("adjacency of the faces", lambda: parts.build_polygon_graph(mesh))
    kept = parts.read_part_ids(mesh)
    for name, work in (
        ("delete a part", lambda: parts.delete_part(mesh, 3)),
        ("merge two parts", lambda: parts.merge_parts(mesh, 3, 4)),
    ):
        watch.run(name, work, before=lambda: parts.write_part_ids(mesh, kept))
    parts.write_part_ids(mesh, kept)
    parts.release_edits(mesh, np.ones(len(kept), dtype=bool))


def target_stages(watch: Stopwatch, obj: bpy.types.Object) -> None:
    """What is made of parts."""
    vertex_groups, falloff = addon("apply.vertex_groups"), addon("apply.falloff")
    mesh, size = obj.data, addon("apply.vertex_groups").world_size(obj)
    width = FALLOFF_SHARE * size

    def clear() -> None:
        obj.vertex_groups.clear()

    watch.run("vertex groups", lambda: vertex_groups.make_vertex_groups(obj), before=clear)
    clear()
    watch.run(
        "vertex groups with falloff",
        lambda: vertex_groups.make_vertex_groups(obj, falloff=width),
        before=clear,
    )
    watch.run(
        "vertex groups with falloff, again", lambda: vertex_groups.make_vertex_groups(obj, falloff=width)
    )
    watch.run("read vertex groups", lambda: falloff.read_weights(obj))
    clear()
    watch.run("names left and right", lambda: addon("rigging.armature").name_mirrored_parts(obj))
    watch.run("joints of an armature", lambda: addon("rigging.part_joints").joint_places(mesh))
    marks, materials = addon("apply.marks"), addon("apply.materials")
    watch.run("seams and sharp edges", lambda: marks.mark_borders(mesh, seam=True, sharp=True))
    watch.run("face sets", lambda: marks.write_face_sets(mesh))
    watch.run("color attribute", lambda: marks.write_part_colors(mesh))
    watch.run("materials", lambda: materials.assign_materials(obj))
    id_map = addon("retexture.id_map")
    watch.run("ID map, 2048 pixels", lambda: id_map.bake_id_map(obj, size=2048))
    watch.run("interior faces", lambda: addon("repair.interior").interior_faces(mesh))


def view_stages(watch: Stopwatch, obj: bpy.types.Object) -> None:
    """What a redraw after a change reads; drawing itself needs a window."""
    surface, overlay = addon("view.surface"), addon("view.overlay")
    context, kept = bpy.context, {}

    def read() -> None:
        kept["surface"] = surface.read_surface(context, obj)
        overlay.split_by_part(kept["surface"].triangles, kept["surface"].part_ids)

    read()
    watch.run("overlay: triangles by part", read)
    watch.run("overlay: outline of a part", lambda: surface.part_edges(kept["surface"], 3).border())
    watch.run("exploded view", lambda: addon("view.exploded").unit_offsets(obj.data))
    places = addon("ui.list_rows").places
    watch.run("draw the list of parts", lambda: places(obj.data.partsam.parts, "SIZE"))


def many_parts_stages(watch: Stopwatch, faces: int) -> None:
    """What could grow with parts times faces: unwrapping, and separating after vertex groups were made."""
    unwrap, separation, parts = addon("retexture.unwrap"), addon("separation.separation"), addon("parts")
    vertex_groups = addon("apply.vertex_groups")
    for count in (PARTS, 200, 1000):

        def prepare(count: int = count) -> None:
            _empty_file()
            obj, labels = torus(faces, count)
            parts.write_labels(obj.data, labels)

        def prepare_groups(count: int = count) -> None:
            prepare(count)
            vertex_groups.make_vertex_groups(bpy.context.object)

        watch.run(
            f"unwrap {count} parts",
            lambda: unwrap.unwrap_parts(bpy.context, bpy.context.object),
            before=prepare,
        )
        if count == PARTS or faces <= SLOW_FACES:
            watch.run(
                f"separate {count} parts with vertex groups",
                lambda: separation.separate_parts(bpy.context, bpy.context.object),
                before=prepare_groups,
            )


@dataclass
class Ticks:
    """How long each tick of a piece of work held the main thread: its processor time, wall time and stage.

    late: seconds by which ticks came later than Blender's timer had asked for, because another thread had
    the interpreter
    """

    held: list[tuple[float, float, str]] = field(default_factory=list)
    late: list[float] = field(default_factory=list)

    @contextlib.contextmanager
    def holding(self, stage: str) -> Iterator[None]:
        wall, own = time.perf_counter(), time.thread_time()
        yield
        self.held.append((time.thread_time() - own, time.perf_counter() - wall, stage))

    def report(self, measured: Measured, name: str) -> None:
        """Note the first one, which is the press of the button, and the longest of the others."""
        first, longest = self.held[0], max(self.held[1:])
        measured.seconds[f"{name}: pressing it, main thread"] = first[0]
        measured.seconds[f"{name}: pressing it, wall"] = first[1]
        measured.seconds[f"{name}: longest tick, main thread"] = longest[0]
        measured.seconds[f"{name}: longest tick, wall"] = max(tick[1] for tick in self.held[1:])
        measured.seconds[f"{name}: latest tick, wall"] = max(self.late)
        print(f"{measured.faces:>10,}  {name}: {len(self.held)} ticks")
        print(f"{'':>10}  latest tick {max(self.late):.3f} s of wall")
        for own, wall, stage in [first, *sorted(self.held[1:], reverse=True)[:3]]:
            print(f"{'':>10}  held {own:.3f} s of processor, {wall:.3f} s of wall in {stage!r}", flush=True)


def run_in_ticks(measured: Measured, name: str, press: Callable[[], Any]) -> None:
    """Start a piece of work as from the window, drive it as Blender's timer would, and report the ticks."""
    session, ticks = addon("session").get_session(), Ticks()
    with ticks.holding("press"):
        press()
    while session.is_busy:
        before = time.perf_counter()
        time.sleep(TICK_SECONDS)
        ticks.late.append(time.perf_counter() - before - TICK_SECONDS)
        stage = getattr(session.run.job, "stage", "") or "start"
        with ticks.holding(stage):
            session.tick()
    if session.problem is not None:
        print(session.problem.message)
    ticks.report(measured, name)


def background_stages(measured: Measured, faces: int) -> None:
    """Targets that run beside Blender: how long each tick of them holds it up."""
    calculating = addon("targets.calculating")
    targets = (
        ("vertex groups with falloff", "to_vertex_groups", {"falloff": FALLOFF_SHARE}),
        ("the same again", "to_vertex_groups", {"falloff": FALLOFF_SHARE}),
        (
            "armature",
            "to_armature",
            {"root": 0, "rule": "AUTO", "smallest": 0.0, "falloff": 0, "name_sides": True, "beside": False},
        ),
        ("ID map of 2048 pixels", "bake_id_map", {"size": 2048, "margin": 4}),
        ("interior faces", "remove_interior", {"action": "SELECT", "rays": 64, "openness": 0.0}),
        ("unwrap", "unwrap_parts", {"method": "SMART", "margin": 0.005, "uv_map": "NEW"}),
    )
    _empty_file()
    obj, labels = torus(faces)
    addon("parts").write_labels(obj.data, labels)
    for name, module, options in targets:
        operator = addon(f"targets.{module}").TARGET.operator

        def press(name: str = name, operator: Any = operator, options: dict[str, Any] = options) -> None:
            plan = operator.plan(SimpleNamespace(**options), bpy.context, obj)
            calculating.start_planned(name, name, [calculating.Planned.of(obj, plan)])

        run_in_ticks(measured, name, press)


def segment_stage(measured: Measured, obj: bpy.types.Object) -> None:
    """A Segment as from the window; what the main thread was held up for."""
    session, segmentation = addon("session").get_session(), addon("session.find_parts")
    addon("parts").clear_parts(obj.data)
    settings = segmentation.SegmentSettings(prompts=64)

    def press() -> None:
        reading = addon("mesh_exchange.shape").ReadSettings()
        tasks = addon("session.reading").read_tasks(bpy.context, [obj], reading)
        finish = addon("operators.running").finish_in_window
        flow = segmentation.segment(session, tasks, settings)
        session.start("Segmenting", flow, done=lambda found: finish("Segment", found))

    run_in_ticks(measured, "segment", press)


def _empty_file() -> None:
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    bpy.ops.ed.undo_push(message="start")


def measure(faces: int, options: argparse.Namespace) -> Measured:
    """All stages on one mesh."""
    _empty_file()
    obj, labels = torus(faces)
    measured = Measured(len(obj.data.polygons))
    watch = Stopwatch(measured, only=options.only, repeat=options.repeat)
    exchange_stages(watch, obj)
    label_stages(watch, obj, labels)
    for stages in (edit_stages, view_stages, target_stages):
        stages(watch, obj)
    many_parts_stages(watch, faces)
    if options.ticks:
        background_stages(measured, faces)
    _empty_file()
    color_stages(watch, faces)
    if options.segment:
        _empty_file()
        segment_stage(measured, torus(faces)[0])
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--faces", type=int, nargs="+", default=[100_000, 1_000_000], metavar="N")
    parser.add_argument("--only", default="", metavar="WORD", help="stages whose name has this word")
    parser.add_argument("--no-segment", dest="segment", action="store_false", help="without the backend")
    parser.add_argument("--no-ticks", dest="ticks", action="store_false", help="without targets tick by tick")
    parser.add_argument("--repeat", type=int, default=2, metavar="N", help="runs of each stage")
    parser.add_argument("--json", type=Path, metavar="OUT.json", help="write the seconds there")
    options = parser.parse_args()
    if addon_utils.enable(PACKAGE, default_set=True) is None:
        raise RuntimeError("the extension did not register; see the traceback above")
    results = [measure(faces, options) for faces in options.faces]
    if options.json is not None:
        content = {str(result.faces): result.seconds for result in results}
        options.json.write_text(json.dumps(content, indent=1), encoding="utf-8")


if __name__ == "__main__":
    status = 1
    try:
        main()
        status = 0
    except Exception:
        traceback.print_exc()
    finally:
        addon_utils.disable(PACKAGE, default_set=True)
        shutil.rmtree(_resources, ignore_errors=True)
        sys.stdout.flush()
        os._exit(status)  # as the tests: OpenVDB may wait for ever at exit
