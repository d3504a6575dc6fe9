# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of crease regions, one beside each file of training shapes.

    python -m backend.training.region_files train.pack fused.pack more.npz.xz --workers 16

writes `train.pack.regions.npz` and so on. A run whose network has `region_prompt` reads them, and makes
those that are missing. Regions are those of the meshes as stored. With `--noisy` a share of the shapes gets
noise, as scans have it: a run that reads the file trains on those meshes with the noise, and the regions are
theirs. Regions of shapes of too many faces, and of shapes that cannot be segmented, are unknown.

The file is an uncompressed `.npz`: `checksums` int64 [S], of each shape's vertices, by which a file that
belongs to other shapes is recognised; `face_counts`, `atom_counts` int64 [S], 0 atoms where the regions are
unknown; `noisy`, the share of the shapes with noise; `sizes` int64 [S], bytes of each shape in `data`: the
atoms of its faces and the table of `StoredRegions`, column after column, compressed by zlib.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import os
import sys
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import DataError, PartSAMError
from ..geometry.mesh import FloatArray, Mesh
from ..labelled_meshes.packing import load_shapes, loading_order
from ..labelled_meshes.shards import (
    POSITION_SCALE,
    ShapeSet,
    map_threads,
    packed_shapes,
    starts_of,
    unpacked_shapes,
)
from ..refinement.face_graph import build_face_graph
from ..region_features import REGION_FEATURES
from ..segmentation.bends import graph_of_bends
from ..segmentation.creases import crease_regions
from ..segmentation.sites import Sites
from ..whole_files import appearing_whole
from .mesh_store import MeshStore
from .stored_regions import StoredRegions

log = logging.getLogger(__name__)

SUFFIX = ".regions.npz"
MOST_FACES = 50_000
"""Shapes of more faces have unknown regions."""

_FORMAT = 2
"""To be raised when regions come to be other numbers, too."""
_AT_ONCE = 16
"""Shapes that a worker takes at a time."""
_UNKNOWN = b""
_NOISE = 0.006
"""Largest standard deviation of the noise, in the stored cube: a tenth of an edge of a fused shape."""
_ROOM = 4.0
"""A shape with noise is scaled so that so many standard deviations have room around it."""


@dataclass(frozen=True)
class CodedRegions:
    """The regions of the shapes of one file, as they are written.

    checksums, face_counts, atom_counts: int64 [S]; blocks: each shape's compressed bytes, none where unknown
    noisy: share of the shapes that get noise
    """

    checksums: NDArray[np.int64]
    face_counts: NDArray[np.int64]
    atom_counts: NDArray[np.int64]
    blocks: tuple[bytes | memoryview, ...]
    noisy: float = 0.0

    def __len__(self) -> int:
        return len(self.blocks)


def region_file(path: Path | str) -> Path:
    """Where the regions of the shapes of `path` are."""
    return Path(f"{path}{SUFFIX}")


def load_regions(
    paths: Sequence[Path | str], shapes: ShapeSet, *, workers: int | None = None
) -> tuple[ShapeSet, StoredRegions]:
    """What `load_shapes(paths)` returned, with noise where the files say so, and the regions, on the CPU;
    missing files are made first.

    A file that is named twice has its tables once. Raises DataError for a damaged file and where shapes and
    paths do not belong together.
    """
    coded = {str(path): _found_or_made(path, workers) for path in dict.fromkeys(map(str, paths))}
    order = [str(path) for path in loading_order(paths)]
    expected = np.concatenate([coded[path].checksums for path in order])
    if not np.array_equal(expected, checksums(shapes)):
        raise DataError("the shapes are others than the files of regions are about; remove those files")
    noisy = np.concatenate([np.full(len(coded[path]), coded[path].noisy) for path in order])
    regions = decoded(list(coded.values()), [list(coded).index(path) for path in order])
    return with_noise(shapes, noisy), regions


def load_store(
    paths: Sequence[Path | str],
    *,
    with_regions: bool,
    workers: int | None = None,
    device: torch.device | str = "cpu",
) -> MeshStore:
    """The shapes of shards and packed sets, on `device`, with their regions if they are wanted."""
    shapes = load_shapes(paths, workers=workers)
    if not with_regions:
        return MeshStore.from_shapes(shapes, device=device)
    shapes, regions = load_regions(paths, shapes, workers=workers)
    return MeshStore.from_shapes(shapes, regions=regions, device=device)


def write_regions(path: Path | str, *, noisy: float = 0.0, workers: int | None = None) -> CodedRegions:
    """Compute the regions of all shapes of a file, and write them beside it if the folder allows it.

    noisy: share of the shapes that get noise
    """
    coded = code_regions(load_shapes([path]), noisy=noisy, workers=workers)
    unknown = int((coded.atom_counts == 0).sum())
    log.info("regions of %d shapes of %s, %d unknown", len(coded), path, unknown)
    try:
        with appearing_whole(region_file(path)) as partial, partial.open("wb") as file:
            np.savez(
                file,
                format=np.array([_FORMAT, REGION_FEATURES]),
                checksums=coded.checksums,
                face_counts=coded.face_counts,
                atom_counts=coded.atom_counts,
                noisy=np.array(coded.noisy),
                sizes=np.array([len(block) for block in coded.blocks], dtype=np.int64),
                data=np.frombuffer(b"".join(coded.blocks), dtype=np.uint8),
            )
    except OSError as error:
        log.warning("cannot write %s (%s): its regions will be computed again", region_file(path), error)
    return coded


def read_regions(path: Path | str) -> CodedRegions:
    """The regions of the shapes of `path`. Raises DataError for a damaged or foreign file."""
    name = region_file(path)
    try:
        with name.open("rb") as file, np.load(file) as arrays:
            if arrays["format"].tolist() != [_FORMAT, REGION_FEATURES]:
                raise DataError(f"{name} was written by another version; remove it")
            data, ends = memoryview(arrays["data"]), starts_of(arrays["sizes"])  # sliced, it stays one
            if ends[-1] != len(data):
                raise ValueError("sizes do not add up")
            blocks = tuple(data[start:end] for start, end in itertools.pairwise(ends))
            return CodedRegions(
                arrays["checksums"],
                arrays["face_counts"],
                arrays["atom_counts"],
                blocks,
                float(arrays["noisy"]),
            )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{name} is damaged or no file of regions ({error}); remove it") from error


def code_regions(shapes: ShapeSet, *, noisy: float = 0.0, workers: int | None = None) -> CodedRegions:
    """Compute the regions of all shapes. workers: processes, None for all cores, 1 for this process alone."""
    found = with_noise(shapes, np.full(len(shapes), noisy))
    pieces = [range(first, min(first + _AT_ONCE, len(shapes))) for first in range(0, len(shapes), _AT_ONCE)]
    packed = (packed_shapes(found.subset(rows)) for rows in pieces)
    count = min(workers or os.cpu_count() or 1, len(pieces))
    results = [coded for part in _coded_pieces(packed, count) for coded in part]
    return CodedRegions(
        checksums(shapes),
        shapes.face_counts,
        np.array([atoms for atoms, _ in results], dtype=np.int64),
        tuple(block for _, block in results),
        noisy,
    )


def with_noise(shapes: ShapeSet, noisy: FloatArray) -> ShapeSet:
    """The shapes, some of them with noise: the same ones and the same noise whenever it is asked for.

    noisy: float64 [S], how likely each is one of them
    """
    vertices = shapes.vertices
    rows = zip(checksums(shapes), noisy, itertools.pairwise(shapes.vertex_starts), strict=True)
    for seed, likely, (start, end) in rows:
        random = np.random.default_rng(int(seed))
        if random.random() < likely:
            vertices = vertices.copy() if vertices is shapes.vertices else vertices
            vertices[start:end] = _moved(vertices[start:end], random)
    return replace(shapes, vertices=vertices)


def checksums(shapes: ShapeSet) -> NDArray[np.int64]:
    """Of the vertices of each shape, int64 [S]."""
    rows = itertools.pairwise(shapes.vertex_starts)
    return np.array([zlib.crc32(shapes.vertices[start:end].tobytes()) for start, end in rows], dtype=np.int64)


def decoded(files: Sequence[CodedRegions], order: Sequence[int]) -> StoredRegions:
    """All shapes of the files `order`, which may name one more than once."""
    squares = np.concatenate([coded.atom_counts**2 for coded in files])
    pairs = np.zeros((max(1, int(squares.sum())), REGION_FEATURES), dtype=np.float16)
    starts = np.split(starts_of(squares)[:-1], np.cumsum([len(coded) for coded in files])[:-1])
    atoms = [_decode_into(pairs, coded, first) for coded, first in zip(files, starts, strict=True)]
    counts = [files[number].atom_counts for number in order]
    return StoredRegions(
        atoms=torch.from_numpy(np.concatenate([atoms[number] for number in order])),
        counts=torch.from_numpy(np.concatenate(counts)),
        starts=torch.from_numpy(np.concatenate([starts[number] for number in order])),
        pairs=torch.from_numpy(pairs),
        most=StoredRegions.columns_for(max(int(column.max(initial=0)) for column in counts)),
    )


def _found_or_made(path: str, workers: int | None) -> CodedRegions:
    if region_file(path).exists():
        return read_regions(path)
    log.warning("no %s: computing the regions of its shapes, once", region_file(path))
    return write_regions(path, workers=workers)


def _coded_pieces(packed: Iterator[bytes], workers: int) -> Iterator[list[tuple[int, bytes]]]:
    if workers <= 1:
        yield from map(_coded_shapes, packed)
        return
    try:
        # Not forked: this process may hold a graphics card, and has threads.
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            yield from pool.map(_coded_shapes, packed)
    except BrokenProcessPool as error:
        raise DataError("a process that computes regions ended; give fewer --workers") from error


def _coded_shapes(packed: bytes) -> list[tuple[int, bytes]]:
    """Number of atoms and compressed bytes of each of some shapes."""
    shapes = unpacked_shapes(packed)
    return [_coded_shape(shapes.shape(row).mesh) for row in range(len(shapes))]


def _moved(vertices: NDArray[np.uint16], random: np.random.Generator) -> NDArray[np.uint16]:
    """Stored vertices [V, 3] with noise; what is in one place stays in one."""
    size = _NOISE * random.random()
    keys = vertices.astype(np.int64) @ (1 << np.array([32, 16, 0]))
    places = np.unique(keys, return_inverse=True)[1].ravel()
    moved = (vertices / POSITION_SCALE - 1) * (1 - _ROOM * size)
    moved += random.normal(0, size, vertices.shape)[places]
    found: NDArray[np.uint16] = np.clip(np.rint((moved + 1) * POSITION_SCALE), 0, 65535).astype(np.uint16)
    return found


def _coded_shape(mesh: Mesh) -> tuple[int, bytes]:
    if mesh.face_count > MOST_FACES:
        return 0, _UNKNOWN
    try:
        graph = build_face_graph(mesh, link_shells=False)  # regions end at links
        total = graph.face_areas.sum()
        if not total > 0:
            return 0, _UNKNOWN
        sites = Sites.of_mesh(mesh, np.arange(mesh.face_count))  # every face is one
        regions = crease_regions(graph_of_bends(graph, sites, mesh), sites.weights)
    except PartSAMError:
        return 0, _UNKNOWN
    planes = np.ascontiguousarray(regions.pairs.transpose(2, 0, 1), dtype=np.float16)
    data = regions.of_sites.astype(np.uint8).tobytes() + planes.tobytes()
    return len(regions.pairs), zlib.compress(data, 1)


def _decode_into(
    pairs: NDArray[np.float16], coded: CodedRegions, starts: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """Write each shape's table into `pairs`, from its row in `starts`; returns the atoms of all faces."""
    faces = starts_of(coded.face_counts)
    atoms = np.zeros(int(faces[-1]), dtype=np.uint8)

    def decode(row: int) -> None:
        count, face_count = int(coded.atom_counts[row]), int(coded.face_counts[row])
        if not count:
            return
        data = zlib.decompress(coded.blocks[row])
        atoms[faces[row] : faces[row + 1]] = np.frombuffer(data, np.uint8, face_count)
        planes = np.frombuffer(data, np.float16, offset=face_count).reshape(REGION_FEATURES, -1)
        pairs[starts[row] : starts[row] + count**2] = planes.T

    try:
        map_threads(decode, range(len(coded)), workers=None)
    except (zlib.error, ValueError) as error:
        raise DataError(f"a file of regions is damaged ({error}); remove it") from error
    return atoms


def main(arguments: Sequence[str] | None = None) -> int:
    """Write a file beside each that is named; exit status 1 where that fails."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("shards", nargs="+", help="files of training shapes")
    parser.add_argument("--workers", type=int, default=None, help="processes; default: all cores")
    parser.add_argument("--noisy", type=float, default=0.0, help="share of the shapes; default: %(default)s")
    args = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    try:
        for path in dict.fromkeys(args.shards):
            write_regions(path, noisy=args.noisy, workers=args.workers)
    except PartSAMError as error:
        log.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
