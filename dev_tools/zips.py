# SPDX-License-Identifier: GPL-3.0-or-later
"""The extension's zips and a repository of them, by Blender's own tool.

A full zip brings torch and the rest as wheels, for one platform and one Python. A light one brings uv, which
fetches them. A plain one brings neither: the tests and the demo run it with an existing Python.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .wheels import Wheel, fetch, locked, sha256

ROOT = Path(__file__).resolve().parents[1]
MANIFEST = "blender_manifest.toml"
SOURCES = (
    "__init__.py",
    "LICENSE",
    "README.md",
    "ARCHITECTURE.md",
    "backend",
    "partsam_addon",
    "docs",
    "wheels",
)
PLAIN = "partsam-*[0-9].zip"
MEGABYTE = 10**6
PLATFORM_LIMIT = 200 * MEGABYTE
"""What extensions.blender.org takes of one file."""


@dataclass(frozen=True)
class Kind:
    """One kind of zip.

    suffix: of its name; python: of its wheels, None where they fit any
    oldest, newest: versions of Blender: from, and below; "" for no limit
    """

    suffix: str
    python: str | None
    zips: tuple[str, ...]
    oldest: str = ""
    newest: str = ""


FULL = (
    Kind("blender-4.2-to-5.0", "3.11", ("full", "both"), newest="5.1.0"),
    Kind("blender-5.1-and-newer", "3.13", ("full", "both"), oldest="5.1.0"),
)
LIGHT = Kind("light", None, ("both",))


class Builder:
    """Runs Blender's extension tool.

    tool: the command that starts it, a Python with pip first; output: folder for the zips
    website: where this extension is published, for the manifests of the zips; "" for nowhere
    """

    def __init__(self, tool: Sequence[str | Path], output: Path, *, website: str = "") -> None:
        self._website = website
        self._tool = tool
        self._output = output

    def plain(self) -> Path:
        """The zip without wheels; quick, and needs no network."""
        self._output.mkdir(parents=True, exist_ok=True)
        for old in self._output.glob(PLAIN):
            old.unlink()
        self._run("build", "--source-dir", ROOT, "--output-dir", self._output)
        return next(self._output.glob(PLAIN))

    def build(self, kind: Kind, platforms: Sequence[str]) -> list[Path]:
        """Fetch the wheels of `kind` and build its zip for each platform. Raises WheelsMissing."""
        wheels = [
            wheel
            for wheel in locked()
            if wheel.zips in kind.zips and any(wheel.fits(platform, kind.python) for platform in platforms)
        ]
        fetch(wheels, self._tool[0])
        self._output.mkdir(parents=True, exist_ok=True)
        made = []
        with _staged(self._output) as (source, folder):
            manifest = manifest_for(kind, platforms, wheels, website=self._website)
            (source / MANIFEST).write_text(manifest, encoding="utf-8")
            for wheel in wheels:
                _link(wheel.path, source / "wheels" / wheel.file)
            self._run("build", "--split-platforms", "--source-dir", source, "--output-dir", folder)
            for built in sorted(folder.glob("*.zip")):
                self._run("validate", built)
                made.append(built.replace(self._output / f"{built.stem}-{kind.suffix}.zip"))
        return made

    def repository(self, zips: Sequence[Path]) -> Path:
        """A folder with `zips` and their `index.json`, for any web server."""
        folder = self._output / "repository"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for path in zips:
            _link(path, folder / path.name)
        self._run("server-generate", "--repo-dir", folder, "--html")
        return folder

    def _run(self, *words: str | Path) -> None:
        subprocess.run([*self._tool, *words], check=True)


def describe(path: Path) -> str:
    """Name, size and hash of a zip, and whether extensions.blender.org takes it."""
    size = path.stat().st_size
    over = "" if size <= PLATFORM_LIMIT else f" (over {PLATFORM_LIMIT // MEGABYTE} MB: host it elsewhere)"
    return f"{path.name}: {size / MEGABYTE:.1f} MB{over}, sha256 {sha256(path)}"


def manifest_for(kind: Kind, platforms: Sequence[str], wheels: Sequence[Wheel], *, website: str = "") -> str:
    """The manifest with the lines that differ between zips."""
    text = (ROOT / MANIFEST).read_text(encoding="utf-8")
    lines = [f"platforms = {_list(platforms)}", f"wheels = {_list(f'./wheels/{w.file}' for w in wheels)}"]
    if website:
        lines.append(f'website = "{website}"')
    if kind.newest:
        lines.append(f'blender_version_max = "{kind.newest}"')
    if kind.oldest:
        text = text.replace('blender_version_min = "4.2.0"', f'blender_version_min = "{kind.oldest}"')
    head, mark, tail = text.partition("[permissions]")
    return "\n".join([head.rstrip(), *lines, "", mark + tail])


@contextlib.contextmanager
def _staged(output: Path) -> Iterator[tuple[Path, Path]]:
    """A copy of the sources, without wheels and manifest; and an empty folder."""
    with tempfile.TemporaryDirectory(dir=output) as folder:
        source, zips = Path(folder, "partsam"), Path(folder, "zips")
        zips.mkdir()
        source.mkdir()
        for name in SOURCES:
            path = ROOT / name
            if path.is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "*.whl")
                shutil.copytree(path, source / name, copy_function=_link, ignore=ignored)
            else:
                _link(path, source / name)
        yield source, zips


def _link(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk, or a file system without links
        shutil.copy2(source, target)


def _list(values: Iterator[str] | Sequence[str]) -> str:
    return "[" + ", ".join(f'"{value}"' for value in values) + "]"
