# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the curation over a folder: resumable, one bad file never stops the rest, shards appear complete."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..batches.engines import EngineSettings, open_engine
from ..batches.inputs import Input, file_input
from ..batches.jobs import Row, in_order
from ..batches.worker_model import worker_model
from ..errors import DataError
from ..labelled_meshes.manifest import Entry, Manifest
from ..labelled_meshes.shard_writer import MANIFEST_NAME, TRY_AGAIN, ShardWriter, shape_row, unpacked_row
from ..labelled_meshes.shards import LabelledShape, ShapeSet
from ..mesh_files import READABLE_SUFFIXES, SourceScene, read_mesh_file
from ..stage_times import StageTimes
from .stage_one import TOO_MANY_PARTS, Labeling, Rejected, StageOneRules, label_scene, welded
from .stage_two import StageTwoRules, label_fragmented, need_clustering

if TYPE_CHECKING:
    from ..segmenter import Segmenter


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
    model, device: for stage two, as `Segmenter.load` takes them; without a model, over-fragmented assets are
        rejected (and reconsidered by a later run that has one); threads: of its arithmetic, 0 for all cores
    retry_failed: look again at files that ran out of time or memory, or crashed
    """

    source: str = ""
    licence: str = "unknown"
    shard_size: int = 500
    stage_one: StageOneRules = field(default_factory=StageOneRules)
    stage_two: StageTwoRules = field(default_factory=StageTwoRules)
    model: str | None = None
    device: str = "auto"
    threads: int = 0
    retry_failed: bool = False

    def __post_init__(self) -> None:
        if self.shard_size < 1:
            raise DataError("a shard holds at least one shape")


def curate(
    folder: Path,
    output: Path,
    settings: CurationSettings,
    engine: EngineSettings | None = None,
    *,
    progress: Callable[[int, int, Entry], None] | None = None,
) -> CurationReport:
    """Turn every mesh file below `folder` into a labelled shape or a reason, in shards below `output`.

    progress(number, total, entry): called after each file
    The shards are the same whatever the engine and however many workers it has. Raises DataError if `folder`
    cannot be read or `output` cannot be written, DeviceError if the model cannot be loaded.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder; give the folder that holds the mesh files")
    manifest = Manifest(output / MANIFEST_NAME)
    files = [path for path in mesh_files(folder) if output.resolve() not in path.resolve().parents]
    items = [file_input(path, folder) for path in files if _is_new(path, manifest, folder, settings)]
    hashes = {entry.sha256 for entry in manifest.entries if entry.status == "kept"}
    writer = ShardWriter(output, manifest, settings.shard_size)
    counts = Counter(skipped=len(files) - len(items))
    if items:
        with open_engine(CurateJob(settings), engine or EngineSettings()) as running:
            rows = in_order(((row["name"], row) for row in running.run(items)), (item.name for item in items))
            for number, row in enumerate(rows, start=1):
                entry, shape = unpacked_row(row)
                if shape is not None and entry.sha256 in hashes:
                    entry, shape = _duplicate(entry), None
                hashes |= {entry.sha256} if shape is not None else set()
                counts[entry.status] += 1
                writer.add(entry, shape)
                if progress is not None:
                    progress(number, len(items), entry)
        writer.flush()
    return CurationReport(counts["kept"], counts["rejected"], counts["skipped"], manifest.reasons())


def mesh_files(folder: Path) -> Iterator[Path]:
    """Readable mesh files below `folder`, sorted, so that runs are alike."""
    yield from sorted(p for p in folder.rglob("*") if p.suffix.lower() in READABLE_SUFFIXES and p.is_file())


@dataclass(frozen=True)
class CurateJob:
    """A mesh file in, its labelled shape or the reason against it out."""

    settings: CurationSettings

    def prepare(self, worker: int) -> Segmenter | None:
        """The model of stage two."""
        settings = self.settings
        if settings.model is None:
            return None
        need_clustering()
        return worker_model(settings.model, device=settings.device, threads=settings.threads, worker=worker)

    def read(self, item: Input, times: StageTimes) -> SourceScene:
        """The file's mesh."""
        return read_mesh_file(item.place)

    def work(self, context: Segmenter | None, item: Input, content: SourceScene, times: StageTimes) -> Row:
        """Label it."""
        digest = hashlib.sha256(Path(item.place).read_bytes()).hexdigest()
        entry = replace(_rejected(item), sha256=digest)
        found = _label(content, item.name, self.settings, context)
        if isinstance(found, Rejected):
            return shape_row(replace(entry, reason=found.code, detail=found.detail))
        names, parts = tuple(x.name for x in found), tuple(x.parts for x in found)
        settings = self.settings
        info = {
            "names": list(names), "repo": settings.source, "path": item.name, "licence": settings.licence,
        }  # fmt: skip
        shape = LabelledShape(welded(content.mesh), np.stack([x.labels for x in found]), info)
        kept = replace(entry, status="kept", labelings=names, parts=parts)
        return shape_row(kept, ShapeSet.from_shapes([shape]))

    def failed(self, item: Input, error: str, detail: str, times: StageTimes) -> Row:
        """The entry of a file on which something failed."""
        return shape_row(replace(_rejected(item), reason=error, detail=detail))


def _rejected(item: Input) -> Entry:
    try:
        stat = Path(item.place).stat()
        size, modified = stat.st_size, stat.st_mtime_ns
    except OSError:
        size, modified = -1, -1
    return Entry(item.name, size, modified, sha256="", status="rejected")


def _duplicate(entry: Entry) -> Entry:
    return replace(
        entry,
        status="rejected",
        reason="duplicate",
        detail="the same file was kept before",
        labelings=(),
        parts=(),
    )


def _is_new(path: Path, manifest: Manifest, folder: Path, settings: CurationSettings) -> bool:
    """Whether a file is unknown, has changed, or should be looked at again."""
    stat = path.stat()
    known = manifest.find(file_input(path, folder).name, stat.st_size, stat.st_mtime_ns)
    if known is None or (settings.retry_failed and known.reason in TRY_AGAIN):
        return True
    return settings.model is not None and known.reason == TOO_MANY_PARTS


def _label(
    scene: SourceScene, name: str, settings: CurationSettings, segmenter: Segmenter | None
) -> list[Labeling] | Rejected:
    found = label_scene(scene, settings.stage_one)
    if isinstance(found, Labeling):
        return [found]
    if found.code != TOO_MANY_PARTS or segmenter is None:
        return found
    return label_fragmented(scene.mesh, segmenter, settings.stage_two, settings.stage_one, key=name)
