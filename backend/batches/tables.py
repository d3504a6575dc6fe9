# SPDX-License-Identifier: GPL-3.0-or-later
"""A batch's output folder: tables of records, and the manifest that says which inputs are done.

An input's line is written after the table that holds its record. A run that was killed goes on where the
manifest ends; records that had not reached a table are made again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..mesh_files.atomic import atomic_writer
from ..mesh_files.optional import optional_module
from .records import table_schema

FORMATS = ("parquet", "jsonl")


class RecordTables:
    """Writes records to `table*.parquet` (or `table*.jsonl` and `labels/ID.npy`) and the manifest."""

    def __init__(
        self, folder: Path, *, suffix: str = "", kind: str = "parquet", rows_per_table: int = 256
    ) -> None:
        if kind == "parquet":
            optional_module("pyarrow.parquet", "writing Parquet tables")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"cannot write to {folder} ({error.strerror or error})") from error
        self._folder, self._suffix, self._kind, self._size = folder, suffix, kind, rows_per_table
        self._manifest = folder / f"manifest{suffix}.jsonl"
        self._rows: list[dict[str, Any]] = []

    def add(self, row: Mapping[str, Any]) -> None:
        """Take the row of a record; every so many are written."""
        self._rows.append(dict(row))
        if len(self._rows) >= self._size:
            self.flush()

    def flush(self) -> None:
        """Write what was taken since the last time. Raises MeshFileError, DataError if that fails."""
        if not self._rows:
            return
        number = sum(1 for _ in self._folder.glob(f"table{self._suffix}-*.{self._kind}"))
        path = self._folder / f"table{self._suffix}-{number:05d}.{self._kind}"
        self._write(path)
        lines = [
            json.dumps(
                {key: row[key] for key in ("id", "path", "error", "detail", "part_count")}
                | {"table": path.name}
            )
            for row in self._rows
        ]
        try:
            with self._manifest.open("a", encoding="utf-8") as file:
                file.write("\n".join([*lines, ""]))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise DataError(f"cannot write {self._manifest} ({error.strerror or error})") from error
        self._rows = []

    def _write(self, path: Path) -> None:
        if self._kind == "parquet":
            arrow = optional_module("pyarrow", "writing Parquet tables")
            parquet = optional_module("pyarrow.parquet", "writing Parquet tables")
            table = arrow.Table.from_pylist(self._rows, schema=table_schema())
            with atomic_writer(path) as file:
                parquet.write_table(table, file, compression="zstd")
            return
        labels = self._folder / "labels"
        labels.mkdir(exist_ok=True)
        for row in self._rows:
            if not row["error"]:
                with atomic_writer(labels / f"{row['id']}.npy") as file:
                    file.write(row["labels"])
        with atomic_writer(path) as file:
            for row in self._rows:
                file.write(json.dumps({k: v for k, v in row.items() if k != "labels"}).encode() + b"\n")


def done_ids(folder: Path, *, retry_failed: bool = False) -> set[str]:
    """Ids of the inputs that a manifest in `folder` knows; a line that was cut off is not one."""
    return {entry["id"] for entry in manifest_entries(folder) if not (retry_failed and entry["error"])}


def manifest_entries(folder: Path) -> Iterator[dict[str, Any]]:
    """The lines of all manifests in a folder; the last one about an input counts."""
    entries: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("manifest*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
                entries[entry["id"]] = entry
            except (ValueError, KeyError, TypeError):
                continue
    yield from entries.values()
