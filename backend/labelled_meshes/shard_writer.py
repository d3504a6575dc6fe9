# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes shapes into shards of a folder, and beside them the manifest that says what became of each input."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ..errors import DataError
from .manifest import Entry, Manifest
from .shards import ShapeSet, packed_shapes, unpacked_shapes, write_shard

MANIFEST_NAME = "manifest.jsonl"
TRY_AGAIN = ("timeout", "crashed", "out_of_memory")
"""Reasons for rejection that may be the machine's fault: another run with more time or memory tries again."""


class ShardWriter:
    """Collects shapes, and writes shard and manifest lines together, the shard first; holds one shard."""

    def __init__(self, output: Path, manifest: Manifest, size: int) -> None:
        self._output, self._manifest, self._size = output, manifest, size
        self._entries: list[Entry] = []
        self._shapes: list[ShapeSet] = []

    def add(self, entry: Entry, shape: ShapeSet | None) -> None:
        """Take what is known of an input, and its shape where that is kept."""
        if shape is None:
            self._entries.append(entry)
        else:
            self._entries.append(replace(entry, row=len(self._shapes)))
            self._shapes.append(shape)
        if len(self._shapes) == self._size:
            self.flush()

    def flush(self) -> None:
        """Write what was taken. Raises DataError where that fails."""
        if self._shapes:
            # A shard that a killed run left without manifest lines is written anew under the same name.
            name = f"shard_{len(self._manifest.shard_names()):03d}.npz.xz"
            try:
                write_shard(self._output / name, ShapeSet.concatenate(self._shapes))
            except OSError as error:
                raise DataError(f"cannot write {self._output / name} ({error.strerror or error})") from error
            self._entries = [replace(e, shard=name) if e.status == "kept" else e for e in self._entries]
        self._manifest.append(self._entries)
        self._entries, self._shapes = [], []


def shape_row(entry: Entry, shape: ShapeSet | None = None) -> dict[str, Any]:
    """An entry and the shape that it keeps, as a row that engines can pass on."""
    return {
        "name": entry.path,
        "entry": json.dumps(asdict(entry)),
        "shape": b"" if shape is None else packed_shapes(shape),
    }


def unpacked_row(row: dict[str, Any]) -> tuple[Entry, ShapeSet | None]:
    """The inverse of `shape_row`."""
    entry = Entry.from_json(row["entry"])
    return entry, unpacked_shapes(bytes(row["shape"])) if row["shape"] else None
