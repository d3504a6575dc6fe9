# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of crease regions, one beside each file of training shapes.

    python -m backend.training.region_files train.pack fused.pack more.npz.xz --workers 16

writes `train.pack.regions.npz` and so on. A run whose network has `region_prompt` reads them, and makes
those that are missing. Regions are those of the meshes as stored, or, for the share `--noisy` of the shapes,
those of the mesh with noise, so that a network learns how far to trust them. Those of shapes of too many
faces, and of shapes that cannot be segmented, are unknown.

The file is an uncompressed `.npz`: `checksums` int64 [S], of each shape's vertices, by which a file that
belongs to other shapes is recognised; `face_counts`, `atom_counts` int64 [S], 0 atoms where the regions are
unknown; `sizes` int64 [S], bytes of each shape in `data`: the atoms of its faces and the table of
`StoredRegions`, column after column, compressed by zlib.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import logging
import os
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import DataError, PartSAMError
from ..geometry.mesh import Mesh
from ..labelled_meshes.packing import load_shapes, loading_order
from ..labelled_meshes.shards import ShapeSet, map_threads, packed_shapes, starts_of, unpacked_shapes
from ..refinement.face_graph import build_face_graph
from ..region_features import REGION_FEATURES
from ..segmentation.creases import crease_regions
from ..whole_files import appearing_whole
from .mesh_store import MeshStore
from .stored_regions import StoredRegions

log = logging.getLogger(__name__)

SUFFIX = ".regions.npz"
MOST_FACES = 50_000
"""Shapes of more faces have unknown regions."""

_FORMAT = 1
"""To be raised when `crease_regions` comes to give other numbers, too."""
_AT_ONCE = 16
"""Shapes that a worker takes at a time."""
_UNKNOWN = b""
_NOISE = 0.006
"""Largest standard deviation of the noise, in the stored cube: a tenth of an edge of a fused shape."""


@dataclass(frozen=True)
class CodedRegions:
    """The regions of the shapes of one file, as they are written.

    checksums, face_counts, atom_counts: int64 [S]; blocks: each shape's compressed bytes, none where unknown
    """

    checksums: NDArray[np.int64]
    face_counts: NDArray[np.int64]
    atom_counts: NDArray[np.int64]
    blocks: tuple[bytes, ...]

    def __len__(self) -> int:
        return len(self.blocks)


def region_file(path: Path | str) -> Path:
    """Where the regions of the shapes of `path` are."""
    return Path(f"{path}{SUFFIX}")


def load_regions(
    paths: Sequence[Path | str], shapes: ShapeSet, *, workers: int | None = None
) -> StoredRegions:
    """The regions of what `load_shapes(paths)` returned; missing files are made first. On the CPU.

    A file that is named twice has its tables once. Raises DataError for a damaged file and where shapes and
    paths do not belong together.
    """
    coded = {str(path): _found_or_made(path, workers) for path in dict.fromkeys(map(str, paths))}
    order = [str(path) for path in loading_order(paths)]
    expected = np.concatenate([coded[path].checksums for path in order])
    if not np.array_equal(expected, checksums(shapes)):
        raise DataError("the shapes are others than the files of regions are about; remove those files")
    return decoded(list(coded.values()), [list(coded).index(path) for path in order])


def load_store(
    paths: Sequence[Path | str],
    *,
    with_regions: bool,
    workers: int | None = None,
    device: torch.device | str = "cpu",
) -> MeshStore:
    """The shapes of shards and packed sets, on `device`, with their regions if they are wanted."""
    shapes = load_shapes(paths, workers=workers)
    regions = load_regions(paths, shapes, workers=workers) if with_regions else None
    return MeshStore.from_shapes(shapes, regions=regions, device=device)


def write_regions(path: Path | str, *, noisy: float = 0.0, workers: int | None = None) -> CodedRegions:
    """Compute the regions of all shapes of a file, and write them beside it if the folder allows it.

    noisy: share of the shapes whose vertices get noise first
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
            data, ends = arrays["data"].tobytes(), starts_of(arrays["sizes"])
            if ends[-1] != len(data):
                raise ValueError("sizes do not add up")
            blocks = tuple(data[start:end] for start, end in itertools.pairwise(ends))
            return CodedRegions(arrays["checksums"], arrays["face_counts"], arrays["atom_counts"], blocks)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{name} is damaged or no file of regions ({error}); remove it") from error


def code_regions(shapes: ShapeSet, *, noisy: float = 0.0, workers: int | None = None) -> CodedRegions:
    """Compute the regions of all shapes. workers: processes, None for all cores, 1 for this process alone."""
    work = functools.partial(_coded_shapes, noisy=noisy)
    pieces = [range(first, min(first + _AT_ONCE, len(shapes))) for first in range(0, len(shapes), _AT_ONCE)]
    packed = (packed_shapes(shapes.subset(rows)) for rows in pieces)
    count = min(workers or os.cpu_count() or 1, len(pieces))
    results = [coded for part in _coded_pieces(work, packed, count) for coded in part]
    return CodedRegions(
        checksums(shapes),
        shapes.face_counts,
        np.array([atoms for atoms, _ in results], dtype=np.int64),
        tuple(block for _, block in results),
    )


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


def _coded_pieces(
    work: Callable[[bytes], list[tuple[int, bytes]]], packed: Iterator[bytes], workers: int
) -> Iterator[list[tuple[int, bytes]]]:
    if workers <= 1:
        yield from map(work, packed)
        return
    try:
        # Not forked: this process may hold a graphics card, and has threads.
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            yield from pool.map(work, packed)
    except BrokenProcessPool as error:
        raise DataError("a process that computes regions ended; give fewer --workers") from error


def _coded_shapes(packed: bytes, *, noisy: float) -> list[tuple[int, bytes]]:
    """Number of atoms and compressed bytes of each of some shapes."""
    shapes = unpacked_shapes(packed)
    meshes = (shapes.shape(row).mesh for row in range(len(shapes)))
    return [
        _coded_shape(_with_noise(mesh, noisy, int(seed)))
        for mesh, seed in zip(meshes, checksums(shapes), strict=True)
    ]


def _with_noise(mesh: Mesh, share: float, seed: int) -> Mesh:
    """The mesh, with vertices moved if it is one of the share; the same for the same seed."""
    random = np.random.default_rng(seed)
    if random.random() >= share:
        return mesh
    moved = random.normal(0, _NOISE * random.random(), mesh.vertices.shape)
    places = np.unique(mesh.vertices, axis=0, return_inverse=True)[1].ravel()  # what is one place stays one
    return Mesh(mesh.vertices + moved[places], mesh.triangles)


def _coded_shape(mesh: Mesh) -> tuple[int, bytes]:
    if mesh.face_count > MOST_FACES:
        return 0, _UNKNOWN
    try:
        graph = build_face_graph(mesh, link_shells=False)  # regions end at links
        total = graph.face_areas.sum()
        if not total > 0:
            return 0, _UNKNOWN
        regions = crease_regions(graph, graph.face_areas / total)
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
