# SPDX-License-Identifier: GPL-3.0-or-later
"""A static repository on 127.0.0.1, and Blender's own client that finds, installs and updates from it."""

from __future__ import annotations

import functools
import http.server
import json
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from plain_addon import ROOT

from dev_tools.zips import Builder

# Blender's extension tool is plain Python.
TOOL = next((ROOT / ".venv-bpy45").glob("**/site-packages/bpy/4.5/**/bl_pkg/cli/blender_ext.py"), None)

pytestmark = pytest.mark.skipif(
    TOOL is None, reason="Blender's extension tool comes with the bpy 4.5 environment"
)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


def tool(*words: str | Path) -> list[str]:
    """Run Blender's tool; the lines that it printed."""
    command = [sys.executable, TOOL, *words]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout.splitlines()


def zip_of_version(folder: Path, version: str, platform: str) -> Path:
    """A zip with our manifest and next to no code."""
    manifest = (ROOT / "blender_manifest.toml").read_text(encoding="utf-8")
    manifest = manifest.replace('version = "0.1.0"', f'version = "{version}"')
    head, mark, tail = manifest.partition("[permissions]")
    path = folder / f"partsam-{version}-{platform}.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "blender_manifest.toml",
            f'{head}platforms = ["{platform}"]\n\n{mark}{tail.partition("[build]")[0]}',
        )
        archive.writestr("__init__.py", "")
    return path


@pytest.fixture
def web_server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    (tmp_path / "web").mkdir()
    handler = functools.partial(Quiet, directory=str(tmp_path / "web"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/index.json", tmp_path / "web"
        server.shutdown()


def test_blender_installs_and_updates_from_the_repository(
    tmp_path: Path, web_server: tuple[str, Path]
) -> None:
    url, web = web_server
    local = tmp_path / "repository of a user"
    local.mkdir()
    remote = ("--remote-url", url, "--local-dir", local, "--local-cache", "1", "--access-token", "")
    builder = Builder([sys.executable, TOOL], tmp_path / "build")
    (tmp_path / "zips").mkdir()
    for version in ("0.1.0", "0.2.0"):
        zips = [zip_of_version(tmp_path / "zips", version, name) for name in ("linux-x64", "windows-x64")]
        shutil.rmtree(web)
        shutil.copytree(builder.repository(zips), web)
        index = json.loads((web / "index.json").read_text(encoding="utf-8"))
        assert [(item["id"], item["version"]) for item in index["data"]] == [("partsam", version)] * 2
        assert all(item["archive_hash"].startswith("sha256:") for item in index["data"])
        tool("sync", *remote[:4], "--online-user-agent", "test", "--force-exit-ok")
        tool(
            *("install", "partsam", *remote, "--online-user-agent", "test"),
            *("--blender-version", "4.5.0", "--python-version", "3.11.0"),
        )
        manifest = (local / "partsam" / "blender_manifest.toml").read_text(encoding="utf-8")
        assert f'version = "{version}"' in manifest
