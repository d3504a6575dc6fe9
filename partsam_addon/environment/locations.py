# SPDX-License-Identifier: GPL-3.0-or-later
"""Where things of ours lie on this machine: the environments, shared by all versions of Blender, and uv."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath

FOLDER_VARIABLE = "PARTSAM_FOLDER"
"""Environment variable that names the folder of environments; it wins over the usual place."""

SYSTEMS = {"win32": "win", "darwin": "mac"}
MACHINES = {"amd64": "x64", "x86_64": "x64", "aarch64": "arm64"}


def machine_folder(
    *,
    system: str = sys.platform,
    machine: str | None = None,
    variables: Mapping[str, str] = os.environ,
    home: str | None = None,
) -> PurePath:
    """The folder of environments on a system: short, because Windows ends paths at 260 characters.

    A home folder may be shared by machines of several kinds, so it ends in the kind of this one.
    """
    base: PurePath
    home = str(Path.home()) if home is None else home
    if variables.get(FOLDER_VARIABLE):
        base = (
            PureWindowsPath(variables[FOLDER_VARIABLE])
            if system == "win32"
            else PurePosixPath(variables[FOLDER_VARIABLE])
        )
    elif system == "win32":
        local = variables.get("LOCALAPPDATA")
        base = PureWindowsPath(local or PureWindowsPath(home, "AppData", "Local")) / "PartSAM"
    elif system == "darwin":
        base = PurePosixPath(home, "Library", "Application Support", "PartSAM")
    else:
        shared = variables.get("XDG_DATA_HOME")
        base = PurePosixPath(shared or PurePosixPath(home, ".local", "share")) / "partsam"
    kind = (machine or platform.machine()).lower()
    return base / f"{SYSTEMS.get(system, system)}-{MACHINES.get(kind, kind)}"


def find_uv(search_path: Iterable[str]) -> Path | None:
    """The uv program among packages that Blender unpacked from wheels; None where it is not.

    Blender unpacks a wheel's programs where they lie in it, without the right to be run.
    """
    name = "uv.exe" if sys.platform == "win32" else "uv"
    for entry in search_path:
        found = sorted(Path(entry).glob(f"uv-*.data/scripts/{name}")) if entry else []
        if found:
            return found[-1]
    return None
