# SPDX-License-Identifier: GPL-3.0-or-later
"""Shards: many small labelled meshes in one compressed file.

A shard is an xz-compressed `.npz`. Counts are per shape, everything else is concatenated in shape order:

- `nv`, `nf`, `nl` int32 [S]: vertices, faces and labelings of each shape
- `v` uint16 [sum nv, 3]: position = v / 32767.5 - 1; the longest side of the bounding box spans [-1, 1]
- `f` uint16, or uint32 where a shape has more than 65,536 vertices, [sum nf, 3]: vertex indices, from 0
  within each shape
- `c` uint8 [sum nf, 3]: face colour, 128 grey where unknown
- `l` uint8 [sum (nf * nl)]: for each shape `nl` labelings of `nf` faces, one after the other;
  255 = unlabelled
- `info`: bytes, one JSON line per shape with `names` (of the labelings), `repo`, `path`, `licence`
"""

from __future__ import annotations

import io
import json
import lzma
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..array_files import read_arrays
from ..errors import DataError
from ..geometry import Mesh
from ..geometry.mesh import NEUTRAL_GREY
from ..whole_files import appearing_whole

A = TypeVar("A")
B = TypeVar("B")

UNLABELLED = 255
"""Label of faces that belong to no part (too small, too large, or not annotated)."""

UNKNOWN_COLOR = 128
"""Grey level that the shards use where a surface's colour was not known."""

POSITION_SCALE = 32767.5
"""Stored position -> coordinate in [-1, 1]: v / POSITION_SCALE - 1."""


@dataclass(frozen=True)
class LabelledShape:
    """One shape of a shard.

    mesh: coordinates in [-1, 1], face colours float32
    labelings: uint8 [L, F], 255 = unlabelled
    info: `names` of the labelings, `repo`, `path`, `licence`
    """

    mesh: Mesh
    labelings: NDArray[np.uint8]
    info: dict[str, Any]


@dataclass(frozen=True)
class ShapeSet:
    """The shapes of one or more shards, concatenated.

    vertex_counts, face_counts, labeling_counts: int64 [S]
    vertices: uint16 [sum V, 3]; colors: uint8 [sum F, 3]
    faces: uint16 or uint32 [sum F, 3], local to each shape
    labels: uint8 [sum F * L], labeling after labeling for each shape
    info: one dictionary per shape
    """

    vertex_counts: NDArray[np.int64]
    face_counts: NDArray[np.int64]
    labeling_counts: NDArray[np.int64]
    vertices: NDArray[np.uint16]
    faces: NDArray[np.unsignedinteger]
    colors: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    info: tuple[dict[str, Any], ...]

    def __len__(self) -> int:
        return len(self.face_counts)

    @property
    def vertex_starts(self) -> NDArray[np.int64]:
        """First vertex of each shape and the total, int64 [S + 1]."""
        return starts_of(self.vertex_counts)

    @property
    def face_starts(self) -> NDArray[np.int64]:
        """First face of each shape and the total, int64 [S + 1]."""
        return starts_of(self.face_counts)

    @property
    def label_starts(self) -> NDArray[np.int64]:
        """First entry of each shape in `labels` and the total, int64 [S + 1]."""
        return starts_of(self.face_counts * self.labeling_counts)

    def shape(self, index: int) -> LabelledShape:
        """Shape `index` as a mesh with its labelings."""
        vertex, face, label = (
            slice(starts[index], starts[index + 1])
            for starts in (self.vertex_starts, self.face_starts, self.label_starts)
        )
        colors = self.colors[face].astype(np.float32) / 255
        colors[(self.colors[face] == UNKNOWN_COLOR).all(axis=1)] = NEUTRAL_GREY
        mesh = Mesh(self.vertices[vertex] / POSITION_SCALE - 1, self.faces[face].astype(np.int32), colors)
        labelings = self.labels[label].reshape(self.labeling_counts[index], self.face_counts[index])
        return LabelledShape(mesh, labelings, self.info[index])

    def subset(self, indices: Sequence[int] | NDArray[np.integer]) -> ShapeSet:
        """The shapes `indices`, in that order."""
        rows = np.asarray(indices, dtype=np.int64)
        vertex, face, label = (
            _ranges(starts, rows) for starts in (self.vertex_starts, self.face_starts, self.label_starts)
        )
        return ShapeSet(
            vertex_counts=self.vertex_counts[rows],
            face_counts=self.face_counts[rows],
            labeling_counts=self.labeling_counts[rows],
            vertices=self.vertices[vertex],
            faces=self.faces[face],
            colors=self.colors[face],
            labels=self.labels[label],
            info=tuple(self.info[i] for i in rows),
        )

    @staticmethod
    def concatenate(sets: Iterable[ShapeSet]) -> ShapeSet:
        """All shapes of `sets`, in order."""
        sets = list(sets)
        if not sets:
            raise DataError("no shapes were given; name at least one shard")
        return ShapeSet(
            vertex_counts=np.concatenate([s.vertex_counts for s in sets]),
            face_counts=np.concatenate([s.face_counts for s in sets]),
            labeling_counts=np.concatenate([s.labeling_counts for s in sets]),
            vertices=np.concatenate([s.vertices for s in sets]),
            faces=np.concatenate([s.faces for s in sets]),
            colors=np.concatenate([s.colors for s in sets]),
            labels=np.concatenate([s.labels for s in sets]),
            info=tuple(line for s in sets for line in s.info),
        )

    @staticmethod
    def from_shapes(shapes: Sequence[LabelledShape]) -> ShapeSet:
        """Quantise and concatenate; each mesh is scaled to span [-1, 1] along its longest side."""
        if not shapes:
            raise DataError("no shapes were given")
        return ShapeSet(
            vertex_counts=np.array([len(s.mesh.vertices) for s in shapes], dtype=np.int64),
            face_counts=np.array([s.mesh.face_count for s in shapes], dtype=np.int64),
            labeling_counts=np.array([len(s.labelings) for s in shapes], dtype=np.int64),
            vertices=np.concatenate([_quantise(s.mesh.vertices) for s in shapes]),
            faces=_indices(np.concatenate([s.mesh.triangles for s in shapes])),
            colors=np.concatenate([_color_bytes(s.mesh) for s in shapes]),
            labels=np.concatenate([np.asarray(s.labelings, dtype=np.uint8).ravel() for s in shapes]),
            info=tuple(s.info for s in shapes),
        )


def read_shard(path: Path | str) -> ShapeSet:
    """Read one shard. Raises DataError for a file that is missing, truncated or inconsistent."""
    return decode_shard(_read_bytes(Path(path)), str(path))


def decode_shard(data: bytes, name: str) -> ShapeSet:
    """A shard from its bytes; `name` is for error messages."""
    shapes = shapes_from_arrays(load_arrays(data, name), name)
    check_shapes(shapes, name)
    return shapes


def read_shards(paths: Sequence[Path | str], *, workers: int | None = None) -> ShapeSet:
    """Read shards side by side (decompression runs outside Python's lock) and concatenate them."""
    return ShapeSet.concatenate(map_threads(read_shard, list(paths), workers=workers))


def write_shard(path: Path | str, shapes: ShapeSet) -> None:
    """Write a shard atomically: the file appears complete or not at all."""
    write_atomically(Path(path), dump_arrays(_shard_arrays(shapes)))


def _shard_arrays(shapes: ShapeSet) -> dict[str, NDArray]:
    return {
        "nv": shapes.vertex_counts.astype(np.int32),
        "nf": shapes.face_counts.astype(np.int32),
        "nl": shapes.labeling_counts.astype(np.int32),
        "v": shapes.vertices,
        "f": shapes.faces,
        "c": shapes.colors,
        "l": shapes.labels,
        "info": info_bytes(shapes.info),
    }


def packed_shapes(shapes: ShapeSet) -> bytes:
    """Shapes as bytes that processes can pass on quickly: a shard without the compression."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **_shard_arrays(shapes))
    return buffer.getvalue()


def unpacked_shapes(data: bytes) -> ShapeSet:
    """The inverse of `packed_shapes`."""
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        return shapes_from_arrays({key: archive[key] for key in archive.files}, "packed shapes")


def map_threads(function: Callable[[A], B], items: Sequence[A], *, workers: int | None) -> list[B]:
    """`function` over `items` in threads; results in order."""
    with ThreadPoolExecutor(workers or min(16, os.cpu_count() or 1)) as pool:
        return list(pool.map(function, items))


def load_arrays(data: bytes, name: str) -> dict[str, NDArray]:
    """The arrays of an xz-compressed `.npz`. Raises DataError if it is not one."""
    try:
        return read_arrays(io.BytesIO(lzma.decompress(data)))
    except (lzma.LZMAError, EOFError, OSError, ValueError) as error:
        raise DataError(f"{name} is truncated or no shard ({error}); copy or build it again") from error


def dump_arrays(arrays: dict[str, NDArray], *, preset: int = 6) -> bytes:
    """Arrays as an xz-compressed `.npz`, the inverse of `load_arrays`."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return lzma.compress(buffer.getvalue(), preset=preset)


def shapes_from_arrays(arrays: dict[str, NDArray], name: str) -> ShapeSet:
    """A ShapeSet from a shard's fields. Raises DataError where a field is missing or of a wrong type."""
    expected = {"nv": 1, "nf": 1, "nl": 1, "v": 2, "f": 2, "c": 2, "l": 1}
    for field, dimensions in expected.items():
        if field not in arrays:
            raise DataError(f"{name} has no field {field!r}; it is no shard of labelled meshes")
        if arrays[field].dtype.kind not in "ui" or arrays[field].ndim != dimensions:
            raise DataError(f"{name}: field {field!r} has a wrong type or shape; build the shard again")
    return ShapeSet(
        vertex_counts=arrays["nv"].astype(np.int64),
        face_counts=arrays["nf"].astype(np.int64),
        labeling_counts=arrays["nl"].astype(np.int64),
        vertices=arrays["v"].astype(np.uint16, copy=False),
        faces=_indices(arrays["f"]),
        colors=arrays["c"].astype(np.uint8, copy=False),
        labels=arrays["l"].astype(np.uint8, copy=False),
        info=parse_info(arrays.get("info"), name),
    )


def check_shapes(shapes: ShapeSet, name: str) -> None:
    """Raise DataError unless counts, array lengths, indices and info lines agree."""
    counts = (shapes.vertex_counts, shapes.face_counts, shapes.labeling_counts)
    if any(len(c) != len(shapes) or (len(c) and c.min() < 1) for c in counts):
        raise DataError(f"{name}: every shape needs vertices, faces and a labeling; build the shard again")
    facts = {
        "vertices": (shapes.vertices.shape, (int(shapes.vertex_counts.sum()), 3)),
        "faces": (shapes.faces.shape, (int(shapes.face_counts.sum()), 3)),
        "colours": (shapes.colors.shape, (int(shapes.face_counts.sum()), 3)),
        "labels": (shapes.labels.shape, (int(shapes.label_starts[-1]),)),
        "info lines": ((len(shapes.info),), (len(shapes),)),
    }
    for what, (found, wanted) in facts.items():
        if tuple(found) != tuple(wanted):
            raise DataError(f"{name}: {what} have shape {found}, the counts say {wanted}; it is damaged")
    if (shapes.faces >= np.repeat(shapes.vertex_counts, shapes.face_counts)[:, None]).any():
        raise DataError(f"{name}: a face refers to a vertex that does not exist; the shard is damaged")


def starts_of(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Exclusive prefix sums of `counts` [S] with the total at the end, int64 [S + 1]."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def info_bytes(info: Iterable[dict[str, Any]]) -> NDArray[np.uint8]:
    """Info dictionaries as the bytes of JSON lines."""
    return np.frombuffer("\n".join(json.dumps(line) for line in info).encode(), dtype=np.uint8)


def parse_info(field: NDArray | None, name: str) -> tuple[dict[str, Any], ...]:
    """The inverse of `info_bytes`. Raises DataError for anything but JSON objects."""
    if field is None:
        raise DataError(f"{name} has no field 'info'; sources and licences would be lost")
    try:
        lines = [json.loads(line) for line in field.tobytes().decode().splitlines() if line]
    except ValueError as error:
        raise DataError(f"{name}: field 'info' is not JSON lines ({error})") from error
    if not all(isinstance(line, dict) for line in lines):
        raise DataError(f"{name}: field 'info' holds something else than JSON objects")
    return tuple(lines)


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` beside `path` and rename, so that no half-written file is ever seen."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with appearing_whole(path) as partial:
        partial.write_bytes(data)


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror or error})") from error


def _ranges(starts: NDArray[np.int64], indices: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows starts[i] .. starts[i + 1] for every i of `indices`, one after the other."""
    counts = starts[indices + 1] - starts[indices]
    shift = np.repeat(starts[indices] - starts_of(counts)[:-1], counts)
    return np.arange(counts.sum(), dtype=np.int64) + shift


def _indices(faces: NDArray[np.integer]) -> NDArray[np.unsignedinteger]:
    """Vertex indices in the smaller type that holds them."""
    large = int(faces.max(initial=0)) > np.iinfo(np.uint16).max
    return faces.astype(np.uint32 if large else np.uint16, copy=False)


def _quantise(vertices: NDArray[np.floating]) -> NDArray[np.uint16]:
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    extent = float((high - low).max())
    unit = (vertices - (low + high) / 2) / (extent / 2 if extent > 0 else 1.0)
    return np.clip(np.rint((unit + 1) * POSITION_SCALE), 0, 65535).astype(np.uint16)


def _color_bytes(mesh: Mesh) -> NDArray[np.uint8]:
    if mesh.face_colors is None:
        return np.full((mesh.face_count, 3), UNKNOWN_COLOR, dtype=np.uint8)
    return np.clip(np.rint(mesh.face_colors * 255), 0, 255).astype(np.uint8)
