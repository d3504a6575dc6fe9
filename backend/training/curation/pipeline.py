# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the curation over a folder: resumable, one bad file never stops the rest, shards appear complete."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...errors import DataError, MeshError, MeshFileError
from ...mesh_files import READABLE_SUFFIXES, SourceScene, read_mesh_file
from ..shards import LabelledShape, ShapeSet, write_shard
from .manifest import Entry, Manifest
from .stage_one import TOO_MANY_PARTS, Labeling, Rejected, StageOneRules, label_scene, welded
from .stage_two import StageTwoRules, label_fragmented

if TYPE_CHECKING:
    from ...segmenter import Segmenter

log = logging.getLogger(__name__)

MANIFEST_NAME = "manifest.jsonl"


@dataclass(frozen=True)
class CurationReport:
    """kept, rejected: files of this run; skipped: known from earlier runs; reasons: over all runs."""

    kept: int
    rejected: int
    skipped: int
    reasons: Counter[str]


@dataclass(frozen=True)
class CurationSettings:
    """source, licence: recorded with each shape; shard_size: shapes per shard
    segmenter: for stage two; without one, over-fragmented assets are rejected (and reconsidered by a later
        run that has one)
    """

    source: str = ""
    licence: str = "unknown"
    shard_size: int = 500
    stage_one: StageOneRules = field(default_factory=StageOneRules)
    stage_two: StageTwoRules = field(default_factory=StageTwoRules)
    segmenter: Segmenter | None = None

    def __post_init__(self) -> None:
        if self.shard_size < 1:
            raise DataError("a shard holds at least one shape")


def curate(
    folder: Path,
    output: Path,
    settings: CurationSettings,
    *,
    progress: Callable[[int, int, Entry], None] | None = None,
) -> CurationReport:
    """Turn every mesh file below `folder` into a labelled shape or a reason, in shards below `output`.

    progress(number, total, entry): called after each file
    Raises DataError if `folder` cannot be read or `output` cannot be written.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder; give the folder that holds the mesh files")
    manifest = Manifest(output / MANIFEST_NAME)
    files = [path for path in mesh_files(folder) if output.resolve() not in path.resolve().parents]
    hashes = {entry.sha256 for entry in manifest.entries if entry.status == "kept"}
    writer = _ShardWriter(output, manifest, settings.shard_size)
    counts = Counter[str]()
    for number, path in enumerate(files, start=1):
        name, stat = path.relative_to(folder).as_posix(), path.stat()
        known = manifest.find(name, stat.st_size, stat.st_mtime_ns)
        if known is not None and not _reconsider(known, settings):
            counts["skipped"] += 1
            continue
        entry, shape = _judge(path, name, hashes, settings)
        if shape is not None:
            hashes.add(entry.sha256)
        counts[entry.status] += 1
        writer.add(entry, shape)
        if progress is not None:
            progress(number, len(files), entry)
    writer.flush()
    return CurationReport(counts["kept"], counts["rejected"], counts["skipped"], manifest.reasons())


def mesh_files(folder: Path) -> Iterator[Path]:
    """Readable mesh files below `folder`, sorted, so that runs are alike."""
    yield from sorted(p for p in folder.rglob("*") if p.suffix.lower() in READABLE_SUFFIXES and p.is_file())


class _ShardWriter:
    """Collects shapes, and writes shard and manifest lines together, the shard first."""

    def __init__(self, output: Path, manifest: Manifest, size: int) -> None:
        self._output, self._manifest, self._size = output, manifest, size
        self._entries: list[Entry] = []
        self._shapes: list[LabelledShape] = []

    def add(self, entry: Entry, shape: LabelledShape | None) -> None:
        if shape is None:
            self._entries.append(entry)
        else:
            self._entries.append(replace(entry, row=len(self._shapes)))
            self._shapes.append(shape)
        if len(self._shapes) == self._size:
            self.flush()

    def flush(self) -> None:
        if self._shapes:
            # A shard that a killed run left without manifest lines is written anew under the same name.
            name = f"shard_{len(self._manifest.shard_names()):03d}.npz.xz"
            try:
                write_shard(self._output / name, ShapeSet.from_shapes(self._shapes))
            except OSError as error:
                raise DataError(f"cannot write {self._output / name} ({error.strerror or error})") from error
            self._entries = [replace(e, shard=name) if e.status == "kept" else e for e in self._entries]
        self._manifest.append(self._entries)
        self._entries, self._shapes = [], []


def _reconsider(entry: Entry, settings: CurationSettings) -> bool:
    return settings.segmenter is not None and entry.reason == TOO_MANY_PARTS


def _judge(
    path: Path, name: str, hashes: set[str], settings: CurationSettings
) -> tuple[Entry, LabelledShape | None]:
    """Read and label one file. Everything that can be wrong with it becomes a reason."""
    stat = path.stat()
    entry = Entry(name, stat.st_size, stat.st_mtime_ns, sha256="", status="rejected")
    try:
        entry = replace(entry, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
        if entry.sha256 in hashes:
            return replace(entry, reason="duplicate", detail="the same file was kept before"), None
        scene = read_mesh_file(path)
        found = _label(scene, name, settings)
    except (MeshFileError, OSError) as error:
        return replace(entry, reason="unreadable", detail=str(error)), None
    except MeshError as error:
        return replace(entry, reason="unusable_mesh", detail=str(error)), None
    if isinstance(found, Rejected):
        log.info("%s: %s", name, found.detail)
        return replace(entry, reason=found.code, detail=found.detail), None
    names, parts = tuple(x.name for x in found), tuple(x.parts for x in found)
    info = {"names": list(names), "repo": settings.source, "path": name, "licence": settings.licence}
    shape = LabelledShape(welded(scene.mesh), np.stack([x.labels for x in found]), info)
    return replace(entry, status="kept", labelings=names, parts=parts), shape


def _label(scene: SourceScene, name: str, settings: CurationSettings) -> list[Labeling] | Rejected:
    found = label_scene(scene, settings.stage_one)
    if isinstance(found, Labeling):
        return [found]
    if found.code != TOO_MANY_PARTS or settings.segmenter is None:
        return found
    return label_fragmented(scene.mesh, settings.segmenter, settings.stage_two, settings.stage_one, key=name)
