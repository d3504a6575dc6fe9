# SPDX-License-Identifier: GPL-3.0-or-later
"""One compact file for a whole training set, small enough to travel to a machine without a network.

Vertices are quantised (12 bits: half a 4096th of the longest side, far below the jitter of training) and
welded, faces are put in a depth-first order and coded as in `face_coding`, bytes of different meaning
are stored apart, and xz does the rest. The order of the faces changes, with colours and labels;
nothing else is lost. The file is a zip of independent chunks (balanced by faces), so that it is
decompressed on all cores.
"""

from __future__ import annotations

import io
import logging
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .face_coding import FaceCode, decode_faces, encode_faces
from .shards import (
    ShapeSet,
    check_shapes,
    dump_arrays,
    info_bytes,
    load_arrays,
    map_threads,
    parse_info,
    read_shards,
    starts_of,
    write_atomically,
)

log = logging.getLogger(__name__)

FORMAT = 1


@dataclass(frozen=True)
class PackReport:
    """What `pack_store` wrote: shapes kept and given, faces kept, bytes."""

    shapes: int
    given: int
    faces: int
    bytes: int


def pack_store(
    shards: Sequence[Path | str],
    out: Path | str,
    *,
    max_bytes: int | None = None,
    bits: int = 12,
    keep_fraction: dict[str, float] | None = None,
    max_faces: int | None = None,
    chunks: int = 16,
) -> PackReport:
    """Pack all shapes of `shards` into one file and return what was written.

    keep_fraction: repository -> share of its shapes to keep (over-represented sources)
    max_faces: leave out shapes with more faces
    Raises DataError, writing nothing, if the result would exceed `max_bytes`.
    """
    shapes = read_shards(shards)
    given = len(shapes)
    shapes = shapes.subset(_kept(shapes, keep_fraction or {}, max_faces))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        groups = _balanced(shapes.face_counts, chunks)
        coded = map_threads(lambda rows: dump_arrays(encode_shapes(shapes.subset(rows), bits), preset=9),
                            groups, workers=None)  # fmt: skip
        for index, data in enumerate(coded):
            archive.writestr(f"chunk_{index:03d}.npz.xz", data)
    size = buffer.getbuffer().nbytes
    if max_bytes is not None and size > max_bytes:
        raise DataError(
            f"the packed set takes {size} bytes, more than {max_bytes}; keep fewer shapes or bits"
        )
    write_atomically(Path(out), buffer.getvalue())
    log.info("packed %d of %d shapes into %d bytes", len(shapes), given, size)
    return PackReport(shapes=len(shapes), given=given, faces=int(shapes.face_counts.sum()), bytes=size)


def read_packed(path: Path | str, *, workers: int | None = None) -> ShapeSet:
    """Read a file written by `pack_store`. Raises DataError for a damaged or foreign file."""
    try:
        with zipfile.ZipFile(path) as archive:
            chunks = [(f"{path}/{name}", archive.read(name)) for name in sorted(archive.namelist())]
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is truncated or no packed training set ({error})") from error
    return ShapeSet.concatenate(
        map_threads(
            lambda chunk: decode_shapes(load_arrays(chunk[1], chunk[0]), chunk[0]), chunks, workers=workers
        )
    )


def load_shapes(paths: Sequence[Path | str], *, workers: int | None = None) -> ShapeSet:
    """Shapes of shards (`.npz.xz`) and packed sets (anything else), in `loading_order`."""
    sets = []
    shards = [path for path in paths if _is_shard(path)]
    if shards:
        sets.append(read_shards(shards, workers=workers))
    sets += [read_packed(path, workers=workers) for path in paths if not _is_shard(path)]
    return ShapeSet.concatenate(sets)


def loading_order(paths: Sequence[Path | str]) -> list[Path | str]:
    """The order in which the shapes of files stand in what `load_shapes` returns."""
    return sorted(paths, key=lambda path: not _is_shard(path))


def _is_shard(path: Path | str) -> bool:
    return str(path).endswith(".npz.xz")


def encode_shapes(shapes: ShapeSet, bits: int) -> dict[str, NDArray]:
    """The compact fields of `shapes`; see the module's text."""
    positions, faces = _welded(shapes, bits)
    code, order = encode_faces(positions, faces, shapes.face_counts)
    return {
        "format": np.array([FORMAT, bits], dtype=np.int32),
        "nv": _used_vertices(faces, shapes).astype(np.int32),
        "nf": shapes.face_counts.astype(np.int32),
        "nl": shapes.labeling_counts.astype(np.int32),
        **_planes("error", np.where(code.errors < 0, -2 * code.errors - 1, 2 * code.errors).T),
        **_planes("parent", code.parent),
        **_planes("corner", code.corner),
        **_planes("root", code.roots.T),
        "edge": code.edge.astype(np.uint8),
        "c": shapes.colors[order].T.copy(),
        "l": shapes.labels[_label_order(shapes, order)],
        "info": info_bytes(shapes.info),
    }


def decode_shapes(arrays: dict[str, NDArray], name: str) -> ShapeSet:
    """The inverse of `encode_shapes`. Raises DataError for fields that do not fit together."""
    try:
        version, bits = (int(x) for x in arrays["format"])
        if version != FORMAT:
            raise DataError(f"{name} has format {version}; this version reads format {FORMAT}")
        folded = _from_planes(arrays, "error").T
        code = FaceCode(
            parent=_from_planes(arrays, "parent"),
            edge=arrays["edge"].astype(np.int64),
            corner=_from_planes(arrays, "corner"),
            roots=_from_planes(arrays, "root").T,
            errors=np.where(folded & 1, -(folded + 1) // 2, folded // 2),
        )
        positions, faces = decode_faces(code)
        vertex_counts, face_counts = arrays["nv"].astype(np.int64), arrays["nf"].astype(np.int64)
        local = faces - np.repeat(starts_of(vertex_counts)[:-1], face_counts)[:, None]
        if (local < 0).any():
            raise ValueError("a face refers to another shape's vertex")
        shapes = ShapeSet(
            vertex_counts=vertex_counts,
            face_counts=face_counts,
            labeling_counts=arrays["nl"].astype(np.int64),
            vertices=((positions * 65535 + (2**bits - 1) // 2) // (2**bits - 1)).astype(np.uint16),
            faces=local.astype(np.uint32 if local.max(initial=0) > 65535 else np.uint16),
            colors=np.ascontiguousarray(arrays["c"].T),
            labels=arrays["l"],
            info=parse_info(arrays["info"], name),
        )
    except (KeyError, ValueError, IndexError) as error:
        raise DataError(f"{name} is no chunk of a packed training set ({error})") from error
    check_shapes(shapes, name)
    return shapes


def _welded(shapes: ShapeSet, bits: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Quantised positions int64 [V, 3], welded within each shape, and faces int64 [F, 3] into them."""
    quantised = (shapes.vertices.astype(np.int64) * (2**bits - 1) + 32767) // 65535
    owner = np.repeat(np.arange(len(shapes)), shapes.vertex_counts)
    key = (owner << 48) | (quantised[:, 0] << 32) | (quantised[:, 1] << 16) | quantised[:, 2]
    unique, index = np.unique(key, return_inverse=True)
    shift = np.repeat(shapes.vertex_starts[:-1], shapes.face_counts)
    faces = index[shapes.faces.astype(np.int64) + shift[:, None]]
    return np.stack([(unique >> 32) & 0xFFFF, (unique >> 16) & 0xFFFF, unique & 0xFFFF], axis=1), faces


def _used_vertices(faces: NDArray[np.int64], shapes: ShapeSet) -> NDArray[np.int64]:
    """How many different vertices the faces of each shape use, int64 [S]."""
    _, first = np.unique(faces.ravel(), return_index=True)
    shape = np.repeat(np.arange(len(shapes)), 3 * shapes.face_counts)
    return np.bincount(shape[first], minlength=len(shapes))


def _label_order(shapes: ShapeSet, order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows of `labels` when the faces (of all shapes) are put in `order`."""
    starts, label_starts = shapes.face_starts, shapes.label_starts
    return np.concatenate(
        [
            (
                label_starts[shape]
                + np.arange(shapes.labeling_counts[shape])[:, None] * shapes.face_counts[shape]
                + (order[starts[shape] : starts[shape + 1]] - starts[shape])[None]
            ).ravel()
            for shape in range(len(shapes))
        ]
    )


def _planes(name: str, values: NDArray[np.int64]) -> dict[str, NDArray[np.uint8]]:
    """Low, middle and high bytes apart, which is what xz compresses best."""
    values = np.ascontiguousarray(values)
    if values.max(initial=0) >= 1 << 24:
        raise DataError("a chunk has more than 16 million faces or vertices; pack into more chunks")
    return {
        f"{name}_low": (values & 255).astype(np.uint8),
        f"{name}_mid": ((values >> 8) & 255).astype(np.uint8),
        f"{name}_high": (values >> 16).astype(np.uint8),
    }


def _from_planes(arrays: dict[str, NDArray], name: str) -> NDArray[np.int64]:
    low, mid, high = (arrays[f"{name}_{part}"].astype(np.int64) for part in ("low", "mid", "high"))
    return low | (mid << 8) | (high << 16)


def _kept(shapes: ShapeSet, keep_fraction: dict[str, float], max_faces: int | None) -> NDArray[np.int64]:
    """Indices of the shapes to keep; of a thinned repository every k-th shape, spread over its shapes."""
    keep = np.ones(len(shapes), dtype=bool)
    repositories = np.array([str(line.get("repo", "")) for line in shapes.info])
    for repository, fraction in keep_fraction.items():
        rows = np.flatnonzero(repositories == repository)
        keep[rows] = np.diff(np.floor(np.arange(len(rows) + 1) * fraction)) > 0
    if max_faces is not None:
        keep &= shapes.face_counts <= max_faces
    return np.flatnonzero(keep)


def _balanced(face_counts: NDArray[np.int64], chunks: int) -> list[NDArray[np.int64]]:
    """Consecutive shapes in about `chunks` groups of about equal face counts."""
    share = (np.cumsum(face_counts) - face_counts) * chunks // max(int(face_counts.sum()), 1)
    groups = [np.flatnonzero(share == index) for index in range(chunks)]
    return [rows for rows in groups if len(rows)]
