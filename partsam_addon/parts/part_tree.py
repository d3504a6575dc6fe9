# SPDX-License-Identifier: GPL-3.0-or-later
"""A part tree as it is stored with a mesh: labels for any granularity by a look-up. No bpy.

Faces that no granularity tells apart form an atom. There are far fewer atoms than faces, so the labels
of the atoms at each step make a small table.
"""

from __future__ import annotations

import base64
import binascii
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...backend.errors import MeshError

_HEADER = struct.Struct("<BHHIH")
_VERSION = 1

LEAK_SHARE = 0.2
"""Share of a label's area from which what lies outside of parts made by hand is a part of its own."""


@dataclass(frozen=True)
class Cut:
    """Where a part tree is cut. granularity in [0, 1]; strength None: the borders are not refined."""

    granularity: float = 0.5
    strength: float | None = 1.0


@dataclass(frozen=True)
class PartTree:
    """Labels of A atoms at S granularity steps from 0 to 1.

    labels: int [S, A], from 0
    confidences: float [S, P], predicted IoU of each label; what lies beyond a step's labels is 0
    """

    labels: NDArray[np.integer]
    confidences: NDArray[np.floating]

    @property
    def atom_count(self) -> int:
        return self.labels.shape[1]

    def cut(self, granularity: float) -> tuple[NDArray[np.integer], NDArray[np.floating]]:
        """The label of each atom [A], and the confidence of each label [P], at `granularity`."""
        step = round(min(max(granularity, 0.0), 1.0) * (len(self.labels) - 1))
        return self.labels[step], self.confidences[step]

    def part_count(self, granularity: float) -> int:
        return len(np.unique(self.cut(granularity)[0]))

    def at_steps(self, count: Callable[[NDArray[np.integer]], int]) -> NDArray[np.integer]:
        """For each step, int [S], what `count` makes of its labels [A]: asked once for equal ones."""
        distinct, rows = np.unique(self.labels, axis=0, return_inverse=True)
        values: NDArray[np.integer] = np.array([count(labels) for labels in distinct])[rows.reshape(-1)]
        return values

    def to_text(self) -> str:
        """The tree as ASCII text, compressed; `from_text` reads it."""
        both = np.concatenate([self.labels, self.confidences], axis=1)
        _, first, rows = np.unique(both, axis=0, return_index=True, return_inverse=True)
        distinct = np.asarray(self.labels)[first].astype("<u2")
        confidences = np.asarray(self.confidences)[first].astype("<f2")
        sizes = (len(rows), len(first), self.atom_count, confidences.shape[1])
        parts = (rows.reshape(-1).astype("<u2"), distinct, confidences)
        payload = b"".join(
            [_HEADER.pack(_VERSION, *sizes), *(np.ascontiguousarray(p).tobytes() for p in parts)]
        )
        return base64.b85encode(zlib.compress(payload, 9)).decode("ascii")

    @staticmethod
    def from_text(text: str) -> PartTree:
        """Raises MeshError where the text is no tree."""
        try:
            payload = zlib.decompress(base64.b85decode(text))
            version, steps, distinct, atoms, parts = _HEADER.unpack_from(payload)
            counts = ((steps, "<u2"), (distinct * atoms, "<u2"), (distinct * parts, "<f2"))
            if version != _VERSION:
                raise ValueError(f"version {version}")
            arrays, start = [], _HEADER.size
            for count, kind in counts:
                arrays.append(np.frombuffer(payload, kind, count, start))
                start += arrays[-1].nbytes
            rows = arrays[0]
            labels = arrays[1].reshape(distinct, atoms).astype(np.int32)[rows]
            confidences = arrays[2].reshape(distinct, parts).astype(np.float32)[rows]
        except (ValueError, IndexError, struct.error, zlib.error, binascii.Error) as error:
            raise MeshError("The stored part tree is damaged; segment the mesh again") from error
        return PartTree(labels, confidences)


@dataclass(frozen=True)
class CountedTree:
    """A part tree over a shape of which some faces do not take part in a cut: they are locked, or by hand.

    areas: float64 [A], of each atom; open: float64 [A], of its faces that take part
    kept: the number of parts that the other faces have
    """

    tree: PartTree
    areas: NDArray[np.floating]
    open: NDArray[np.floating]
    kept: int = 0

    @staticmethod
    def of(
        tree: PartTree,
        atoms: NDArray[np.integer],
        areas: NDArray[np.floating],
        is_open: NDArray[np.bool_],
        kept: int,
    ) -> CountedTree:
        """atoms: int [F], of each face, below 0 for none; areas: float [F]; is_open: bool [F]"""
        known = atoms >= 0
        # As in `match_by_overlap`: faces without area count a little.
        weights = areas[known] + 1e-12 * (areas.sum() + 1)
        of_open = weights * is_open[known]
        whole, part = (np.bincount(atoms[known], sums, tree.atom_count) for sums in (weights, of_open))
        return CountedTree(tree, whole.astype(np.float64), part.astype(np.float64), kept)

    def part_counts(self) -> NDArray[np.integer]:
        """How many parts each step leaves, int [S]. What little sticks out of parts by hand is none."""

        def count(labels: NDArray[np.integer]) -> int:
            areas, open_areas = (np.bincount(labels, weights=sums) for sums in (self.areas, self.open))
            return int(((open_areas > 0) & (open_areas >= LEAK_SHARE * areas)).sum())

        return self.kept + self.tree.at_steps(count)


def granularity_for(count: int, counts: Sequence[NDArray[np.integer]]) -> float:
    """Where the number of parts of all trees comes nearest to `count`; of several the one nearest to the
    middle.

    counts: of each tree int [S], the parts of each step, from granularity 0 to 1
    """
    steps = np.linspace(0.0, 1.0, max(map(len, counts)))
    parts = sum(of_tree[np.round(steps * (len(of_tree) - 1)).astype(int)] for of_tree in counts)
    best = np.lexsort((np.abs(steps - 0.5), np.abs(parts - count)))[0]
    return float(steps[best])
