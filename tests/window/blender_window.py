# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts Blender with a window, installs the built zip, and plays scenarios in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCENARIOS = Path(__file__).resolve().parent / "scenarios"
LAUNCHER_VARIABLE = "PARTSAM_WINDOW_BLENDER"
LAUNCHER = Path(os.environ.get(LAUNCHER_VARIABLE) or ROOT.parent / "shared" / "blender" / "gui_blender.sh")
SECONDS = 400


def blender(*arguments: str | Path, environment: dict[str, str], seconds: int) -> None:
    """Run Blender to its end; a failure shows what it printed."""
    run = subprocess.run(
        [LAUNCHER, *arguments],
        env={**os.environ, **environment, "BLENDER_GUI_TIMEOUT": str(seconds)},
        capture_output=True,
        text=True,
        timeout=seconds + 120,  # it may have to be unpacked first
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]


def install(profile: Path) -> None:
    """Install and enable the built zip in an empty profile of Blender's."""
    zips = sorted((ROOT / "build").glob("partsam-*[0-9].zip"))
    assert zips, "build the extension first: python dev.py build --plain"
    blender(
        *("--command", "extension", "install-file", "-r", "user_default", "-e", zips[-1]),
        environment={"BLENDER_USER_RESOURCES": str(profile)},
        seconds=120,
    )
    assert (profile / "extensions" / "user_default" / "partsam" / "blender_manifest.toml").is_file()


def play_scenario(
    name: str, profile: Path, output: Path, *, seconds: int = SECONDS, **variables: str
) -> dict[str, object]:
    """Run a scenario in the window; what it recorded, with the error that ended it or None.

    profile: where the zip is installed; output: an empty folder for its screenshots
    """
    environment = {
        "BLENDER_USER_RESOURCES": str(profile),
        "PARTSAM_FOLDER": str(profile / "machine"),
        "PARTSAM_WINDOW_OUTPUT": str(output),
        "PARTSAM_WINDOW_MESH": str(ROOT / "tests" / "data" / "knight_fused.glb"),
        "PARTSAM_BACKEND_PYTHON": sys.executable,
        "PARTSAM_WINDOW_PYTHON": sys.executable,
        "PARTSAM_MODEL": "",
        **variables,
    }
    script = SCENARIOS / f"{name}.py"
    blender("--enable-event-simulate", "--python", script, environment=environment, seconds=seconds)
    record: dict[str, object] = json.loads((output / "record.json").read_text(encoding="utf-8"))
    return record
