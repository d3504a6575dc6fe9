# SPDX-License-Identifier: GPL-3.0-or-later
"""The job of `segment-many`: a file in, its record out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DeviceError, MeshFileError
from ..mesh_files import SourceScene, read_scan_or_mesh
from ..stage_times import StageTimes
from .inputs import Input
from .jobs import Row
from .opening import local_file
from .records import Record
from .segmenting import SegmentSettings, default_output, segment_read_file, write_result
from .worker_model import worker_model

if TYPE_CHECKING:
    from ..segmenter import Segmenter


@dataclass(frozen=True)
class SegmentJob:
    """model, device: what `Segmenter.load` takes; parts_folder: where parts are written, None for nowhere
    threads: of the arithmetic, 0 for as many as there are cores
    """

    segment: SegmentSettings
    model: str = "small"
    device: str = "auto"
    parts_folder: Path | None = None
    threads: int = 0

    def prepare(self, worker: int) -> Segmenter:
        """The model, on one of the graphics cards if there are several."""
        return worker_model(self.model, device=self.device, threads=self.threads, worker=worker)

    def read(self, item: Input, times: StageTimes) -> SourceScene:
        """The file's mesh or cloud."""
        with times.measure("read"), local_file(item.place) as path:
            return read_scan_or_mesh(path)

    def work(self, context: Segmenter, item: Input, content: SourceScene, times: StageTimes) -> Row:
        """Segment it, and write the parts where that is wanted."""
        record = segment_read_file(item.name, content, context, self.segment, times)
        if self.parts_folder is not None:
            with times.measure("write"):
                target = default_output(item.name, self.parts_folder, is_mesh=bool(content.surfaces))
                self._write(target, content, record)
        return replace(record, seconds=dict(times.seconds)).row()

    def _write(self, target: Path, content: SourceScene, record: Record) -> None:
        """DeviceError where the disk refuses: that is no fault of the input, and would be so for the next."""
        try:
            write_result(target, content, record.labels)
        except MeshFileError as error:
            if isinstance(error.__cause__, OSError):
                raise DeviceError(str(error)) from error
            raise

    def failed(self, item: Input, error: str, detail: str, times: StageTimes) -> Row:
        """The record of a file with an error."""
        return Record(item.name, error=error, detail=detail, seconds=dict(times.seconds)).row()
