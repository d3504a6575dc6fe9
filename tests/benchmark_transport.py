# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures how a mesh of a million faces crosses to another process: through the pipe, or through files.

    python tests/benchmark_transport.py [rounds]

The figures in docs/protocol.md come from here. Not a test: it asserts nothing.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from backend.service.protocol import Message, content_hash, read_message, write_message

FACES, VERTICES, POINTS = 1_000_000, 501_000, 10_000


def shape() -> dict[str, np.ndarray]:
    """What `encode` sends for a mesh of a million faces."""
    random = np.random.default_rng(0)
    return {
        "vertices": random.random((VERTICES, 3)),
        "triangles": random.integers(0, VERTICES, (FACES, 3), dtype=np.int32),
        "points": random.random((POINTS, 3)),
        "normals": random.random((POINTS, 3), dtype=np.float32),
        "colors": random.random((POINTS, 3), dtype=np.float32),
        "point_faces": random.integers(0, FACES, POINTS, dtype=np.int32),
    }


def serve(request_fd: int, reply_fd: int) -> None:
    """Read messages, touch all their values, and answer with labels, as the backend would."""
    with open(request_fd, "rb", buffering=0) as source, open(reply_fd, "wb", buffering=0) as sink:
        while (message := read_message(source)) is not None:
            arrays = message.arrays or mapped(message.fields)
            total = float(sum(array.sum(dtype=np.float64) for array in arrays.values()))
            labels = np.zeros(FACES, dtype=np.int32)
            write_message(sink, Message("result", message.id, {"total": total}, {"labels": labels}))


def mapped(files: dict[str, list]) -> dict[str, np.ndarray]:
    """The other way: arrays as memory-mapped files that the header names."""
    return {
        name: np.memmap(path, dtype=dtype, mode="r", shape=tuple(shape))
        for name, (path, dtype, shape) in files.items()
    }


def written(arrays: dict[str, np.ndarray], folder: Path) -> dict[str, list]:
    files = {}
    for name, array in arrays.items():
        array.tofile(folder / name)
        files[name] = [str(folder / name), array.dtype.name, list(array.shape)]
    return files


def main(rounds: int) -> None:
    request_read, request_write = os.pipe()
    reply_read, reply_write = os.pipe()
    context = multiprocessing.get_context("fork")
    server = context.Process(target=serve, args=(request_read, reply_write))
    server.start()
    arrays = shape()
    times: dict[str, list[float]] = {"content hash": [], "through the pipe": [], "through files": []}
    with (
        open(request_write, "wb", buffering=0) as sink,  # noqa: PTH123
        open(reply_read, "rb", buffering=0) as source,  # noqa: PTH123
        tempfile.TemporaryDirectory() as folder,
    ):
        for _ in range(rounds):
            started = time.perf_counter()
            content_hash(arrays)
            times["content hash"].append(time.perf_counter() - started)
            for way in ("through the pipe", "through files"):
                started = time.perf_counter()
                if way == "through files":
                    write_message(sink, Message("encode", 1, written(arrays, Path(folder))))
                else:
                    write_message(sink, Message("encode", 1, {}, arrays))
                read_message(source)
                times[way].append(time.perf_counter() - started)
        server.kill()  # it holds the writing end of its own input
    size = sum(array.nbytes for array in arrays.values())
    print(f"{size / 1e6:.1f} MB there, {FACES * 4 / 1e6:.1f} MB back; median and range of {rounds} rounds")
    for name, values in times.items():
        low, middle, high = (1000 * f(values) for f in (min, statistics.median, max))
        print(f"{name:18s} {middle:6.0f} ms ({low:.0f} to {high:.0f})")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 30)
