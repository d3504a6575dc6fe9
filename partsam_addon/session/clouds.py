# SPDX-License-Identifier: GPL-3.0-or-later
"""The flow from a point cloud to its parts. The backend sends every granularity and keeps nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ..backend_process import Result, requests
from ..mesh_exchange.clouds import CloudData
from ..parts import CountedTree, Cut, PartTree, Rooms, granularity_for
from .flow import Flow
from .workplace import Workplace


@dataclass(frozen=True)
class CloudTask:
    """One point cloud to segment; the other values as in `find_parts.Task`. rooms: of the cloud's points"""

    cloud: CloudData
    partial: bool
    title: str
    keep_edits: bool
    rooms: Rooms


@dataclass(frozen=True)
class FoundCloud:
    """The parts of a point cloud: atoms int32 [N] (-1 where a point is not finite), the tree over them, and
    where that is cut. counted: as in `find_parts.Found`
    """

    task: CloudTask
    atoms: NDArray = field(repr=False)
    tree: PartTree
    counted: Mapping[bool, CountedTree]
    cut: Cut

    def with_edits(self, keep_edits: bool) -> FoundCloud:
        """The same, with another `keep_edits` of its task."""
        return replace(self, task=replace(self.task, keep_edits=keep_edits))

    def granularity_for(self, count: int) -> float:
        """Where to cut for about so many parts in the list."""
        return granularity_for(count, [self.counted[self.task.keep_edits].part_counts()])


def segment_cloud(
    place: Workplace, task: CloudTask, *, prompts: int, poses: int, seed: int, cut: Cut, count: int
) -> Flow:
    """Find the parts of a cloud; returns a `FoundCloud`. Writes nothing. See `SegmentSettings`."""
    choices = place.choices
    assert choices is not None, "the backend was opened before"
    request = requests.segment_cloud(
        task.cloud.points,
        task.cloud.colors,
        model=choices.model,
        device=choices.device,
        seed=seed,
        prompts=prompts,
        poses=poses,
    )
    answer: Result = yield place.send(request)
    place.notices += answer.notices
    tree = PartTree(answer.arrays["labels"], np.clip(answer.arrays["confidences"], 0.0, 1.0))
    # Points have no edges along which a border could be drawn.
    cut = replace(cut, strength=None)
    atoms = answer.arrays["atoms"]
    areas = np.ones(len(atoms))
    counted = {
        keep: CountedTree.of(tree, atoms, areas, room.open, room.kept) for keep, room in task.rooms.items()
    }
    found = FoundCloud(task, atoms, tree, counted, cut)
    return replace(found, cut=replace(cut, granularity=found.granularity_for(count))) if count else found
