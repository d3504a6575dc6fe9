# SPDX-License-Identifier: GPL-3.0-or-later
"""How long the click tool takes from an event to what is drawn of it, at several sizes of one mesh.

Not a test: `tests/window/benchmark_clicks.py` runs it and prints what it records.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import bpy
from driver import Steps, WindowDriver, run

PLACES = ((0.47, 0.72), (0.46, 0.42), (0.64, 0.49), (0.48, 0.62), (0.44, 0.36), (0.47, 0.67))
"""In the viewport, on the mesh."""
BESIDE = (0.12, 0.2)
QUIET_SECONDS = 0.8
MOVING_SECONDS = 6.0
PAUSE = 0.01
"""Between two looks at whether an answer is there; as often Blender's loop is seen to turn."""


class Meter:
    """Times from an event to the drawing that shows its answer.

    is_shown: whether a viewport drawn now shows the answer
    """

    def __init__(self, window: WindowDriver) -> None:
        self._window = window
        self._is_shown: Callable[[], bool] = lambda: False
        self._drawn = self._last = 0.0
        self._handle = bpy.types.SpaceView3D.draw_handler_add(self._draw, (), "WINDOW", "POST_PIXEL")

    def remove(self) -> None:
        bpy.types.SpaceView3D.draw_handler_remove(self._handle, "WINDOW")

    def measure(self, event: Callable[[], None], is_shown: Callable[[], bool], into: list) -> Steps:
        """Append to `into`: seconds from `event` to its drawing, processor seconds of Blender's main thread,
        of all of Blender (here a software renderer, too) and of the backend, and the longest stop."""
        process = self._window.session().backend.pid
        self._drawn, self._is_shown = 0.0, is_shown
        before = self._clocks(process)
        event()
        limit, last, longest = before[0] + 120, before[0], 0.0
        while not self._drawn:
            assert time.monotonic() < limit, "timed out: nothing was drawn"
            yield PAUSE
            now = time.monotonic()
            longest, last = max(longest, now - last), now
        after = self._clocks(process)
        into.append(
            [self._drawn - before[0], *(b - a for a, b in zip(before[1:], after[1:], strict=True)), longest]
        )

    def _draw(self) -> None:
        self._last = time.monotonic()
        if not self._drawn and self._is_shown():
            self._drawn = self._last

    def quiet(self) -> Steps:
        """Until nothing was drawn for a while: after a change Blender draws several times, ever smoother."""
        self._last = time.monotonic()
        while time.monotonic() - self._last < QUIET_SECONDS:
            yield PAUSE

    def _clocks(self, process: int) -> tuple[float, ...]:
        return time.monotonic(), time.thread_time(), time.process_time(), processor_seconds(process)


def processor_seconds(process: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def scenario(window: WindowDriver) -> Steps:
    obj = window.import_mesh(os.environ["PARTSAM_WINDOW_MESH"])
    yield 0.5
    yield from window.frame_selected()
    window.record["sizes"] = sizes = []
    name, first = obj().name, obj().data.copy()
    for cuts in json.loads(os.environ["PARTSAM_CLICK_CUTS"]):
        old, bpy.data.objects[name].data = bpy.data.objects[name].data, first.copy()
        bpy.data.meshes.remove(old)
        if cuts:
            bpy.ops.object.mode_set(mode="EDIT")
            bpy.ops.mesh.select_all(action="SELECT")
            bpy.ops.mesh.subdivide(number_cuts=cuts)
            bpy.ops.object.mode_set(mode="OBJECT")
        yield 0.5
        sizes.append({"faces": len(obj().data.polygons)})
        yield from measure_size(window, sizes[-1])


def measure_size(window: WindowDriver, record: dict) -> Steps:
    session, meter = window.session(), Meter(window)
    yield from redraws(window, meter, record)
    started = time.monotonic()
    with bpy.context.temp_override(area=window.area, region=window.region()):
        bpy.ops.partsam.click_part("INVOKE_DEFAULT")
    record["start"] = time.monotonic() - started
    work = session.clicks
    last, longest = time.monotonic(), 0.0
    while work.phase.value == "preparing":
        yield PAUSE
        now = time.monotonic()
        longest, last = max(longest, now - last), now
    record["preparing"], record["preparing_stop"] = time.monotonic() - started, longest
    yield 1.0
    for name in ("hover", "click", "second click", "accept"):
        record[name] = []
    for place in PLACES[: 6 if record["faces"] < 300_000 else 3]:
        yield from one_part(window, meter, work, window.view_point(*place), record)
    yield from moving(window, work, record)
    meter.remove()
    yield from window.key("ESC", *window.view_point(*BESIDE))
    yield from window.wait_for(lambda: session.clicks is None, 60, "Esc ended the tool")


def redraws(window: WindowDriver, meter: Meter, record: dict) -> Steps:
    """What drawing the scene costs, without the tool: the least that anything shown can take."""
    record["redraw"] = []
    window.session().open_backend().start()
    for _ in range(4):
        yield from meter.quiet()
        yield from meter.measure(window.area.tag_redraw, lambda: True, record["redraw"])


def moving(window: WindowDriver, work: object, record: dict) -> Steps:
    """How many parts a second are shown while the mouse moves over the mesh."""
    drawn = []
    handle = bpy.types.SpaceView3D.draw_handler_add(
        lambda: drawn.append(work.part.hover), (), "WINDOW", "POST_PIXEL"
    )
    started, step = time.monotonic(), 0
    while time.monotonic() < started + MOVING_SECONDS:
        step += 1
        x, y = window.view_point(*PLACES[step // 40 % len(PLACES)])
        bpy.context.window.event_simulate(type="MOUSEMOVE", value="NOTHING", x=int(x), y=int(y) + step % 40)
        yield 0.05
    bpy.types.SpaceView3D.draw_handler_remove(handle, "WINDOW")
    shown = {id(hover) for hover in drawn if hover is not None}
    record["hovers"] = len(shown) / (time.monotonic() - started)


def one_part(window: WindowDriver, meter: Meter, work: object, place: tuple, record: dict) -> Steps:
    x, y = (int(value) for value in place)
    send = bpy.context.window.event_simulate
    yield from window.move(*window.view_point(*BESIDE))
    yield from meter.quiet()

    def shows(count: int) -> bool:
        return len(work.part.clicks) == count and not work.is_thinking

    def press(x: int, y: int, **modifiers: bool) -> None:
        for value in ("PRESS", "RELEASE"):
            send(type="LEFTMOUSE", value=value, x=x, y=y, **modifiers)

    yield from meter.measure(
        lambda: send(type="MOUSEMOVE", value="NOTHING", x=x, y=y),
        lambda: work.part.hover is not None,
        record["hover"],
    )
    yield from meter.quiet()
    yield from meter.measure(lambda: press(x + 9, y + 6), lambda: shows(1), record["click"])
    yield from meter.quiet()
    yield from meter.measure(
        lambda: press(x + 40, y - 25, ctrl=True), lambda: shows(2), record["second click"]
    )
    yield 0.3
    done = len(work.accepted)
    yield from meter.measure(
        lambda: send(type="RET", value="PRESS", x=x, y=y),
        lambda: len(work.accepted) > done and not work.is_accepting,
        record["accept"],
    )


run(scenario)
