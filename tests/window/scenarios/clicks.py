# SPDX-License-Identifier: GPL-3.0-or-later
"""The click tool by mouse and keyboard, part after part, and every way out of it."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import bpy
from driver import Steps, WindowDriver, run

HEAD, BODY, ARM = (0.47, 0.72), (0.46, 0.42), (0.64, 0.49)


def scenario(window: WindowDriver) -> Steps:
    obj = window.import_mesh(os.environ["PARTSAM_WINDOW_MESH"])
    yield 0.5
    yield from window.frame_selected()
    yield from window.open_tab()
    yield from clicking(window, obj)
    yield from accepting(window, obj)
    yield from nothing_else(window, obj)
    yield from leaving(window, obj)
    yield from other_ends(window)


def start(window: WindowDriver) -> Steps:
    """Choose the tool as the toolbar does; the mouse over the viewport starts it."""
    session = window.session()
    bpy.ops.wm.tool_set_by_id(name="partsam.clicks", space_type="VIEW_3D")
    yield 0.3
    yield from window.move(*window.view_point(0.15, 0.2))
    yield from window.wait_for(lambda: session.clicks is not None, 10, "the tool was started")


def settled(window: WindowDriver, work: object, what: str) -> Steps:
    ended = lambda: work.phase.value == "ended"  # noqa: E731
    yield from window.wait_for(lambda: ended() or not (work.is_thinking or work.is_accepting), 100, what)
    assert not ended(), f"the tool ended: {what}"
    yield 0.3


def clicking(window: WindowDriver, obj: object) -> Steps:
    record, session = window.record, window.session()
    head, body = window.view_point(*HEAD), window.view_point(*BODY)
    yield from start(window)
    work = session.clicks
    window.shot("preparing")
    yield from window.wait_for(lambda: work.phase.value == "clicking", 200, "the shape was encoded")

    yield from film(window)
    yield from window.move(*head)
    yield from window.wait_for(lambda: work.part.hover is not None, 30, "the part under the mouse was shown")
    record["hover_faces"] = int(work.part.hover.polygons.sum())
    yield from film(window)
    window.shot("hover")

    drawn = []  # moments at which a viewport was drawn that shows all clicks
    handle = bpy.types.SpaceView3D.draw_handler_add(
        lambda: None if work.is_thinking else drawn.append(time.monotonic()), (), "WINDOW", "POST_PIXEL"
    )
    yield from window.click(*head)
    yield from settled(window, work, "the first click was answered")
    record["clicks"] = [len(work.part.clicks)]
    record["levels"] = []
    window.shot("first_click")
    for _ in range(3):
        yield from window.key("TAB", *head)
        record["levels"].append(int(work.part.preview.polygons.sum()))
    yield from window.wheel("WHEELUPMOUSE", *head, notches=16, ctrl=True)
    yield from settled(window, work, "the size was answered")
    record["wheel_up"] = int(work.part.preview.polygons.sum())
    yield from window.wheel("WHEELDOWNMOUSE", *head, notches=24, ctrl=True)
    yield from settled(window, work, "the size was answered")
    record["wheel_down"] = int(work.part.preview.polygons.sum())

    yield from window.move(*body)
    drawn.clear()
    pressed = time.monotonic()
    yield from window.click(*body, ctrl=True)
    yield from settled(window, work, "the second click was answered")
    bpy.types.SpaceView3D.draw_handler_remove(handle, "WINDOW")
    # Without the two movements of the mouse that precede the press.
    record["click_to_draw"] = [moment - pressed - 0.3 for moment in drawn if moment > pressed + 0.3]
    record["faces"] = len(obj().data.polygons)
    record["clicks"].append(len(work.part.clicks))
    record["signs"] = [click.positive for click in work.part.clicks]
    record["excluded"] = bool(work.part.preview.polygons[work.part.clicks[1].polygon])
    window.shot("second_click")

    place = work.part.clicks[1].place
    yield from window.drag(body, (body[0] + 30, body[1] + 20))
    record["dragged"] = [
        len(work.part.clicks),
        work.part.clicks[1].place != place,
        work.part.clicks[1].positive,
    ]
    yield from window.click(body[0] + 30, body[1] + 20)  # on the dot
    record["clicks"].append(len(work.part.clicks))
    yield from window.click(*body, ctrl=True)
    yield from window.key("BACK_SPACE", *body)
    record["clicks"].append(len(work.part.clicks))
    yield from window.click(*window.sidebar_point(700))  # below the panels
    record["clicks"].append(len(work.part.clicks))


def accepting(window: WindowDriver, obj: object) -> Steps:
    """Three parts, one after another; the pictures are those of the README."""
    record, session = window.record, window.session()
    work = session.clicks
    head, body, arm = (window.view_point(*place) for place in (HEAD, BODY, ARM))
    record["parts"] = []
    yield from settled(window, work, "taking back was answered")
    yield from window.key("ONE", *head)
    yield from film(window)
    yield from window.key("RET", *head)
    yield from settled(window, work, "the first part was accepted")
    record["parts"].append(len(obj().data.partsam.parts))
    yield from film(window)
    yield from window.move(*arm)
    yield 0.3
    yield from window.wait_for(lambda: work.part.hover is not None, 30, "the part under the mouse was shown")
    record["hover_moved"] = not work.part.hover.polygons[work.accepted[0].preview.clicks[0].polygon]
    yield from film(window)
    yield from window.click(*arm)
    yield from window.key("RET", *arm)  # while it may still be thinking
    yield from settled(window, work, "the second part was accepted")
    record["parts"].append(len(obj().data.partsam.parts))
    yield from film(window)
    record["last_operator"] = bpy.context.window_manager.operators[-1].bl_idname
    window.shot("accepted")
    yield from window.click(*body)
    yield from settled(window, work, "the third part was shown")
    yield from film(window)
    # Over another editor, too.
    editor = next(area for area in bpy.context.window.screen.areas if area.type == "PROPERTIES")
    yield from window.key("RET", editor.x + editor.width / 2, editor.y + editor.height / 3)
    yield from settled(window, work, "the third part was accepted")
    record["parts"].append(len(obj().data.partsam.parts))
    yield from window.move(*window.view_point(0.15, 0.2))
    yield 0.5
    yield from film(window)
    record["undone"] = []
    for _ in range(2):
        for held in ({"ctrl": True}, {"ctrl": True, "shift": True}):
            yield from window.key("Z", *body, **held)
            yield from settled(window, work, "undo and redo were followed")
            counts = len(obj().data.partsam.parts), len(work.accepted), len(work.part.clicks)
            record["undone"].append(list(counts))
            window.shot(f"undone_{len(record['undone'])}")
    record["still_running"] = session.clicks is work
    record["problem"] = str(session.problem)


def film(window: WindowDriver) -> Steps:
    """One more frame."""
    yield 0.4
    frames = window.record.setdefault("film", [])
    frames.append(f"film_{len(frames)}")
    window.shot(frames[-1])


def nothing_else(window: WindowDriver, obj: object) -> Steps:
    """Navigation reaches Blender, and nothing else does."""
    record = window.record
    body, beside = window.view_point(*BODY), window.view_point(0.12, 0.2)
    turned = window.view_matrix()
    yield from window.key("NUMPAD_6", *body)
    yield from window.wait_for(lambda: window.view_matrix() != turned, 10, "the view was turned")
    yield from window.key("NUMPAD_4", *body)
    yield 0.5
    yield from layout_keys(window, obj)
    place = list(obj().location)
    for key in ("G", "X", "X", "DEL", "A", "H", "H"):
        yield from window.key(key, *body)
    yield from window.click(*beside)
    yield from window.click(*beside, button="RIGHTMOUSE")
    record["untouched"] = [
        list(obj().location) == place,
        bpy.context.mode,
        obj().select_get(),
        bpy.context.view_layer.objects.active == obj(),
        len(bpy.data.objects),
    ]


def layout_keys(window: WindowDriver, obj: object) -> Steps:
    """Maximise and quad view by their keys; the tool goes on in each layout."""
    work, record = window.session().clicks, window.record
    record["layouts"] = []
    for key, held in (("SPACE", {"ctrl": True}), ("Q", {"ctrl": True, "alt": True})):
        for _ in range(2):
            yield from window.key(key, *window.view_point(*BODY), **held)
            yield 1.0
            quad = len(window.area.spaces.active.region_quadviews)
            record["layouts"].append([bpy.context.screen.show_fullscreen, quad])
    yield from window.click(*window.view_point(*ARM))
    yield from settled(window, work, "a click after all layouts was answered")
    record["clicks_after_layouts"] = len(work.part.clicks)
    work.restart(None)


def leaving(window: WindowDriver, obj: object) -> Steps:
    record, session = window.record, window.session()
    body = window.view_point(*BODY)
    yield from window.click(*body)
    yield from window.key("ESC", *window.sidebar_point(500))
    yield from window.wait_for(lambda: session.clicks is None, 20, "Esc over the sidebar ended the tool")
    record["parts_after_leaving"] = len(obj().data.partsam.parts)
    tools = bpy.context.workspace.tools
    record["tool_after"] = tools.from_space_view3d_mode("OBJECT").idname
    yield from window.move(*body)
    yield 0.5
    record["ended_for_good"] = session.clicks is None
    record["parts_after_undo"] = []
    for _ in range(3):
        yield from window.key("Z", *body, ctrl=True)
        yield 0.4
        record["parts_after_undo"].append(len(obj().data.partsam.parts))


def other_ends(window: WindowDriver) -> Steps:
    record, session = window.record, window.session()
    with bpy.context.temp_override(area=window.area, region=window.region()):
        bpy.ops.partsam.click_part("INVOKE_DEFAULT")
    yield 0.3
    bpy.ops.wm.read_homefile()
    yield 1.0
    record["after_loading"] = [session.clicks is None, session.is_busy]

    with bpy.context.temp_override(area=window.area, region=window.region()):
        bpy.ops.partsam.click_part("INVOKE_DEFAULT")
    yield 0.3
    process = session.backend.pid
    name = type(session).__module__.rpartition(".partsam_addon")[0]
    bpy.ops.preferences.addon_disable(module=name)
    yield from window.click(*window.view_point(0.5, 0.5))
    record["after_disabling"] = [session.clicks is None, session.backend is None, is_running(process)]
    bpy.ops.preferences.addon_enable(module=name)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


run(scenario)
