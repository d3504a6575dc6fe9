# SPDX-License-Identifier: GPL-3.0-or-later
"""One compact file for a whole training set, small enough to travel to a machine without a network.

Three measures, all decoded without a loop over faces or vertices:

- vertices are quantised (12 bits: 1/4096 of the longest side, far below the jitter of training), welded,
  put in the order of their first use by a face and stored as differences;
- a vertex index is stored as its distance from the newest vertex: 0 for a vertex never seen before;
- low and high bytes, and the axes, are stored apart, which is what xz compresses best.

Face order is untouched, so colours and labels are those of the shards. The file is a zip of
independent chunks (balanced by faces), so that decompression runs on all cores.
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
    """Shapes of shards (`.npz.xz`) and packed sets (anything else), in the order given."""
    sets = []
    shards = [path for path in paths if str(path).endswith(".npz.xz")]
    if shards:
        sets.append(read_shards(shards, workers=workers))
    sets += [read_packed(path, workers=workers) for path in paths if not str(path).endswith(".npz.xz")]
    return ShapeSet.concatenate(sets)


def encode_shapes(shapes: ShapeSet, bits: int) -> dict[str, NDArray]:
    """The compact fields of `shapes`; see the module's text."""
    positions, corners, counts = _first_use_order(shapes, bits)
    delta = np.diff(positions.astype(np.int64), axis=0, prepend=0)
    folded = np.where(delta < 0, -2 * delta - 1, 2 * delta).astype(np.uint32)
    newest = _newest_vertex(_is_new(corners, shapes.face_counts), shapes.face_counts)
    back = (newest - corners).astype(np.uint32)
    return {
        "format": np.array([FORMAT, bits], dtype=np.int32),
        "nv": counts.astype(np.int32),
        "nf": shapes.face_counts.astype(np.int32),
        "nl": shapes.labeling_counts.astype(np.int32),
        **_planes("v", folded.T.ravel()),
        **_planes("f", back),
        "c": shapes.colors.T.copy(),
        "l": shapes.labels,
        "info": info_bytes(shapes.info),
    }


def decode_shapes(arrays: dict[str, NDArray], name: str) -> ShapeSet:
    """The inverse of `encode_shapes`. Raises DataError for fields that do not fit together."""
    try:
        version, bits = (int(x) for x in arrays["format"])
        if version != FORMAT:
            raise DataError(f"{name} has format {version}; this version reads format {FORMAT}")
        face_counts = arrays["nf"].astype(np.int64)
        folded = _from_planes(arrays, "v").reshape(3, -1).T.astype(np.int64)
        delta = np.where(folded & 1, -(folded + 1) // 2, folded // 2)
        positions = np.cumsum(delta, axis=0)
        vertices = (positions * 65535 + (2**bits - 1) // 2) // (2**bits - 1)
        back = _from_planes(arrays, "f").astype(np.int64)
        corners = _newest_vertex(back == 0, face_counts) - back
        shapes = ShapeSet(
            vertex_counts=arrays["nv"].astype(np.int64),
            face_counts=face_counts,
            labeling_counts=arrays["nl"].astype(np.int64),
            vertices=vertices.astype(np.uint16),
            faces=corners.reshape(-1, 3).astype(np.uint16),
            colors=np.ascontiguousarray(arrays["c"].T),
            labels=arrays["l"],
            info=parse_info(arrays["info"], name),
        )
    except (KeyError, ValueError, IndexError) as error:
        raise DataError(f"{name} is no chunk of a packed training set ({error})") from error
    check_shapes(shapes, name)
    return shapes


def _first_use_order(shapes: ShapeSet, bits: int) -> tuple[NDArray, NDArray, NDArray]:
    """Quantised, welded vertices in the order of first use.

    Returns positions uint16 [V, 3], flat local corner indices int64 [3 F], vertices per shape int64 [S].
    """
    quantised = (shapes.vertices.astype(np.int64) * (2**bits - 1) + 32767) // 65535
    owner = np.repeat(np.arange(len(shapes)), shapes.vertex_counts)
    key = (owner << 48) | (quantised[:, 0] << 32) | (quantised[:, 1] << 16) | quantised[:, 2]
    shift = np.repeat(shapes.vertex_starts[:-1], shapes.face_counts)
    corner_keys = key[(shapes.faces.astype(np.int64) + shift[:, None]).ravel()]
    unique, first, inverse = np.unique(corner_keys, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    used = unique[order]
    positions = np.stack([(used >> 32) & 0xFFFF, (used >> 16) & 0xFFFF, used & 0xFFFF], axis=1)
    counts = np.bincount(used >> 48, minlength=len(shapes))
    local = rank[inverse] - np.repeat(starts_of(counts)[:-1], 3 * shapes.face_counts)
    return positions.astype(np.uint16), local, counts


def _is_new(corners: NDArray[np.int64], face_counts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each corner is the first use of its vertex (vertices are in first-use order), bool [3 F]."""
    starts = 3 * starts_of(face_counts)[:-1]
    high = np.zeros(len(corners), dtype=np.int64)
    shape = np.repeat(np.arange(len(face_counts)), 3 * face_counts)
    # One running maximum for all shapes: offset each shape above every index of the one before.
    lifted = corners + (shape << 20)
    high[1:] = np.maximum.accumulate(lifted)[:-1]
    new = lifted > high
    new[starts] = True
    return new


def _newest_vertex(is_new: NDArray[np.bool_], face_counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Index the next new vertex would get, before each corner, local to its shape, int64 [3 F]."""
    before = np.cumsum(is_new) - is_new
    return before - np.repeat(before[3 * starts_of(face_counts)[:-1]], 3 * face_counts)


def _planes(name: str, values: NDArray[np.uint32]) -> dict[str, NDArray[np.uint8]]:
    return {
        f"{name}_low": (values & 255).astype(np.uint8),
        f"{name}_mid": ((values >> 8) & 255).astype(np.uint8),
        f"{name}_high": (values >> 16).astype(np.uint8),
    }


def _from_planes(arrays: dict[str, NDArray], name: str) -> NDArray[np.uint32]:
    low, mid, high = (arrays[f"{name}_{part}"].astype(np.uint32) for part in ("low", "mid", "high"))
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
