# SPDX-License-Identifier: GPL-3.0-or-later
"""The last segmentation of each object: what is needed to cut it at another granularity."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

from numpy.typing import NDArray

from ..mesh_exchange import MeshSource


@dataclass(frozen=True)
class Cut:
    """Where the part tree is cut. strength None: the borders are not refined."""

    granularity: float = 0.5
    strength: float | None = 1.0


@dataclass(frozen=True)
class Labels:
    """Triangle labels of a whole shape.

    labels: int32 [F], 0..P-1
    confidence: float32 [P], predicted IoU
    """

    labels: NDArray
    confidence: NDArray


@dataclass(frozen=True)
class Segmentation:
    """One shape's parts, as far as Blender needs to know them.

    id: number by which operators name it
    parts_id: the backend's name for the part tree; None once that backend has ended
    sources: the objects it was made from, with the way from triangles to polygons
    partial: whether only some faces were segmented; all others keep their part
    """

    id: int
    parts_id: str | None
    sources: tuple[MeshSource, ...]
    partial: bool
    cut: Cut
    labels: Labels

    @property
    def face_count(self) -> int:
        return sum(source.triangle_count for source in self.sources)


@dataclass
class Results:
    """Segmentations by number and by object. Newer ones replace those of the same object."""

    _by_id: dict[int, Segmentation] = field(default_factory=dict)
    _by_object: dict[int, int] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def next_id(self) -> int:
        return next(self._numbers)

    def keep(self, segmentation: Segmentation) -> None:
        """Remember `segmentation` as the last one of its objects."""
        self._by_id[segmentation.id] = segmentation
        for source in segmentation.sources:
            self._by_object[source.object_uid] = segmentation.id
        used = set(self._by_object.values())
        self._by_id = {number: kept for number, kept in self._by_id.items() if number in used}

    def get(self, number: int) -> Segmentation | None:
        return self._by_id.get(number)

    def of_object(self, object_uid: int) -> Segmentation | None:
        """The last segmentation of the object with this session_uid."""
        return self._by_id.get(self._by_object.get(object_uid, 0))

    def forget_object(self, object_uid: int) -> None:
        """Drop what is known about an object, because its parts were edited by hand or are gone."""
        self._by_object.pop(object_uid, None)

    def forget_backend(self) -> None:
        """The backend that held the part trees has ended."""
        self.clear()

    def clear(self) -> None:
        self._by_id.clear()
        self._by_object.clear()
