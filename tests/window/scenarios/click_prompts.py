# SPDX-License-Identifier: GPL-3.0-or-later
"""The click tool's other prompts: stroke, box, lasso, X-ray, from part to part, existing parts, mirror,
selection, and hiding what is done.
"""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import bpy
from driver import Steps, WindowDriver, run
from mathutils import Vector

HEAD, BODY, ARM = (0.47, 0.72), (0.46, 0.42), (0.64, 0.49)


def scenario(window: WindowDriver) -> Steps:
    obj = window.import_mesh(os.environ["PARTSAM_WINDOW_MESH"])
    yield 0.5
    yield from window.frame_selected()
    with bpy.context.temp_override(area=window.area, region=window.region()):
        bpy.ops.partsam.click_part("INVOKE_DEFAULT")
    work = window.session().clicks
    yield from window.wait_for(lambda: work.phase.value != "preparing", 200, "the shape was encoded")
    yield from strokes(window, work)
    yield from x_ray(window, obj, work)
    yield from parts(window, obj, work)
    yield from existing(window, obj, work)
    yield from symmetric(window, work)
    yield from selected(window, obj, work)
    yield from hiding(window, obj, work)
    window.record["problem"] = str(window.session().problem)


def settled(window: WindowDriver, work: object, what: str) -> Steps:
    yield from window.wait_for(lambda: not (work.is_thinking or work.is_accepting), 100, what)
    assert work.phase.value != "ended", f"the tool ended: {what}"
    yield 0.3


def box(window: WindowDriver, x: float, y: float) -> Steps:
    yield from window.drag((x - 40, y - 40), (x + 40, y + 40))


def lasso(window: WindowDriver, x: float, y: float) -> Steps:
    around = [
        (x + 40 * math.cos(step * math.pi / 5), y + 40 * math.sin(step * math.pi / 5)) for step in range(11)
    ]
    kinds = ["PRESS", *["NOTHING"] * 9, "RELEASE"]
    yield from window.move(*around[0])
    for value, (at, up) in zip(kinds, around, strict=True):
        kind = "MOUSEMOVE" if value == "NOTHING" else "LEFTMOUSE"
        bpy.context.window.event_simulate(type=kind, value=value, x=int(at), y=int(up))
        yield 0.15


def strokes(window: WindowDriver, work: object) -> Steps:
    record, head = window.record, window.view_point(*HEAD)
    x, y = window.view_point(*BODY)
    yield from window.drag((x, y - 50), (x, y + 50))
    yield from settled(window, work, "the stroke was answered")
    record["stroke"] = [
        len(work.part.clicks),
        all(work.part.preview.polygons[click.polygon] for click in work.part.clicks),
    ]
    window.shot("stroke")
    work.restart(None)
    for key, draw in (("B", box), ("L", lasso)):
        yield from window.key(key, *head)
        yield from draw(window, *head)
        yield from settled(window, work, "the outline was answered")
        record[key] = len(work.part.clicks)
        window.shot(f"outline_{key}")
        work.restart(None)
        yield 0.3


def x_ray(window: WindowDriver, obj: object, work: object) -> Steps:
    """D goes behind the first surface; a box takes what lies behind only with X-ray."""
    record, body = window.record, window.view_point(*BODY)
    eye = window.area.spaces.active.region_3d.view_matrix.inverted().to_3x3().col[2]
    record["behind"], record["depth"] = [], []
    for behind in (False, True):
        if behind:
            yield from window.key("D", *body)
        yield from window.click(*body)
        yield from settled(window, work, "the click was answered")
        record["behind"].append((obj().matrix_world @ Vector(work.part.clicks[0].place)).dot(eye))
        window.shot(f"behind_{behind}")
        work.restart(None)
        yield from window.move(*window.view_point(*HEAD))
    for _ in range(2):
        yield from window.key("B", *body)
        yield from box(window, *body)
        yield from settled(window, work, "the box was answered")
        depths = [(obj().matrix_world @ Vector(click.place)).dot(eye) for click in work.part.clicks]
        record["depth"].append(max(depths) - min(depths))
        work.restart(None)
        yield from window.key("Z", *body, alt=True)
        record["x_ray"] = bpy.context.window_manager.partsam_clicks.through
        window.shot(f"x_ray_{len(record['depth'])}")


def parts(window: WindowDriver, obj: object, work: object) -> Steps:
    """Two parts, and with N and P round them and the new one."""
    record, places = window.record, [window.view_point(*place) for place in (HEAD, BODY)]
    for x, y in places:
        yield from window.click(x, y)
        yield from settled(window, work, "the click was answered")
        yield from press_accept(window)
        yield from settled(window, work, "the part was accepted")
    ids = [part.part_id for part in obj().data.partsam.parts]
    record["round"] = []
    for key in ("N", "N", "N", "P", "P", "P"):
        yield from window.key(key, *places[0])
        yield from settled(window, work, "the part was shown")
        record["round"].append(-1 if work.part.target is None else ids.index(work.part.target.part_id))
        if key == "P" and work.part.target is not None:
            window.shot(f"part_{record['round'][-1]}")


def press_accept(window: WindowDriver) -> Steps:
    """The first button of the tool's settings in the header."""
    header = window.region("TOOL_HEADER")
    yield from window.click(header.x + 50, header.y + header.height / 2)


def existing(window: WindowDriver, obj: object, work: object) -> Steps:
    """Shift adds to a part, Ctrl-Shift takes out of it, R starts from it."""
    record, arm = window.record, window.view_point(*ARM)
    record["changed"] = []
    for modifiers in ({"shift": True}, {"shift": True, "ctrl": True}):
        yield from window.click(*arm, **modifiers)
        yield from settled(window, work, "the click was answered")
        target, polygon = work.part.target, work.part.clicks[0].polygon
        window.shot(f"changing_{target.action}")
        yield from window.key("RET", *arm)
        yield from settled(window, work, "the part was changed")
        part_ids = obj().data.attributes["partsam_part"].data
        record["changed"].append([target.action, part_ids[polygon].value == target.part_id])
    yield from window.key("R", *window.view_point(*HEAD))
    yield from settled(window, work, "the part was shown")
    record["improved"] = [work.part.target.action, len(work.part.clicks)]
    window.shot("improved")
    work.restart(None)


def symmetric(window: WindowDriver, work: object) -> Steps:
    settings, arm = bpy.context.window_manager.partsam_clicks, window.view_point(*ARM)
    yield from window.key("X", *arm)
    window.record["mirror"] = [settings.mirror]
    yield from window.click(*arm)
    yield from settled(window, work, "the clicks on both sides were answered")
    window.record["both_arms"] = int((work.part.twin.polygons & ~work.part.preview.polygons).sum())
    yield 0.5
    window.shot("symmetric")
    work.restart(None)
    yield from window.key("X", *arm)
    window.record["mirror"].append(settings.mirror)


def selected(window: WindowDriver, obj: object, work: object) -> Steps:
    """S starts from the selected faces: here those of the first part."""
    mesh, head = obj().data, window.view_point(*HEAD)
    first = mesh.partsam.parts[0].part_id
    chosen = [value.value == first for value in mesh.attributes["partsam_part"].data]
    mesh.polygons.foreach_set("select", chosen)
    yield from window.key("S", *head)
    yield from settled(window, work, "the selection was answered")
    window.record["selected"] = [
        len(work.part.clicks),
        all(chosen[click.polygon] for click in work.part.clicks),
    ]
    work.restart(None)


def hiding(window: WindowDriver, obj: object, work: object) -> Steps:
    record, body = window.record, window.view_point(*BODY)
    aside = window.view_point(0.15, 0.2)
    yield from window.move(*aside)
    yield 0.3
    window.shot("shown")
    display = obj().display_type
    yield from window.key("H", *aside)
    yield 0.5
    window.shot("hidden")
    yield from window.click(*body)
    yield from settled(window, work, "the click was answered")
    hit = work.part.clicks[0].polygon if work.part.clicks else -1
    record["through_accepted"] = not work.accepted_polygons[hit]
    yield from window.key("ESC", *aside)
    yield from window.wait_for(lambda: window.session().clicks is None, 20, "Esc ended the tool")
    yield 0.5
    window.shot("left")
    record["display_given_back"] = obj().display_type == display


run(scenario)
