# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files a batch has: from a folder or a list, and which of them fall to one of many jobs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError
from ..mesh_files import READABLE_SUFFIXES
from .records import as_text, path_id

_OURS = re.compile(r".*\.[0-9a-f]{10}\.parts\.(glb|ply)")
"""Names that `default_output` gives."""


@dataclass(frozen=True)
class Input:
    """name: as the list has it, or relative to the folder: what records are known by
    place: what is opened; data: the content itself, of inputs that are no files of their own
    """

    name: str
    place: str
    data: bytes = b""

    @property
    def id(self) -> str:
        return path_id(self.name)


def find_inputs(source: Path, parts_folder: Path | None = None) -> list[Input]:
    """The files of a folder, at any depth and sorted, or of a text file with one path per line, or one mesh.

    Relative paths in a list start at the list's folder. What an earlier run wrote into `parts_folder`, which
    may lie in the folder, is no input. Raises DataError for what cannot be read, or is empty.
    """
    if source.is_dir():
        inputs = [file_input(path, source) for path in sorted(_mesh_files(source, parts_folder))]
        formats = ", ".join(suffix.lstrip(".") for suffix in sorted(READABLE_SUFFIXES))
        remedy = f"no file in {source} is of a format that is read ({formats})"
    elif source.is_file() and source.suffix.lower() in READABLE_SUFFIXES:
        return [file_input(source, source.parent)]
    else:
        inputs = _listed(source)
        remedy = f"{source} names no files; it needs one path per line"
    if not inputs:
        raise DataError(remedy)
    return inputs


def file_input(path: Path, folder: Path) -> Input:
    """A file under a folder; bytes of its name that are no UTF-8 are written as \\udcNN."""
    return Input(as_text(path.relative_to(folder).as_posix()), str(path))


def _mesh_files(folder: Path, parts_folder: Path | None) -> Iterator[Path]:
    """Broken links are among them: that they cannot be read is worth a row."""
    ours = parts_folder.resolve() if parts_folder else None
    for path in folder.rglob("*"):
        if path.suffix.lower() in READABLE_SUFFIXES:
            if _OURS.fullmatch(path.name) and path.parent.resolve() == ours:
                continue
            if path.is_file() or (path.is_symlink() and not path.exists()):
                yield path


def _listed(source: Path) -> list[Input]:
    try:
        text = source.read_text(encoding="utf-8-sig")  # Windows programs begin with a byte order mark
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{source} is neither a folder with mesh files nor a text file with one path per line ({error})"
        ) from error
    lines = [line.strip() for line in text.split("\n")]
    names = dict.fromkeys(line for line in lines if line and not line.startswith("#"))
    return [Input(name, name if "://" in name else str(source.parent / name)) for name in names]


@dataclass(frozen=True)
class Shard:
    """Job `number` of `count`, from 1: takes the inputs whose hash falls to it; jobs need not talk."""

    number: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise DataError(
                f"shard {self.number}/{self.count}: the first number must be from 1 to the second"
            )

    @property
    def suffix(self) -> str:
        """Of the names of this job's files, so that all jobs can write into one folder."""
        return "" if self.count == 1 else f"_{self.number}of{self.count}"

    def takes(self, item: Input) -> bool:
        return int(item.id[:12], 16) % self.count == self.number - 1
