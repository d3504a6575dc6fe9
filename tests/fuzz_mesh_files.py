# SPDX-License-Identifier: GPL-3.0-or-later
"""Damages mesh files at random and looks at what the readers make of them. Run by `dev.py fuzz`.

A damaged file must be read or refused: by a PartSAMError of one line that names the file, without a
warning, within seconds. What is read must be written and read again with the same faces. Whatever is not so
is kept in the output folder, with the seed that makes it again, and the exit code is 1. The process that
reads runs apart from the one that watches: it may crash, hang or fill its memory.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import random
import secrets
import struct
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from backend.errors import PartSAMError  # noqa: E402
from backend.mesh_files import read_mesh_file, write_parts  # noqa: E402

DATA = ROOT / "tests" / "data"
SECONDS_PER_FILE = 30.0
MEMORY = 6 * 2**30
LONGEST_MESSAGE = 700

NUMBERS = [
    b"nan", b"inf", b"-inf", b"1e400", b"-1", b"0", b"4294967296", b"99999999999999999999", b"1e-320", b"x",
    b"",
]  # fmt: skip
VALUES: list[Any] = [
    None, True, -1, 0, 1, 3, 2**31, 2**64, 1e30, float("nan"), "", "x", "../x", [], {}, [0], [[]], {"x": 1},
]  # fmt: skip


def corpus() -> list[Path]:
    """Small files of every format."""
    files = [path for folder in ("mesh_cases", "mesh_formats") for path in sorted((DATA / folder).iterdir())]
    readable = {".glb", ".obj", ".ply", ".stl", ".off"}
    return [path for path in files if path.suffix in readable]


# --- damaging --------------------------------------------------------------------------------------


def damaged(data: bytes, suffix: str, chance: random.Random) -> bytes:
    """The file with one to four random faults."""
    ways: list[Callable[[bytes, random.Random], bytes]] = [_flip, _cut, _drop, _double]
    if suffix == ".glb":
        ways += [_change_json] * 6
    else:
        ways += [_change_word] * 3 + [_change_line] * 2
    for _ in range(chance.choice([1, 1, 2, 4])):
        data = chance.choice(ways)(data, chance)
    return data


def _flip(data: bytes, chance: random.Random) -> bytes:
    content = bytearray(data)
    for _ in range(chance.randint(1, 8)):
        if content:
            content[chance.randrange(len(content))] = chance.choice([0, 255, chance.randrange(256)])
    return bytes(content)


def _cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randint(0, len(data))]


def _drop(data: bytes, chance: random.Random) -> bytes:
    start = chance.randint(0, len(data))
    return data[:start] + data[start + chance.randint(1, 64) :]


def _double(data: bytes, chance: random.Random) -> bytes:
    start = chance.randint(0, len(data))
    end = start + chance.randint(1, 256)
    return data[:end] + data[start:end] + data[end:]


def _change_word(data: bytes, chance: random.Random) -> bytes:
    words = data.split(b" ")
    # The start holds the header, which decides most.
    bound = len(words) if chance.random() < 0.5 else min(len(words), 60)
    words[chance.randrange(bound)] = chance.choice(NUMBERS)
    return b" ".join(words)


def _change_line(data: bytes, chance: random.Random) -> bytes:
    lines = data.split(b"\n")
    first, second = (chance.randrange(len(lines)) for _ in range(2))
    match chance.randrange(3):
        case 0:
            del lines[first]
        case 1:
            lines.insert(first, lines[second])
        case _:
            lines[first], lines[second] = lines[second], lines[first]
    return b"\n".join(lines)


def _change_json(data: bytes, chance: random.Random) -> bytes:
    """Change the structure of a GLB's JSON: what is read from a buffer otherwise, or refers to nothing."""
    try:
        _, _, _, length, _ = struct.unpack_from("<IIIII", data)
        tree, rest = json.loads(data[20 : 20 + length]), data[20 + length :]
    except (struct.error, ValueError):
        return data
    places = list(_places(tree))
    for _ in range(chance.randint(1, 3)):
        if places:
            _change_place(
                *chance.choice(places), [holder[key] for holder, key in places if _has(holder, key)], chance
            )
    text = json.dumps(tree).encode()
    text += b" " * (-len(text) % 4)
    body = struct.pack("<II", len(text), 0x4E4F534A) + text + rest
    return struct.pack("<III", 0x46546C67, 2, 12 + len(body)) + body


def _places(tree: Any) -> Any:
    """Every (holder, key) of a JSON tree."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in list(items):
        yield tree, key
        yield from _places(value)


def _has(holder: Any, key: Any) -> bool:
    return key in holder if isinstance(holder, dict) else key < len(holder)


def _change_place(holder: Any, key: Any, others: list[Any], chance: random.Random) -> None:
    if not _has(holder, key):
        return
    match chance.randrange(5):
        case 0:
            del holder[key]
        case 1:
            holder[key] = json.loads(json.dumps(chance.choice(others)))
        case 2 if isinstance(holder, list):
            holder.append(json.loads(json.dumps(holder[key])))
        case 3 if isinstance(holder[key], int):
            holder[key] += chance.choice([-1, 1, 255, 2**16, 2**31])
        case _:
            holder[key] = chance.choice(VALUES)


# --- judging ---------------------------------------------------------------------------------------


def verdict(path: Path) -> tuple[str, str]:
    """("read", "refused" or "fault", what is wrong) of one file."""
    try:
        scene = read_mesh_file(path)
        count = scene.mesh.face_count
        out = path.with_name("written.glb")
        write_parts(out, scene, np.arange(count) % min(3, count))
        again = read_mesh_file(out)
        if again.mesh.face_count != count:
            return "fault", f"{count} faces were written, {again.mesh.face_count} read"
    except PartSAMError as error:
        message = str(error)
        if (
            "\n" in message
            or (path.name not in message and "mesh" not in message)
            or len(message) > LONGEST_MESSAGE
        ):
            return "fault", f"a message that is not one short line with the file's name: {message[:2000]}"
        return "refused", message
    except BaseException:
        return "fault", traceback.format_exc()
    return "read", ""


def _work(pipe: Connection) -> None:
    """Judge the files whose names come through the pipe."""
    warnings.simplefilter("error")
    logging.disable(logging.CRITICAL)
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    except ImportError:
        pass
    while True:
        pipe.send(verdict(Path(pipe.recv())))


class Worker:
    """The process that reads, started anew when it dies or hangs."""

    def __init__(self) -> None:
        self._start()

    def judge(self, path: Path) -> tuple[str, str]:
        try:
            self._pipe.send(str(path))
            if self._pipe.poll(SECONDS_PER_FILE):
                result: tuple[str, str] = self._pipe.recv()
                return result
            problem = f"no end within {SECONDS_PER_FILE:g} s"
        except (EOFError, OSError):
            self._process.join()
            problem = f"the process ended with {self._process.exitcode}"
        self.close()
        self._start()
        return "fault", problem

    def close(self) -> None:
        self._process.kill()
        self._process.join()

    def _start(self) -> None:
        self._pipe, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.Process(target=_work, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()


def fuzz(*, seconds: float, seed: int, output: Path, files: int | None = None) -> int:
    """Judge damaged files for some time, or some number of them; the number of faults."""
    sources = [(path.suffix, path.read_bytes()) for path in corpus()]
    worker, counts, kinds = Worker(), Counter[str](), Counter[str]()
    end = time.monotonic() + seconds
    number = 0
    with tempfile.TemporaryDirectory() as folder:
        while time.monotonic() < end and (files is None or number < files):
            chance = random.Random(f"{seed}/{number}")
            suffix, data = chance.choice(sources)
            content = damaged(data, suffix, chance)
            path = Path(folder, f"damaged{suffix}")
            path.write_bytes(content)
            result, detail = worker.judge(path)
            counts[result] += 1
            kind = detail.strip().splitlines()[-1][:150] if detail else ""
            if result == "fault" and kinds[kind] < 3:
                output.mkdir(parents=True, exist_ok=True)
                (output / f"{seed}_{number}{suffix}").write_bytes(content)
                print(f"--- seed {seed}, file {number} ({suffix}), kept in {output}\n{detail}")
            kinds[kind] += result == "fault"
            number += 1
    worker.close()
    print(f"seed {seed}: {number:,} files, {counts['read']:,} read, {counts['refused']:,} refused, "
          f"{counts['fault']:,} faults")  # fmt: skip
    return counts["fault"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--files", type=int, help="stop after so many")
    parser.add_argument("--seed", type=int, help="default: a fresh one, printed at the end")
    parser.add_argument("--output", type=Path, default=ROOT / "test_artifacts" / "fuzz")
    options = parser.parse_args()
    seed = secrets.randbelow(10**9) if options.seed is None else options.seed
    faults = fuzz(seconds=60 * options.minutes, seed=seed, output=options.output, files=options.files)
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
