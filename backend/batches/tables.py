# SPDX-License-Identifier: GPL-3.0-or-later
"""A batch's output folder: tables of records, and the manifest that says which inputs are done.

An input's line is written after the table that holds its record. A run that was killed goes on where its
tables end: lines that are missing are written first, records that had not reached a table are made again.
"""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..errors import DataError, MeshFileError
from ..mesh_files.atomic import atomic_writer
from ..mesh_files.optional import optional_module
from .records import table_schema

FORMATS = ("parquet", "jsonl")
_LONGEST_UNWRITTEN = 300.0
"""Seconds of work that are lost where a machine dies."""
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP}
"""What file systems without locks answer."""
_RESERVE = 8 << 20
"""Bytes that a batch keeps free on the disk for its last rows."""
_MANIFEST_COLUMNS = ("id", "path", "error", "detail", "part_count")


class RecordTables:
    """Writes records to `table*.parquet` (or `table*.jsonl` and `labels/ID.npy`) and the manifest."""

    def __init__(
        self, folder: Path, *, suffix: str = "", kind: str = "parquet", rows_per_table: int = 256
    ) -> None:
        if kind == "parquet":
            optional_module("pyarrow.parquet", "writing Parquet tables")
        make_folder(folder)
        self._folder, self._suffix, self._kind, self._size = folder, suffix, kind, rows_per_table
        self._manifest = folder / f"manifest{suffix}.jsonl"
        self._reserve = folder / f".reserve{suffix}"
        self._rows: list[dict[str, Any]] = []
        self._written = time.monotonic()
        self._complete_manifest()

    @contextmanager
    def open(self) -> Iterator[None]:
        """While rows are added; those that came last are written at its end, whatever ends it.

        Raises DataError at once where the disk is full. Where it becomes so meanwhile, there is room left for
        what was done.
        """
        try:
            self._take_reserve()
            yield
        finally:
            with suppress(OSError):  # rows matter more
                self._reserve.unlink(missing_ok=True)
            self.flush()

    def _take_reserve(self) -> None:
        try:
            with self._reserve.open("wb") as file:
                file.write(os.urandom(_RESERVE))  # zeros may take no room
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            reason = error.strerror or error
            raise DataError(
                f"cannot write to {self._folder} ({reason}); make room there, or name another folder"
            ) from error

    def add(self, row: Mapping[str, Any]) -> None:
        """Take the row of a record; every so many are written, and what came in some minutes."""
        self._rows.append(dict(row))
        if len(self._rows) >= self._size or time.monotonic() > self._written + _LONGEST_UNWRITTEN:
            self.flush()

    def flush(self) -> None:
        """Write what was taken since the last time. Raises DataError if that fails."""
        if not self._rows:
            return
        # An interrupt may come at any line: rows are written once, or else the next run makes them again.
        rows, self._rows, self._written = self._rows, [], time.monotonic()
        number = max((_number(path) for path in self._tables()), default=-1) + 1
        path = self._folder / f"table{self._suffix}-{number:05d}.{self._kind}"
        try:
            self._write(path, rows)
        except MeshFileError as error:
            self._rows = rows + self._rows
            raise DataError(f"{error}; once there is room, the same command goes on") from error
        self._append([_line(row, path) for row in rows])

    def _complete_manifest(self) -> None:
        """Write the lines of rows whose table was written before the run was killed, but not they.

        Also says before the work, not after it, that the folder cannot be written to.
        """
        text = self._manifest.read_text(encoding="utf-8") if self._manifest.is_file() else ""
        known = {(entry["id"], entry["table"]) for entry in _entries(text)}
        last = max((_number(Path(table)) for _, table in known), default=-1)
        rows = [
            (row, path) for path in self._tables() if _number(path) >= last for row in _manifest_rows(path)
        ]
        missing = [_line(row, path) for row, path in rows if (row["id"], path.name) not in known]
        # A line that was cut off ends here: the next one would be lost with it.
        self._append(missing, before="\n" if text and not text.endswith("\n") else "")

    def _tables(self) -> list[Path]:
        names = f"table{self._suffix}-"
        return sorted(p for kind in FORMATS for p in self._folder.glob(f"{names}[0-9]*.{kind}"))

    def _append(self, lines: list[str], *, before: str = "") -> None:
        try:
            with self._manifest.open("a", encoding="utf-8") as file:
                file.write(before + "".join(f"{line}\n" for line in lines))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise DataError(f"cannot write {self._manifest} ({error.strerror or error})") from error

    def _write(self, path: Path, rows: list[dict[str, Any]]) -> None:
        if self._kind == "parquet":
            arrow = optional_module("pyarrow", "writing Parquet tables")
            parquet = optional_module("pyarrow.parquet", "writing Parquet tables")
            table = arrow.Table.from_pylist(rows, schema=table_schema())
            with atomic_writer(path) as file:
                parquet.write_table(table, file, compression="zstd")
            return
        labels = self._folder / "labels"
        make_folder(labels)
        for row in rows:
            if not row["error"]:
                with atomic_writer(labels / f"{row['id']}.npy") as file:
                    file.write(row["labels"])
        with atomic_writer(path) as file:
            for row in rows:
                file.write(json.dumps({k: v for k, v in row.items() if k != "labels"}).encode() + b"\n")


@contextmanager
def only_writer(folder: Path, suffix: str = "") -> Iterator[None]:
    """No other process writes these tables meanwhile: two would number their tables alike.

    Raises DataError where one does already. File systems without locks are left to their user.
    """
    from filelock import FileLock, Timeout

    make_folder(folder)
    # No marker in place of a lock: the one of a killed process on another machine would stay.
    lock = FileLock(folder / f".writing{suffix}.lock", timeout=0, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise DataError(
            f"another batch writes into {folder}; wait for it, or name another folder or --shard"
        ) from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise DataError(f"cannot write in {folder} ({error.strerror or error})") from error
    try:
        yield
    finally:
        lock.release()


def make_folder(folder: Path) -> None:
    """DataError where there can be none."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot make the folder {folder} ({error.strerror or error})") from error


def _line(row: Mapping[str, Any], table: Path) -> str:
    """The manifest's line about a row."""
    return json.dumps({key: row[key] for key in _MANIFEST_COLUMNS} | {"table": table.name})


def _number(table: Path) -> int:
    digits = table.stem.rpartition("-")[2]
    return int(digits) if digits.isdigit() else -1


def _manifest_rows(table: Path) -> list[dict[str, Any]]:
    """What the manifest says of a table's rows. DataError where it cannot be read."""
    try:
        if table.suffix == ".jsonl":
            return [json.loads(line) for line in table.read_text(encoding="utf-8").splitlines()]
        parquet = optional_module("pyarrow.parquet", "reading Parquet tables")
        found: list[dict[str, Any]] = parquet.read_table(table, columns=list(_MANIFEST_COLUMNS)).to_pylist()
        return found
    except (OSError, ValueError) as error:
        raise DataError(
            f"{table} is damaged ({error}); move it away, and its files are done again"
        ) from error


def done_ids(folder: Path, *, retry_failed: bool = False) -> set[str]:
    """Ids of the inputs that a manifest in `folder` knows; a line that was cut off is not one.

    To be asked after `RecordTables` was made, which completes the manifest.
    """
    return {entry["id"] for entry in manifest_entries(folder) if not (retry_failed and entry["error"])}


def manifest_entries(folder: Path) -> Iterator[dict[str, Any]]:
    """The lines of all manifests in a folder; the last one about an input counts."""
    entries: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("manifest*.jsonl")):
        entries |= {entry["id"]: entry for entry in _entries(path.read_text(encoding="utf-8"))}
    yield from entries.values()


def _entries(text: str) -> Iterator[dict[str, Any]]:
    """The whole lines of a manifest."""
    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and {"id", "table"} <= entry.keys():
            yield entry
