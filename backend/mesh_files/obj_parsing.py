# SPDX-License-Identifier: GPL-3.0-or-later
"""The text of a Wavefront OBJ file as arrays.

Own code because the parsers that can be had reorder the faces, or take runs of materials quadratic time,
or lose what real files contain: comments behind values, tabs, other encodings, faces of which some have
texture coordinates.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..geometry.mesh import FloatArray, IntArray

_CHUNK = 1 << 16
"""Rows that are kept as text before they become numbers: text takes ten times the memory."""

_NAMELESS = (b"", b"default", b"off", b"(null)")
"""Groups that exporters write where there is none."""


@dataclass(frozen=True)
class ObjText:
    """What an OBJ file says.

    vertices: float64 [V, 3]; colors: float64 [V, 3 or 4] as written, or None
    uvs: float64 [T, 2]; normals: float64 [N, 3]
    sizes: int64 [F], corners of each face
    corners: int64 [C, 3], vertex, uv and normal of each corner; -1 where there is none
    runs: int64 [R, 3]: first face, material and object of each run of faces that share both
    materials, objects: names as bytes; index 0 of either is b"", none
    libraries: what `mtllib` names
    others: number of lines, points and curves
    """

    vertices: FloatArray
    colors: FloatArray | None
    uvs: FloatArray
    normals: FloatArray
    sizes: IntArray
    corners: IntArray
    runs: IntArray
    materials: list[bytes]
    objects: list[bytes]
    libraries: list[bytes]
    others: int


def parse_obj(data: bytes) -> ObjText:
    """Parse a file's bytes. ValueError for what is not numbers, or not there."""
    data = data.removeprefix(b"\xef\xbb\xbf")
    if b"\\" in data:
        data = data.replace(b"\\\r\n", b" ").replace(b"\\\n", b" ")
    tables = {b"v": _Rows(), b"vt": _Rows(), b"vn": _Rows()}
    faces, runs = _Faces(tables), _Runs()
    libraries: list[bytes] = []
    others = 0
    for line in data.splitlines():
        words = line.split(None, 1)
        if len(words) < 2:
            continue
        keyword, rest = words
        if keyword in tables:
            tables[keyword].append(rest.partition(b"#")[0].split())
        elif keyword in (b"f", b"fo"):
            runs.face(len(faces))
            faces.append(rest.partition(b"#")[0].split())
        elif keyword == b"usemtl":
            runs.use(material=rest.strip())
        elif keyword in (b"o", b"g"):
            runs.use(name=rest.strip())
        elif keyword == b"mtllib":
            libraries.append(rest.strip())
        elif keyword in (b"l", b"p", b"curv", b"curv2", b"surf"):
            others += 1
    vertices = tables[b"v"].array(3)
    colors = vertices[:, -4:] if vertices.shape[1] == 7 else vertices[:, 3:6]
    return ObjText(
        vertices=vertices[:, :3],
        colors=colors if vertices.shape[1] in (6, 7) else None,
        uvs=tables[b"vt"].array(2, missing=0.0)[:, :2],
        normals=tables[b"vn"].array(3)[:, :3],
        sizes=faces.sizes(),
        corners=faces.corners(),
        runs=np.array(runs.starts, dtype=np.int64).reshape(-1, 3),
        materials=list(runs.materials),
        objects=list(runs.objects),
        libraries=libraries,
        others=others,
    )


class _Rows:
    """Lines of numbers, turned into arrays a chunk at a time."""

    def __init__(self) -> None:
        self.count = 0
        self._text: list[list[bytes]] = []
        self._arrays: list[FloatArray] = []

    def append(self, words: list[bytes]) -> None:
        self.count += 1
        self._text.append(words)
        if len(self._text) == _CHUNK:
            self._flush()

    def array(self, least: int, *, missing: float = np.nan) -> FloatArray:
        """All rows [n, at least `least`]; those that are shorter than others are filled up."""
        self._flush()
        width = max([least, *(array.shape[1] for array in self._arrays)])
        padded = [
            np.pad(array, ((0, 0), (0, width - array.shape[1])), constant_values=np.nan)
            for array in self._arrays
        ]
        rows = np.concatenate(padded) if padded else np.zeros((0, width))
        rows[:, :least] = np.where(np.isnan(rows[:, :least]), missing, rows[:, :least])
        return rows

    def _flush(self) -> None:
        if not self._text:
            return
        width = max(map(len, self._text))
        if min(map(len, self._text)) < width:
            self._text = [words + [b"nan"] * (width - len(words)) for words in self._text]
        self._arrays.append(np.array(self._text, dtype=np.bytes_).astype(np.float64))
        self._text = []


class _Faces:
    """Faces as corners, with indices from 0; what is relative counts back from the line it stands in."""

    def __init__(self, tables: dict[bytes, _Rows]) -> None:
        self._tables = tables
        self._sizes: list[int] = []
        self._words: list[bytes] = []
        self._arrays: list[IntArray] = []

    def __len__(self) -> int:
        return len(self._sizes)

    def append(self, words: list[bytes]) -> None:
        self._sizes.append(len(words))
        if any(b"-" in word for word in words):
            words = [self._absolute(word) for word in words]
        self._words += words
        if len(self._words) >= _CHUNK:
            self._flush()

    def sizes(self) -> IntArray:
        return np.array(self._sizes, dtype=np.int64)

    def corners(self) -> IntArray:
        """int64 [C, 3], -1 where there is none or where it is not in the file."""
        self._flush()
        corners = np.concatenate(self._arrays) if self._arrays else np.zeros((0, 3), dtype=np.int64)
        counts = [rows.count for rows in self._tables.values()]
        if len(corners) and (corners[:, 0].min() < 0 or corners[:, 0].max() >= counts[0]):
            raise ValueError("faces refer to vertices that are not there")
        return np.where(corners < counts, corners, -1)

    def _absolute(self, word: bytes) -> bytes:
        numbers = word.split(b"/")
        for place, rows in zip(range(len(numbers)), self._tables.values(), strict=False):
            if numbers[place].startswith(b"-"):
                numbers[place] = b"%d" % (int(numbers[place]) + 1 + rows.count)
        return b"/".join(numbers)

    def _flush(self) -> None:
        if not self._words:
            return
        split = [word.split(b"/") for word in self._words]
        columns = [_numbers([row[0] for row in split])]
        columns += [_numbers([row[place] if len(row) > place else b"" for row in split]) for place in (1, 2)]
        self._arrays.append(np.column_stack(columns) - 1)
        self._words = []


def _numbers(words: Sequence[bytes]) -> IntArray:
    """Whole numbers int64 [n]; an empty word is 0."""
    return np.array([word or b"0" for word in words], dtype=np.bytes_).astype(np.int64)


class _Runs:
    """Which material and object the faces belong to, as runs."""

    def __init__(self) -> None:
        self.starts: list[tuple[int, int, int]] = []
        self.materials: dict[bytes, int] = {b"": 0}
        self.objects: dict[bytes, int] = {b"": 0}
        self._now = (0, 0)

    def use(self, *, material: bytes | None = None, name: bytes | None = None) -> None:
        if material is not None:
            self._now = _number_of(material, self.materials), self._now[1]
        if name is not None and name.lower() not in _NAMELESS:
            self._now = self._now[0], _number_of(name, self.objects)

    def face(self, number: int) -> None:
        if not self.starts or self.starts[-1][1:] != self._now:
            self.starts.append((number, *self._now))


def _number_of(name: bytes, numbers: dict[bytes, int]) -> int:
    return numbers.setdefault(name, len(numbers))


def as_text(name: bytes) -> str:
    """A name from a file that does not tell its encoding: UTF-8 where it is that, else Latin-1."""
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        return name.decode("latin-1")


def distinct(names: Iterable[bytes]) -> list[bytes]:
    """The names without repetition, in order."""
    return list(dict.fromkeys(names))
