# SPDX-License-Identifier: GPL-3.0-or-later
"""Which part trees the running backend holds: those can be refined. All others can only be cut."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..mesh_exchange import MeshSource

KEPT = 64
"""Trees that are remembered, the most recent ones."""


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


@dataclass
class HeldTrees:
    """`Held` by the id of the tree (`PARTSAM_PG_level.tree_id`)."""

    _by_tree: OrderedDict[str, Held] = field(default_factory=OrderedDict)

    def keep(self, tree_id: str, held: Held) -> None:
        self._by_tree[tree_id] = held
        while len(self._by_tree) > KEPT:
            self._by_tree.popitem(last=False)

    def get(self, tree_id: str) -> Held | None:
        return self._by_tree.get(tree_id)

    def forget(self, tree_id: str) -> None:
        self._by_tree.pop(tree_id, None)

    def clear(self) -> None:
        """The backend that held them has ended."""
        self._by_tree.clear()
