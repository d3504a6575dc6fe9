# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifest of a folder of shards: one JSON line for every file, or shape, that was looked at.

Lines are only ever appended, and a file's line is written after the shard that holds its shape. A run that
was killed therefore continues where the manifest ends; a last line that was cut off is dropped.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ..errors import DataError


@dataclass(frozen=True)
class Entry:
    """path: relative to the curated folder, or `SHARD#ROW`
    size, modified_ns: to notice that a file has changed
    status: "kept" or "rejected"; reason, detail: why rejected, else empty
    shard, row: where a kept shape is; labelings: their names; parts: how many each has
    """

    path: str
    size: int
    modified_ns: int
    sha256: str
    status: str
    reason: str = ""
    detail: str = ""
    shard: str = ""
    row: int = -1
    labelings: tuple[str, ...] = ()
    parts: tuple[int, ...] = ()

    @classmethod
    def from_json(cls, text: str) -> Entry:
        """An entry of one line of a manifest. Raises ValueError, TypeError or KeyError for another line."""
        fields = json.loads(text)
        return cls(**{**fields, "labelings": tuple(fields["labelings"]), "parts": tuple(fields["parts"])})


class Manifest:
    """The manifest of one output folder. Later lines about a file replace earlier ones."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._entries: dict[str, Entry] = {}
        for entry in _read_entries(path):
            self._entries[entry.path] = entry

    @property
    def entries(self) -> tuple[Entry, ...]:
        return tuple(self._entries.values())

    def find(self, path: str, size: int, modified_ns: int) -> Entry | None:
        """The entry of an unchanged file, or None."""
        entry = self._entries.get(path)
        if entry is None or (entry.size, entry.modified_ns) != (size, modified_ns):
            return None
        return entry

    def append(self, entries: Sequence[Entry]) -> None:
        """Write lines and wait until they are on the disk."""
        if not entries:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as stream:
                stream.writelines(json.dumps(asdict(entry)) + "\n" for entry in entries)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise DataError(f"cannot write {self.path} ({error.strerror or error})") from error
        self._entries.update({entry.path: entry for entry in entries})

    def shard_names(self) -> set[str]:
        """Shards that hold kept shapes."""
        return {entry.shard for entry in self._entries.values() if entry.shard}

    def reasons(self) -> Counter[str]:
        """How many files were kept and how many rejected for which reason."""
        return Counter(entry.reason or entry.status for entry in self._entries.values())


def _read_entries(path: Path) -> list[Entry]:
    """Entries of an existing manifest; a torn last line is cut off, any other damage is a DataError."""
    if not path.exists():
        return []
    try:
        data = path.read_bytes()
        complete = data[: data.rfind(b"\n") + 1]
        if len(complete) < len(data):
            with path.open("r+b") as stream:
                stream.truncate(len(complete))
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror or error})") from error
    entries = []
    for number, line in enumerate(complete.decode("utf-8", errors="replace").splitlines(), start=1):
        try:
            entry = Entry.from_json(line)
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(f"{path}, line {number} is damaged ({error}); mend or remove it") from error
        entries.append(entry)
    return entries
