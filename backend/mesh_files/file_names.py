# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding the files that a mesh file names: written on another system, in another encoding or case."""

from __future__ import annotations

from pathlib import Path


def find_beside(folder: Path, name: str) -> Path | None:
    """The file that `name` means: at that place under `folder`, else directly in it; None if absent.

    Slashes may lean either way, and letters may be of the other case.
    """
    relative = Path(name.strip().strip('"').replace("\\", "/"))
    for candidate in dict.fromkeys((relative, Path(relative.name))):
        found = _existing(folder, candidate)
        if found is not None:
            return found
    return None


def _existing(folder: Path, relative: Path) -> Path | None:
    place = folder / relative
    try:
        if place.is_file():
            return place
        if relative.is_absolute():
            return None
        for part in relative.parts:
            folder = folder / part if part == ".." else _entry(folder, part)
    except (OSError, ValueError, StopIteration):
        return None
    return folder if folder.is_file() else None


def _entry(folder: Path, name: str) -> Path:
    """The entry `name` of a folder, whatever its case; StopIteration if there is none."""
    return next(entry for entry in sorted(folder.iterdir()) if entry.name.casefold() == name.casefold())
