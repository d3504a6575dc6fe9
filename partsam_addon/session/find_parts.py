# SPDX-License-Identifier: GPL-3.0-or-later
"""The flow from shapes to parts: encode, find the parts, fetch their tree, refine the borders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ..backend_process import Request, Result, requests
from ..mesh_exchange import ShapeData, sample_shape
from ..parts import CountedTree, Cut, PartTree, Room, Rooms, granularity_for
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
    rooms: what the result may change, of the triangles of each mesh (`ShapeData.runs`)
    """

    shape: ShapeData
    partial: bool
    title: str
    keep_edits: bool
    rooms: tuple[Rooms, ...]


@dataclass(frozen=True)
class Found:
    """The parts of one object. T: its triangles.

    held: how the backend knows it
    atoms: int32 [T], and the tree over them
    counted: the tree with what counts of the shape, of a copy with what counts of that, by whether what was
        made by hand stays
    cut: where the tree is cut
    labels: int32 [T], the labels of that cut, refined if `cut` says so; confidence: float32 [P]
    """

    task: Task
    held: Held
    atoms: NDArray
    tree: PartTree
    counted: Mapping[bool, CountedTree]
    cut: Cut
    labels: NDArray
    confidence: NDArray

    def with_edits(self, keep_edits: bool) -> Found:
        """The same, with another `keep_edits` of its task."""
        return replace(self, task=replace(self.task, keep_edits=keep_edits))

    def granularity_for(self, count: int) -> float:
        """Where to cut for about so many parts in the list."""
        return granularity_for(count, [self.counted[self.task.keep_edits].part_counts()])


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
        place.notices += answer.notices
        of_shape = _by_mesh(task, parts_id, arrays.arrays["atoms"], tree, settings.cut, answer)
        if settings.count or settings.cut.strength is not None:
            of_shape = yield from cut_found(place, of_shape, settings.cut, count=settings.count)
        found += of_shape
    return found


def cut_found(place: Workplace, found: Sequence[Found | FoundCloud], cut: Cut, *, count: int = 0) -> Flow:
    """The same as `found`, cut elsewhere; asks the backend only for refined borders.

    count: about so many parts in each list instead of the cut's granularity, of objects that are one shape in
        all lists together; 0: as the cut says
    """
    result: list[Found | FoundCloud] = []
    answers: dict[tuple[str, Cut], Result] = {}  # copies of one mesh share theirs
    for one in found:
        if count:
            cut = replace(cut, granularity=one.granularity_for(count))
        if isinstance(one, FoundCloud):
            result.append(replace(one, cut=replace(cut, strength=None)))
            continue
        request = refinement_request(one.held.parts_id, cut)
        if request is None:
            of_atom, confidence = one.tree.cut(cut.granularity)
            labels = of_atom[one.atoms]
        else:
            key = one.held.parts_id, cut
            if key not in answers:
                answers[key] = yield place.send(request)
                place.notices += answers[key].notices
            labels, confidence = one.held.own(answers[key].arrays["labels"]), confidences(answers[key])
        result.append(replace(one, cut=cut, labels=labels, confidence=confidence))
    return result


def refinement_request(parts_id: str, cut: Cut) -> Request | None:
    """The request for the refined labels of `cut`; None where it asks for no refinement."""
    if cut.strength is None:
        return None
    return requests.refine(parts_id, granularity=cut.granularity, strength=cut.strength)


def confidences(answer: Result) -> NDArray:
    """Of an answer with labels, float [P] in [0, 1]: the network predicts them by regression."""
    return np.clip(answer.arrays["confidence"], 0.0, 1.0)


def _by_mesh(
    task: Task, parts_id: str, atoms: NDArray, tree: PartTree, cut: Cut, answer: Result
) -> list[Found]:
    """What each mesh gets. atoms: int32 [F], of the shape's triangles"""
    shape = task.shape
    helds = [Held(parts_id, source, start, shape.mesh.face_count) for source, start in shape.runs()]
    return [
        Found(
            task=task,
            held=held,
            atoms=held.own(atoms),
            tree=tree,
            counted=counted,
            cut=cut,
            labels=held.own(answer.arrays["labels"]),
            confidence=confidences(answer),
        )
        for held, counted in zip(helds, _counted(task, tree, atoms, helds), strict=True)
    ]


def _counted(
    task: Task, tree: PartTree, atoms: NDArray, helds: Sequence[Held]
) -> list[Mapping[bool, CountedTree]]:
    """`Found.counted` of each mesh: copies have parts by hand of their own, all others are one shape.

    Triangles whose labels no mesh gets do not count.
    """
    areas = task.shape.mesh.areas

    def count(some: Sequence[Held], rooms: Sequence[Room]) -> CountedTree:
        own_atoms, own_areas = (np.concatenate([one.own(of) for one in some]) for of in (atoms, areas))
        is_open = np.concatenate([room.open for room in rooms])
        return CountedTree.of(tree, own_atoms, own_areas, is_open, sum(room.kept for room in rooms))

    if task.shape.copies:
        own = zip(helds, task.rooms, strict=True)
        return [{keep: count([held], [room]) for keep, room in rooms.items()} for held, rooms in own]
    whole = {keep: count(helds, [rooms[keep] for rooms in task.rooms]) for keep in (True, False)}
    return [whole] * len(helds)
