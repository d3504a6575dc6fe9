# SPDX-License-Identifier: GPL-3.0-or-later
"""Fuses the shapes of any number of shards: resumable, one bad shape never stops the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..batches.engines import EngineSettings, open_engine
from ..batches.inputs import Input
from ..batches.jobs import Row, in_order
from ..errors import DataError
from ..labelled_meshes.manifest import Entry, Manifest
from ..labelled_meshes.packing import load_shapes
from ..labelled_meshes.shard_writer import MANIFEST_NAME, TRY_AGAIN, ShardWriter, shape_row, unpacked_row
from ..labelled_meshes.shards import LabelledShape, ShapeSet, packed_shapes, unpacked_shapes
from ..stage_times import StageTimes
from .fusing import FuseSettings, fuse_shape, need_libraries


@dataclass(frozen=True)
class FuseReport:
    """fused, left_out: shapes of this run; skipped: known from earlier runs; reasons: over all runs."""

    fused: int
    left_out: int
    skipped: int
    reasons: Counter[str]


@dataclass(frozen=True)
class FuseJob:
    """A shape in, its shell or the reason against it out. seed: with the shape's name it seeds the shell"""

    fuse: FuseSettings = field(default_factory=FuseSettings)
    seed: int = 0
    skip: tuple[str, ...] = ()
    limit: int | None = None
    shard_size: int = 500
    retry_failed: bool = False

    def prepare(self, worker: int) -> None:
        """Look for the libraries."""
        need_libraries()

    def read(self, item: Input, times: StageTimes) -> LabelledShape:
        """The shape that the item holds."""
        return unpacked_shapes(item.data).shape(0)

    def work(self, context: None, item: Input, content: LabelledShape, times: StageTimes) -> Row:
        """Fuse it."""
        fused = fuse_shape(content, self.fuse, seed=(self.seed, int(item.id[:12], 16)))
        if fused is None:
            return self.failed(item, "no_usable_labeling", "no labeling with parts that are solids", times)
        names = tuple(str(name) for name in fused.info["names"])
        parts = tuple(len(set(row.tolist()) - {255}) for row in fused.labelings)
        kept = replace(_entry(item), status="kept", labelings=names, parts=parts)
        return shape_row(kept, ShapeSet.from_shapes([fused]))

    def failed(self, item: Input, error: str, detail: str, times: StageTimes) -> Row:
        """The entry of a shape that is not kept."""
        return shape_row(replace(_entry(item), reason=error, detail=detail))


def fuse_shards(
    shards: Sequence[Path],
    output: Path,
    job: FuseJob,
    engine: EngineSettings | None = None,
    *,
    progress: Callable[[Entry], None] = lambda entry: None,
) -> FuseReport:
    """Fuse what can be fused of all shapes, into shards below `output`; one input and one output in memory.

    The shards are the same whatever the engine and however many workers it has. Raises DataError where a
    shard cannot be read, `output` cannot be written, a library is missing or nothing can be fused.
    """
    need_libraries()
    manifest = Manifest(output / MANIFEST_NAME)
    writer = ShardWriter(output, manifest, job.shard_size)
    counts = Counter[str]()
    with open_engine(job, engine or EngineSettings()) as running:
        for items in _inputs(shards, job, manifest, counts):
            rows = in_order(((row["name"], row) for row in running.run(items)), (item.name for item in items))
            for row in rows:
                entry, shape = unpacked_row(row)
                counts[entry.status] += 1
                writer.add(entry, shape)
                progress(entry)
    writer.flush()
    if not manifest.shard_names():
        raise DataError("none of the shapes can be fused: no labeling with parts that are solids")
    return FuseReport(counts["kept"], counts["rejected"], counts["skipped"], manifest.reasons())


def _inputs(
    shards: Sequence[Path], job: FuseJob, manifest: Manifest, counts: Counter[str]
) -> Iterator[list[Input]]:
    """Shard after shard the shapes that are left to do; in `counts` how many were done before."""
    taken = 0
    for path in shards:
        shapes, stat, items = load_shapes([path]), path.stat(), []
        for row in range(len(shapes)):
            if shapes.info[row].get("repo") in job.skip or taken == job.limit:
                continue
            taken += 1
            name = f"{path.name}#{row}"
            known = manifest.find(name, stat.st_size, stat.st_mtime_ns)
            if known is not None and not (job.retry_failed and known.reason in TRY_AGAIN):
                counts["skipped"] += 1
                continue
            items.append(Input(name, str(path), packed_shapes(shapes.subset([row]))))
        yield items


def _entry(item: Input) -> Entry:
    stat = Path(item.place).stat()
    return Entry(item.name, stat.st_size, stat.st_mtime_ns, sha256="", status="rejected")
