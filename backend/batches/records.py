# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of one file after a batch, and how tables store it."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

DONE = ""
"""Error code of files that were segmented."""


@dataclass(frozen=True)
class PartRow:
    """label: number of the part; faces: how many faces (points of a cloud) it has
    share: of the surface (of the points); confidence: predicted IoU in [0, 1]
    """

    label: int
    faces: int
    share: float
    confidence: float


@dataclass(frozen=True)
class Record:
    """One file of a batch.

    path: as the list names it; kind: "mesh", "cloud", or "" where it failed
    labels: int32, part of each face or point; empty where it failed
    error: "" or a code: unreadable, unusable_mesh, out_of_memory, timeout, crashed, failed
    detail: the same for people
    seconds: of the stages
    """

    path: str
    kind: str = ""
    labels: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    parts: tuple[PartRow, ...] = ()
    notes: tuple[str, ...] = ()
    model: str = ""
    error: str = DONE
    detail: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Names the input: the SHA-256 of its path."""
        return path_id(self.path)

    def row(self) -> dict[str, Any]:
        """The record as a row of a table; see `docs/batch.md` for the columns."""
        return {
            "id": self.id,
            "path": as_text(self.path),
            "kind": self.kind,
            "error": self.error,
            "detail": as_text(self.detail),
            "model": self.model,
            "faces": len(self.labels),
            "part_count": len(self.parts),
            "labels": packed_labels(self.labels),
            "part_label": [part.label for part in self.parts],
            "part_faces": [part.faces for part in self.parts],
            "part_share": [part.share for part in self.parts],
            "part_confidence": [part.confidence for part in self.parts],
            "notes": [as_text(note) for note in self.notes],
            "stage": list(self.seconds),
            "stage_seconds": list(self.seconds.values()),
        }


def as_text(name: str) -> str:
    """A name that UTF-8 can hold: bytes of a file name that are none become \\udcNN."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def path_id(path: str) -> str:
    return hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()


def packed_labels(labels: NDArray[np.int32]) -> bytes:
    """Labels as the bytes of a .npy file, in the smallest type that holds them."""
    file = io.BytesIO()
    small = labels.astype(np.min_scalar_type(int(labels.max(initial=0)))) if (labels >= 0).all() else labels
    np.save(file, small, allow_pickle=False)
    return file.getvalue()


def unpacked_labels(data: bytes) -> NDArray[np.int32]:
    """int32 labels of `packed_labels`."""
    return np.load(io.BytesIO(data), allow_pickle=False).astype(np.int32)


def table_schema() -> Any:
    """The pyarrow schema of `Record.row`. Raises MeshFileError where pyarrow is not installed."""
    from ..mesh_files.optional import optional_module

    arrow = optional_module("pyarrow", "writing Parquet tables")
    text, count, number = arrow.string(), arrow.int32(), arrow.float32()
    return arrow.schema(
        [
            ("id", text), ("path", text), ("kind", text), ("error", text), ("detail", text), ("model", text),
            ("faces", arrow.int64()), ("part_count", count), ("labels", arrow.binary()),
            ("part_label", arrow.list_(count)), ("part_faces", arrow.list_(arrow.int64())),
            ("part_share", arrow.list_(number)), ("part_confidence", arrow.list_(number)),
            ("notes", arrow.list_(text)),
            ("stage", arrow.list_(text)), ("stage_seconds", arrow.list_(number)),
        ]
    )  # fmt: skip
