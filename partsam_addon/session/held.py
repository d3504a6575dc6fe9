# SPDX-License-Identifier: GPL-3.0-or-later
"""Which part trees the running backend holds: those can be refined. All others can only be cut."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..mesh_exchange import MeshSource

KEPT_BYTES = 2**28
"""What the trees of the shapes that are remembered, the most recent ones, may take together. One shape may
take more."""


@dataclass(frozen=True)
class Held:
    """One object's part of a shape whose parts the backend holds.

    parts_id: the backend's name for them
    source: the object, with the way from triangles to polygons
    start, shape_faces: where the object's triangles begin among those of the shape, and how many that has
    """

    parts_id: str
    source: MeshSource
    start: int
    shape_faces: int

    def own(self, shape_labels: NDArray) -> NDArray:
        """The run of this object among labels of the whole shape."""
        return np.asarray(shape_labels)[self.start : self.start + self.source.triangle_count]

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays, some of which copies share."""
        return self.source.triangle_polygons.nbytes + self.source.triangle_areas.nbytes


@dataclass
class HeldTrees:
    """`Held` by the id of the tree (`PARTSAM_PG_level.tree_id`).

    All objects of a shape are remembered or none: its copies are cut alike, however many there are.
    """

    _by_tree: dict[str, Held] = field(default_factory=dict)
    _bytes: dict[str, dict[int, int]] = field(default_factory=dict)
    """Of each shape, by `parts_id`, and each of its objects: another cut keeps the same `Held` again."""

    def keep(self, tree_id: str, held: Held) -> None:
        self._by_tree[tree_id] = held
        self._bytes.setdefault(held.parts_id, {})[held.source.object_uid] = held.nbytes
        while len(self._bytes) > 1 and sum(sum(own.values()) for own in self._bytes.values()) > KEPT_BYTES:
            self.forget(next(one for one in self._bytes if one != held.parts_id))

    def get(self, tree_id: str) -> Held | None:
        return self._by_tree.get(tree_id)

    def forget(self, parts_id: str) -> None:
        """The backend does not hold the parts of this shape any more."""
        self._bytes.pop(parts_id, None)
        for tree_id in [key for key, held in self._by_tree.items() if held.parts_id == parts_id]:
            del self._by_tree[tree_id]

    def clear(self) -> None:
        """The backend that held them has ended."""
        self._by_tree.clear()
        self._bytes.clear()
