# SPDX-License-Identifier: GPL-3.0-or-later
"""The flow from shapes to parts: encode, find the parts, fetch their tree, refine the borders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ..backend_process import Request, Result, requests
from ..mesh_exchange import ShapeData, sample_shape
from ..parts import CountedTree, Cut, PartTree, Room, granularity_for
from .clouds import CloudTask, FoundCloud, segment_cloud
from .flow import Calculation, Flow
from .held import Held
from .workplace import Workplace


@dataclass(frozen=True)
class SegmentSettings:
    """prompts: points that the network is asked about; poses: in which it sees the shape; seed: of the
    surface sample.

    count: about so many parts instead of the cut's granularity; 0: as the cut says
    """

    prompts: int = 256
    poses: int = 1
    seed: int = 0
    cut: Cut = field(default_factory=Cut)
    count: int = 0


@dataclass(frozen=True)
class Task:
    """One shape to segment.

    partial: only some faces are in it; all others keep their part
    title: name of the part that is split; empty otherwise
    keep_edits: what was made by hand outranks the result
    room: of the shape's triangles, what the result may change
    """

    shape: ShapeData
    partial: bool
    title: str
    keep_edits: bool
    room: Room


@dataclass(frozen=True)
class Found:
    """The parts of one object. T: its triangles.

    held: how the backend knows it
    atoms: int32 [T], and the tree over them; counted: the tree with what counts of the shape
    cut: where the tree is cut
    labels: int32 [T], the labels of that cut, refined if `cut` says so; confidence: float32 [P]
    """

    task: Task
    held: Held
    atoms: NDArray
    tree: PartTree
    counted: CountedTree
    cut: Cut
    labels: NDArray
    confidence: NDArray

    def with_edits(self, keep_edits: bool) -> Found:
        """The same, with another `keep_edits` of its task."""
        if keep_edits == self.task.keep_edits:
            return self
        return replace(self, task=replace(self.task, keep_edits=keep_edits), counted=self.counted.all_open())


def encode(place: Workplace, shape: ShapeData, *, seed: int = 0) -> Flow:
    """Encode `shape`; returns the backend's name for it."""
    choices = place.choices
    assert choices is not None, "the backend was opened before"
    model, device = choices.model, choices.device
    loaded: Result = yield place.send(requests.load_model(model, device=device))

    def request() -> Request:
        sample = sample_shape(shape, int(loaded.fields["points"]), seed=seed)
        arrays = {
            "vertices": shape.mesh.vertices,
            "triangles": shape.mesh.triangles,
            "points": sample.points,
            "normals": sample.normals,
            "colors": sample.colors,
            "point_faces": sample.faces,
        }
        return requests.encode(arrays, model=model, device=device, seed=seed)

    # A large mesh takes a second, in which Blender would stand still.
    sampled: Request = yield Calculation("encode", request)
    encoded: Result = yield place.send(sampled)
    place.notices += encoded.notices
    return str(encoded.fields["shape"])


def segment(place: Workplace, tasks: Sequence[Task | CloudTask], settings: SegmentSettings) -> Flow:
    """Find the parts of each task's shape or cloud; returns a list of `Found` and `FoundCloud`, one per
    object. Writes nothing.
    """
    found: list[Found | FoundCloud] = []
    for step, task in enumerate(tasks):
        place.progress.step, place.progress.steps = step, len(tasks)
        if isinstance(task, CloudTask):
            one = yield from segment_cloud(
                place,
                task,
                prompts=settings.prompts,
                poses=settings.poses,
                seed=settings.seed,
                cut=settings.cut,
                count=settings.count,
            )
            found.append(one)
            continue
        shape_id = yield from encode(place, task.shape, seed=settings.seed)
        request = requests.segment_every_part(
            shape_id,
            prompts=settings.prompts,
            poses=settings.poses,
            granularity=settings.cut.granularity,
        )
        answer: Result = yield place.send(request)
        parts_id = str(answer.fields["parts"])
        arrays: Result = yield place.send(requests.part_tree(parts_id))
        tree = PartTree(arrays.arrays["labels"], np.clip(arrays.arrays["confidences"], 0.0, 1.0))
        atoms, room = arrays.arrays["atoms"], task.room
        counted = CountedTree.of(tree, atoms, task.shape.mesh.areas, room.open, room.kept)
        cut, notices = settings.cut, answer.notices
        labels_at = refinement_request(parts_id, cut)
        if settings.count:
            cut = replace(cut, granularity=granularity_for(settings.count, [counted.part_counts()]))
            labels_at = refinement_request(parts_id, cut) or requests.face_labels(
                parts_id, granularity=cut.granularity
            )
        if labels_at is not None:
            answer = yield place.send(labels_at)
            notices += answer.notices
        place.notices += notices
        found += _by_object(task, parts_id, atoms, counted, cut, answer)
    return found


def refinement_request(parts_id: str, cut: Cut) -> Request | None:
    """The request for the refined labels of `cut`; None where it asks for no refinement."""
    if cut.strength is None:
        return None
    return requests.refine(parts_id, granularity=cut.granularity, strength=cut.strength)


def confidences(answer: Result) -> NDArray:
    """Of an answer with labels, float [P] in [0, 1]: the network predicts them by regression."""
    return np.clip(answer.arrays["confidence"], 0.0, 1.0)


def _by_object(
    task: Task, parts_id: str, atoms: NDArray, counted: CountedTree, cut: Cut, answer: Result
) -> Iterator[Found]:
    """What each mesh gets: of objects that share one, what the first of them has, as labels belong to it."""
    shape = task.shape
    starts = np.cumsum([0, *(source.triangle_count for source in shape.sources)]).tolist()
    runs = [*zip(shape.sources, starts, strict=False), *((copy, 0) for copy in shape.copies)]
    of_meshes: dict[int, Held] = {}
    for source, start in runs:
        of_meshes.setdefault(source.mesh_uid, Held(parts_id, source, start, shape.mesh.face_count))
    for held in of_meshes.values():
        yield Found(
            task=task,
            held=held,
            atoms=held.own(atoms),
            tree=counted.tree,
            counted=counted,
            cut=cut,
            labels=held.own(answer.arrays["labels"]),
            confidence=confidences(answer),
        )
