# SPDX-License-Identifier: GPL-3.0-or-later
"""Run by test_zips.py in a Blender of its own, with a clean user folder: what a user does with a zip.

    python installed_zip.py full|light ZIP MESH.glb RECORD.json

It installs the zip from disk and records, as JSON, what came of it.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy  # isort: skip
import addon_utils

PACKAGE = "bl_ext.user_default.partsam"
SECONDS = 120.0


def main() -> None:
    kind, archive, mesh, record = sys.argv[1:]
    addon_utils.enable("bl_pkg", default_set=True)  # Blender's extension manager
    bpy.ops.extensions.package_install_files(filepath=archive, repo="user_default", enable_on_install=True)
    found = full(mesh) if kind == "full" else light()
    repositories = [repo.module for repo in bpy.context.preferences.extensions.repos]
    bpy.ops.extensions.package_uninstall(repo_index=repositories.index("user_default"), pkg_id="partsam")
    user = Path(os.environ["BLENDER_USER_RESOURCES"])
    found["left"] = sorted(
        path.relative_to(user).as_posix()
        for path in (user / "extensions").rglob("*")
        if path.is_file() and path.name != "compat.dat"  # Blender's own cache
    )
    Path(record).write_text(json.dumps(found), encoding="utf-8")


def full(mesh: str) -> dict[str, Any]:
    """Press Segment, with neither Set Up nor a network."""
    bpy.ops.import_scene.gltf(filepath=mesh)
    shape = next(obj for obj in bpy.data.objects if obj.type == "MESH")
    bpy.context.view_layer.objects.active = shape
    shape.select_set(True)
    bpy.context.scene.partsam.prompts = 64
    bpy.context.window_manager.partsam.granularity = 1.0
    done = bpy.ops.partsam.segment()
    parts = sum(len(obj.data.partsam.parts) for obj in bpy.context.selected_objects)
    api = module("partsam_addon.api")
    largest = max(shape.data.polygons, key=lambda polygon: polygon.area)
    clicked = api.predict(shape, [tuple(shape.matrix_world @ largest.center)], [1])
    info = module("partsam_addon.session").get_session().backend.info
    return {
        "done": sorted(done),
        "parts": parts,
        "clicked": int(clicked.polygons.sum()),
        "torch": info["torch"],
        "same_python": sys.version.split()[0] == info["python"],
    }


def light() -> dict[str, Any]:
    """Set Up with the uv of the zip: refused by an index, then ended by disabling the add-on."""
    bpy.context.preferences.system.use_online_access = True
    session = module("partsam_addon.session").get_session()
    try:
        bpy.ops.partsam.segment()
        message = ""
    except RuntimeError as error:
        message = str(error)
    bpy.ops.partsam.set_up(cpu_only=True)
    wait_for(lambda: not session.setup.poll())
    refused = {"problem": session.setup.problem, "printed": list(session.setup.printed)}
    os.environ["UV_DEFAULT_INDEX"] = os.environ["PARTSAM_TEST_SILENT"]  # takes requests and never answers
    bpy.ops.partsam.set_up(cpu_only=True)
    wait_for(lambda: "Downloading" in session.setup.progress.step)
    choices = module("partsam_addon.session.choices")
    folder = choices.environment_folder()
    addon_utils.disable(PACKAGE, default_set=True)
    return {
        "message": message,
        "refused": refused,
        "python": str(folder.python()),
        "running": still_running(str(folder.root)),
        "environments": [path.name for path in folder.root.glob("env-*")],
    }


def still_running(folder: str) -> list[str]:
    """Command lines that name the folder, after what uv had just asked an interpreter has had time to end."""
    limit = time.monotonic() + 10
    while (found := [line for line in command_lines() if folder in line]) and time.monotonic() < limit:
        time.sleep(0.1)
    return found


def module(name: str) -> Any:
    return importlib.import_module(f"{PACKAGE}.{name}")


def wait_for(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.05)


def command_lines() -> list[str]:
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes().decode(errors="replace"))
        except OSError:
            continue
    return lines


if __name__ == "__main__":
    main()
    # Where something still refers to bpy, the module's own clean-up is left out, and its exit waits for
    # the thread that closes sound devices, for ever. Blender itself ends otherwise.
    sys.stdout.flush()
    os._exit(0)
