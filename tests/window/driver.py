# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps through a scenario inside Blender's window: simulated input, waiting, screenshots.

A scenario is a Python file that Blender runs with `--python`. It calls `run(steps)`, where `steps(window)`
is a generator: each `yield seconds` lets Blender handle events and redraw. What it records goes as JSON
into the folder `PARTSAM_WINDOW_OUTPUT`, together with its screenshots; Blender quits when it ends, in
whatever way.
"""

from __future__ import annotations

import importlib
import json
import os
import struct
import time
import traceback
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import bpy
import numpy as np
from mathutils import Euler

Steps = Iterator[float]

OUTPUT = Path(os.environ["PARTSAM_WINDOW_OUTPUT"])
FRAME_BUFFER = os.environ.get("BLENDER_GUI_FB", "")


class WindowDriver:
    """The mouse, the keyboard and the eyes of a test.

    address: of the window that it is in; 0: the active one
    """

    def __init__(self) -> None:
        self.record: dict[str, object] = {}
        self.address = 0

    @property
    def window(self) -> bpy.types.Window:
        """The window that it is in."""
        windows = {window.as_pointer(): window for window in bpy.context.window_manager.windows}
        return windows.get(self.address, bpy.context.window)

    @property
    def area(self) -> bpy.types.Area:
        """The 3D viewport."""
        return next(area for area in self.window.screen.areas if area.type == "VIEW_3D")

    def region(self, kind: str = "WINDOW") -> bpy.types.Region:
        return next(region for region in self.area.regions if region.type == kind)

    def addon(self, module: str) -> ModuleType:
        """A module of the enabled extension."""
        names = [addon.module for addon in bpy.context.preferences.addons]
        name = next(name for name in names if name.endswith(".partsam"))
        return importlib.import_module(f"{name}.partsam_addon.{module}")

    def session(self) -> object:
        """The extension's session."""
        return self.addon("session").get_session()

    def move(self, x: float, y: float) -> Steps:
        """Move the mouse there in two steps: a button reacts only once it knows that the mouse is over it."""
        for offset in (-2, 0):
            self.window.event_simulate(type="MOUSEMOVE", value="NOTHING", x=int(x) + offset, y=int(y))
            yield 0.15

    def click(self, x: float, y: float, *, button: str = "LEFTMOUSE", **modifiers: bool) -> Steps:
        """modifiers: shift, ctrl, alt"""
        yield from self.move(x, y)
        for value in ("PRESS", "RELEASE"):
            self.window.event_simulate(type=button, value=value, x=int(x), y=int(y), **modifiers)
            yield 0.1

    def drag(self, start: tuple[float, float], stop: tuple[float, float], *, steps: int = 6) -> Steps:
        """Press at `start`, move to `stop`, release."""
        yield from self.move(*start)
        window = self.window
        window.event_simulate(type="LEFTMOUSE", value="PRESS", x=int(start[0]), y=int(start[1]))
        yield 0.15
        for step in range(1, steps + 1):
            x, y = (int(a + (b - a) * step / steps) for a, b in zip(start, stop, strict=True))
            window.event_simulate(type="MOUSEMOVE", value="NOTHING", x=x, y=y)
            yield 0.1
        window.event_simulate(type="LEFTMOUSE", value="RELEASE", x=int(stop[0]), y=int(stop[1]))
        yield 0.2

    def key(self, name: str, x: float, y: float, **modifiers: bool) -> Steps:
        """modifiers: shift, ctrl, alt"""
        yield from self.move(x, y)
        for value in ("PRESS", "RELEASE"):
            self.window.event_simulate(type=name, value=value, x=int(x), y=int(y), **modifiers)
            yield 0.1

    def wheel(self, name: str, x: float, y: float, *, notches: int = 1, **modifiers: bool) -> Steps:
        """Turn the wheel: WHEELUPMOUSE or WHEELDOWNMOUSE. modifiers: shift, ctrl, alt"""
        yield from self.move(x, y)
        for _ in range(notches):
            self.window.event_simulate(type=name, value="PRESS", x=int(x), y=int(y), **modifiers)
            yield 0.1

    def wait_for(self, condition: Callable[[], bool], seconds: float, what: str) -> Steps:
        """Until `condition`; AssertionError after `seconds`."""
        limit = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < limit, f"timed out: {what}"
            yield 0.2

    def open_tab(self, *, width: int = 340) -> Steps:
        """Show the sidebar's tab, `width` pixels wide."""
        self.area.spaces.active.show_region_ui = True
        yield 0.5
        self.region("UI").active_panel_category = "PartSAM"
        yield 0.5
        region = self.region("UI")
        edge, middle = region.x, region.y + region.height / 3
        yield from self.drag((edge, middle), (edge - (width - region.width), middle))
        yield 0.3

    def import_mesh(self, path: str) -> Callable[[], bpy.types.Object]:
        """Replace the scene by the mesh of a GLB file, as one object; returns a way to look it up."""
        for obj in list(bpy.data.objects):
            bpy.data.objects.remove(obj)
        bpy.ops.import_scene.gltf(filepath=path)
        meshes = [obj for obj in bpy.data.objects if obj.type == "MESH" and obj.visible_get()]
        with bpy.context.temp_override(
            active_object=meshes[0], object=meshes[0], selected_editable_objects=meshes
        ):
            bpy.ops.object.join()
        bpy.ops.object.select_all(action="DESELECT")
        meshes[0].select_set(True)
        bpy.context.view_layer.objects.active = meshes[0]
        bpy.ops.ed.undo_push(message="imported")
        name = meshes[0].name
        return lambda: bpy.data.objects[name]

    def label_by_height(self, obj: bpy.types.Object) -> None:
        """Give a mesh four parts, one above the other."""
        heights = np.array([polygon.center[2] for polygon in obj.data.polygons])
        labels = np.digitize(heights, np.quantile(heights, (0.3, 0.55, 0.8)))
        self.addon("parts").write_labels(obj.data, labels)

    def frame_selected(self) -> Steps:
        """Look at the selected objects from the front, a little from above and the side."""
        self.area.spaces.active.region_3d.view_rotation = Euler((1.35, 0.0, 0.5)).to_quaternion()
        with bpy.context.temp_override(area=self.area, region=self.region()):
            bpy.ops.view3d.view_selected()
        yield 0.5

    def view_matrix(self) -> list[float]:
        """Where the viewport looks from."""
        return [value for row in self.area.spaces.active.region_3d.view_matrix for value in row]

    def view_point(self, across: float, up: float) -> tuple[float, float]:
        """Window coordinates in the viewport: (0, 0) is its bottom left, (1, 1) its top right."""
        region = self.region()
        return region.x + across * region.width, region.y + up * region.height

    def sidebar_point(self, below_top: float) -> tuple[float, float]:
        """Window coordinates in the middle of the sidebar, so many pixels below its top edge."""
        region = self.region("UI")
        return region.x + region.width * 0.45, region.y + region.height - below_top

    def shot(self, name: str) -> None:
        """Save what is on the screen as `name`.png in the output folder."""
        (OUTPUT / f"{name}.png").write_bytes(png(*screen_pixels(FRAME_BUFFER)))


def run(scenario: Callable[[WindowDriver], Steps]) -> None:
    """Run `scenario` from a timer, record how it ended, and quit Blender."""
    bpy.context.preferences.view.show_splash = False
    driver = WindowDriver()
    steps = scenario(driver)

    def step() -> float | None:
        try:
            return next(steps)
        except StopIteration:
            finish(driver, None)
        except BaseException:
            finish(driver, traceback.format_exc())
        return None

    bpy.app.timers.register(step, first_interval=1.5, persistent=True)


def finish(driver: WindowDriver, error: str | None) -> None:
    if error is not None and FRAME_BUFFER:
        driver.shot("failure")
    text = json.dumps({"error": error, **driver.record}, indent=1)
    (OUTPUT / "record.json").write_text(text, encoding="utf-8")
    bpy.ops.wm.quit_blender()


def screen_pixels(path: str) -> tuple[int, int, bytes]:
    """Width, height and RGB rows (top first) of an X server's screen: an XWD file, 32 bits a pixel."""
    data = Path(path).read_bytes()
    fields = struct.unpack(">25I", data[:100])
    header, width, height, stride, colors = fields[0], fields[4], fields[5], fields[12], fields[19]
    first = header + 12 * colors
    rows = bytearray()
    for top in range(first, first + stride * height, stride):
        bgrx = data[top : top + 4 * width]
        row = bytearray(3 * width)
        row[0::3], row[1::3], row[2::3] = bgrx[2::4], bgrx[1::4], bgrx[0::4]
        rows += row
    return width, height, bytes(rows)


def png(width: int, height: int, rgb: bytes) -> bytes:
    """A PNG file of RGB rows."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    size = 3 * width
    lines = b"".join(b"\0" + rgb[start : start + size] for start in range(0, len(rgb), size))
    head = struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(lines, 4)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)
