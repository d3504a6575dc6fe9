# SPDX-License-Identifier: GPL-3.0-or-later
"""The zips as a user gets them: installed from disk by Blender's own means, into a clean user folder.

`python dev.py test` builds them first; where their wheels cannot be had, the tests are skipped and say so.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import bpy
import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).with_name("installed_zip.py")
MESH = ROOT / "tests" / "data" / "knight_fused.glb"
SECONDS = 500
NAMES = {"full": "blender-4.2-to-5.0", "light": "light"}

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or bpy.app.version[:2] != (4, 5), reason="run once: on Linux, in Blender 4.5"
)


def installed(kind: str, tmp_path: Path, *, network: bool, **variables: str) -> dict[str, object]:
    """What `installed_zip.py` records, for a user with a long name that is not ASCII."""
    zips = sorted((ROOT / "build").glob(f"partsam-*-linux_x64-{NAMES[kind]}.zip"))
    if not zips:
        pytest.skip(f"no {kind} zip in build/: python dev.py build --platform linux-x64")
    user, record = tmp_path / "Użytkownik o długiej nazwie Ω", tmp_path / "record.json"
    user.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PARTSAM_", "UV_"))}
    run = subprocess.run(
        [*([] if network else without_network()), sys.executable, SCRIPT, kind, zips[-1], MESH, record],
        env={
            **kept,
            "BLENDER_USER_RESOURCES": str(user),
            "PARTSAM_FOLDER": str(tmp_path / "machine Ω"),
            **variables,
        },
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert record.is_file(), run.stdout[-3000:] + run.stderr[-3000:]
    return json.loads(record.read_text(encoding="utf-8"))


def without_network() -> list[str]:
    """The command that runs another without any network, where the system lets us."""
    command = ["unshare", "--map-root-user", "--net"]
    try:
        allowed = subprocess.run([*command, "true"], capture_output=True).returncode == 0
    except OSError:
        allowed = False
    blocked = [f"{name}=http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "all_proxy")]
    return command if allowed else ["env", *blocked]


def test_the_full_zip_segments_without_set_up_and_without_network(tmp_path: Path) -> None:
    found = installed("full", tmp_path, network=False)
    assert found["done"] == ["FINISHED"] and found["parts"] >= 2
    assert found["clicked"] > 0
    assert found["same_python"], "the backend runs in Blender's own Python"
    assert found["left"] == [], "uninstalling leaves no file"
    assert not (tmp_path / "machine Ω").exists()


def test_the_light_zip_sets_up_with_its_own_uv_and_ends_it_when_disabled(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.create_server(("127.0.0.1", 0)) as closed:
        gone = closed.getsockname()[1]
        closed.close()
        found = installed(
            "light",
            tmp_path,
            network=True,
            UV_NO_CONFIG="1",
            UV_HTTP_RETRIES="0",
            UV_DEFAULT_INDEX=f"http://127.0.0.1:{gone}/",
            UV_PYTHON_INSTALL_MIRROR=f"http://127.0.0.1:{gone}/",
            PARTSAM_TEST_SILENT=f"http://127.0.0.1:{silent.getsockname()[1]}/",
        )
    assert "comes without PyTorch" in found["message"]
    assert "could not be reached" in found["refused"]["problem"]
    assert any("127.0.0.1" in line for line in found["refused"]["printed"]), "uv's last lines are shown"
    assert found["python"] == "None" and found["environments"] == [] and found["running"] == []
    assert found["left"] == []
