# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files a batch has: from a folder or a list, and which of them fall to one of many jobs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError
from ..mesh_files import READABLE_SUFFIXES
from .records import path_id


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


def find_inputs(source: Path) -> list[Input]:
    """The files of a folder, at any depth and sorted, or of a text file with one path per line.

    Relative paths in a list start at the list's folder. Raises DataError for what cannot be read.
    """
    if source.is_dir():
        found = (p for p in source.rglob("*") if p.suffix.lower() in READABLE_SUFFIXES and p.is_file())
        return [Input(path.relative_to(source).as_posix(), str(path)) for path in sorted(found)]
    try:
        text = source.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{source} is neither a folder with mesh files nor a text file with one path per line ({error})"
        ) from error
    lines = [line.strip() for line in text.splitlines()]
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
