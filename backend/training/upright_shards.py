# SPDX-License-Identifier: GPL-3.0-or-later
"""Set training shapes upright, as the product sets them upright before the network sees them.

    python -m backend.training.upright_shards train.pack more.pack fused.npz.xz -o upright --workers 16

writes `upright/train.npz.xz` and so on. Up is what is known of a shape (`known_label`), else what the bundled
network finds (`backend.upright`); the rest of the turn is that of the shape's own frame. So a network that
sets shapes upright sees these as they are stored, but for shapes whose sides look alike, which have several
such frames. Stored positions are permuted and mirrored, not rounded again; faces that a mirror would turn
inside out are wound the other way. Shapes that cannot be segmented are kept as they are.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import DataError, MeshError, PartSAMError
from ..geometry import Mesh, sample_surface, validate_mesh
from ..geometry.mesh import FloatArray
from ..labelled_meshes.packing import load_shapes
from ..labelled_meshes.shards import ShapeSet, packed_shapes, unpacked_shapes, write_shard
from ..upright import SEEN_POINTS, bundled_upright, upright_turn
from .upright import AXES, DIRECTIONS, UNKNOWN, UP_KEY, known_label

log = logging.getLogger(__name__)

_SUFFIX = ".npz.xz"
_AT_ONCE = 16
"""Shapes that a worker takes at a time."""
_LARGEST = 65535
"""Stored positions reach from 0 to this."""


@dataclass(frozen=True)
class UprightTurns:
    """How to set shapes upright.

    turns: int8 [S, 3, 3], signed permutations
    found: bool [S], whether the shape could be looked at; its turn is none otherwise
    known: bool [S], whether its up axis was known rather than estimated
    """

    turns: NDArray[np.int8]
    found: NDArray[np.bool_]
    known: NDArray[np.bool_]

    def counts(self) -> dict[str, Counter[str]]:
        """How many shapes had each of `AXES` up, of those `known` and those `estimated`."""
        up = self.turns[:, 1]
        axes = np.argmax((DIRECTIONS[:, 1].numpy()[None] * up[:, None]).sum(axis=2), axis=1)
        return {
            name: Counter(AXES[axis] for axis in axes[self.found & rows])
            for name, rows in (("known", self.known), ("estimated", ~self.known))
        }


def set_upright(shapes: ShapeSet, *, workers: int | None = None) -> tuple[ShapeSet, UprightTurns]:
    """The shapes set upright, in the same order, and how each was turned.

    workers: processes, None for all cores, 1 for this process alone
    """
    pieces = [range(first, min(first + _AT_ONCE, len(shapes))) for first in range(0, len(shapes), _AT_ONCE)]
    packed = (packed_shapes(shapes.subset(rows)) for rows in pieces)
    count = min(workers or os.cpu_count() or 1, len(pieces))
    found = [turn for piece in _turns_of_pieces(packed, count) for turn in piece]
    turns = UprightTurns(
        np.array([np.eye(3) if turn is None else turn for turn in found], dtype=np.int8),
        np.array([turn is not None for turn in found]),
        np.array([known_label(info) != UNKNOWN for info in shapes.info]),
    )
    return turned_shapes(shapes, turns), turns


def turned_shapes(shapes: ShapeSet, turns: UprightTurns) -> ShapeSet:
    """The shapes with their stored positions turned; those that were set upright say so in their info."""
    vertices, faces = shapes.vertices.copy(), shapes.faces.copy()
    starts, face_starts = shapes.vertex_starts, shapes.face_starts
    for row, turn in enumerate(turns.turns):
        of_vertices, of_faces = (slice(ends[row], ends[row + 1]) for ends in (starts, face_starts))
        vertices[of_vertices] = _turned_positions(vertices[of_vertices], turn)
        if np.linalg.det(turn) < 0:
            faces[of_faces] = faces[of_faces, ::-1]
    info = tuple(
        line | {UP_KEY: "y"} if upright else line
        for line, upright in zip(shapes.info, turns.found, strict=True)
    )
    return replace(shapes, vertices=vertices, faces=faces, info=info)


def mesh_turn(mesh: Mesh, label: int) -> FloatArray:
    """The signed permutation float64 [3, 3] that sets a mesh upright in the frame of its own.

    label: row of `AXES` that is up, or UNKNOWN to have it estimated
    Raises MeshError for meshes that cannot be segmented.
    """
    validate_mesh(mesh)
    if label == UNKNOWN:
        drawn = sample_surface(mesh, SEEN_POINTS)  # as `ShapeEncoder` looks at it
        return upright_turn(bundled_upright(), drawn.points, drawn.normals, mesh.order.frame)
    turns = mesh.order.frame.turns()
    found: FloatArray = turns[int((turns[:, 1] @ DIRECTIONS[label, 1].double().numpy()).argmax())]
    return found


def outputs_of(shards: Sequence[str], folder: Path) -> dict[str, Path]:
    """The file that each file is written to. Raises DataError where two would be one, or a file would be
    written over."""
    outputs = {name: folder / f"{_stem(name)}{_SUFFIX}" for name in dict.fromkeys(shards)}
    for name, path in outputs.items():
        others = [other for other, theirs in outputs.items() if theirs == path and other != name]
        if others:
            raise DataError(f"{name} and {others[0]} would both be written to {path}; use two folders")
        if any(path.resolve() == Path(other).resolve() for other in outputs):
            raise DataError(f"{path} would be written over; give another folder with -o")
    return outputs


def _stem(name: str) -> str:
    base = Path(name).name
    return base.removesuffix(_SUFFIX) if base.endswith(_SUFFIX) else Path(base).stem


def _turns_of_pieces(packed: Iterator[bytes], workers: int) -> Iterator[list[FloatArray | None]]:
    if workers <= 1:
        yield from map(_turns_of_shapes, packed)
        return
    try:
        # Each computes with one thread: there are as many of them as cores.
        with ProcessPoolExecutor(
            workers, mp_context=get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)
        ) as pool:
            yield from pool.map(_turns_of_shapes, packed)
    except BrokenProcessPool as error:
        raise DataError("a process that sets shapes upright ended; give fewer --workers") from error


def _turns_of_shapes(packed: bytes) -> list[FloatArray | None]:
    """Of each of some shapes; None of those that cannot be segmented."""
    shapes = unpacked_shapes(packed)
    return [_turn_of_shape(shapes, row) for row in range(len(shapes))]


def _turn_of_shape(shapes: ShapeSet, row: int) -> FloatArray | None:
    shape = shapes.shape(row)
    try:
        return mesh_turn(shape.mesh, known_label(shape.info))
    except MeshError:
        return None


def _turned_positions(positions: NDArray[np.uint16], turn: NDArray[np.int8]) -> NDArray[np.uint16]:
    """Stored positions [V, 3] turned by a signed permutation [3, 3]; the stored cube stays where it is."""
    mirrored = turn.sum(axis=1) < 0
    turned: NDArray[np.uint16] = positions[:, np.abs(turn).argmax(axis=1)]
    turned[:, mirrored] = _LARGEST - turned[:, mirrored]
    return turned


def _log_counts(counts: dict[str, Counter[str]], unseen: int) -> None:
    for axis in AXES:
        log.info("%2s up: %d known, %d estimated", axis, *(counts[of][axis] for of in ("known", "estimated")))
    if unseen:
        log.info("%d shapes cannot be segmented and are as they were", unseen)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write a shard into the folder for each file that is named; exit status 1 where that fails."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("shards", nargs="+", help="files of training shapes")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the new shards")
    parser.add_argument("--workers", type=int, default=None, help="processes; default: all cores")
    args = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    counts: dict[str, Counter[str]] = {"known": Counter(), "estimated": Counter()}
    unseen = 0
    try:
        for name, path in outputs_of(args.shards, args.output).items():
            shapes, turns = set_upright(load_shapes([name]), workers=args.workers)
            _write(path, shapes)
            log.info("%d shapes of %s set upright in %s", turns.found.sum(), name, path)
            unseen += int((~turns.found).sum())
            for of, found in turns.counts().items():
                counts[of] += found
    except PartSAMError as error:
        log.error("%s", error)
        return 1
    _log_counts(counts, unseen)
    return 0


def _write(path: Path, shapes: ShapeSet) -> None:
    try:
        write_shard(path, shapes)
    except OSError as error:
        raise DataError(f"cannot write {path} ({error.strerror or error})") from error


if __name__ == "__main__":
    sys.exit(main())
