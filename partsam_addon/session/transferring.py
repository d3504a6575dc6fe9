# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of one mesh on others: the same shape with other faces, or another shape of the same kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import bpy
import numpy as np
from numpy.typing import NDArray

from ...backend.errors import MeshError, PromptError
from ...backend.geometry import Mesh
from ..backend_process import Result, requests
from ..mesh_exchange import (
    MeshSource,
    ShapeData,
    check_editable,
    find_unchanged,
    labels_of_polygons,
    object_mode,
    read_shape,
    read_surface,
)
from ..mesh_exchange.arrays import IntArray
from ..parts import (
    KEEP,
    UNASSIGNED,
    bring_together,
    get_part,
    open_faces,
    read_part_ids,
    rename_parts,
    write_labels,
)
from ..wording import say
from .find_parts import encode
from .flow import Flow
from .workplace import Workplace

Matching = Literal["WORLD", "LOCAL", "KIND"]
"""How faces find each other: they lie upon each other in the world, or in the objects' own spaces, or by what
the network sees in them, for another shape of the same kind that stands alike.
"""

_GAP = 0.1
"""Between the boxes of two meshes, as a share of the source's diagonal, up to which they lie together."""


@dataclass(frozen=True)
class Described:
    """What the table says of a part, as plain values."""

    name: str
    color: tuple[float, ...]
    confidence: float
    locked: bool


@dataclass(frozen=True)
class Original:
    """The mesh whose parts travel.

    labels: int32 [T], of each triangle: 0 where it is in no part, else its place in `parts` from 1
    shape: to be encoded; None where places are enough
    """

    mesh: Mesh
    labels: IntArray = field(repr=False)
    parts: tuple[Described, ...]
    shape: ShapeData | None = None


@dataclass(frozen=True)
class Receiver:
    """A mesh that gets parts, as the backend sees it, and the way back to its polygons. shape: as above."""

    mesh: Mesh
    source: MeshSource
    shape: ShapeData | None = None


@dataclass(frozen=True)
class TransferredParts:
    """Change: the parts that a mesh got. labels: int32 [P] of its polygons, KEEP or an index of `parts`."""

    source: MeshSource
    labels: IntArray = field(repr=False)
    parts: tuple[Described, ...]

    def find(self) -> bpy.types.Object:
        return find_unchanged(self.source)

    def check(self, mesh: bpy.types.Mesh) -> None:
        if (self.labels == KEEP).all():
            raise PromptError(
                say('"{name}" lies where the source is in no part', name=self.source.object_name)
            )
        if not open_faces(mesh, self.labels != KEEP, by_hand=True).any():
            raise PromptError(
                say(
                    'All faces of "{name}" that would get a part belong to locked parts; unlock them first',
                    name=mesh.name,
                )
            )

    def write(self, mesh: bpy.types.Mesh) -> None:
        given = write_labels(mesh, self.labels, by_hand=True)
        given.pop(KEEP, None)
        rename_parts(mesh, {part_id: self.parts[label].name for label, part_id in given.items()})
        for label, part_id in given.items():
            described, part = self.parts[label], get_part(mesh, part_id)
            part.color, part.confidence, part.locked = described.color, described.confidence, described.locked


def read_transfer(
    context: bpy.types.Context,
    source: bpy.types.Object,
    targets: Sequence[bpy.types.Object],
    *,
    matching: Matching,
) -> tuple[Original, list[Receiver]]:
    """All that is needed of Blender until parts are written. Raises PartSAMError for unusable objects."""
    for obj in (source, *targets):
        check_editable(obj)
    with object_mode(context, source, *targets):
        bring_together(source.data)
        parts = [part for part in source.data.partsam.parts if part.part_id != UNASSIGNED]
        if not parts:
            raise PromptError(say('No face of "{name}" is in a part; press Segment first', name=source.name))
        origin = source.matrix_world.translation
        first = _read(context, source, origin, matching)
        mesh, own = first.mesh, first.source
        label_of = np.zeros(max(part.part_id for part in parts) + 1, dtype=np.int32)
        label_of[[part.part_id for part in parts]] = np.arange(1, len(parts) + 1)
        labels = label_of[read_part_ids(source.data)][own.triangle_polygons]
        described = tuple(
            Described(part.name, tuple(part.color), part.confidence, part.locked) for part in parts
        )
        receivers = []
        for obj in targets:
            bring_together(obj.data)
            receiver = _read(context, obj, origin, matching)
            if matching != "KIND":
                _check_together(mesh, receiver, source.name, in_place=matching == "WORLD")
            receivers.append(receiver)
    return Original(mesh, labels, described, first.shape), receivers


def _read(
    context: bpy.types.Context, obj: bpy.types.Object, origin: Sequence[float], matching: Matching
) -> Receiver:
    if matching == "KIND":
        shape = read_shape(context, [obj])
        return Receiver(shape.mesh, shape.sources[0], shape)
    return Receiver(*read_surface(obj, _matrix(obj, origin) if matching == "WORLD" else None))


def transfer(place: Workplace, original: Original, receivers: Sequence[Receiver], *, strength: float) -> Flow:
    """Find the parts of all `receivers`; returns a list of `TransferredParts`. Writes nothing.

    strength: of the graph cut over the receivers' edges; 0: none
    """
    changes = []
    for step, receiver in enumerate(receivers):
        place.progress.step, place.progress.steps = step, len(receivers)
        if original.shape is None or receiver.shape is None:
            request = requests.transfer(
                _arrays(original.mesh), original.labels, _arrays(receiver.mesh), strength=strength
            )
        else:
            source = yield from encode(place, original.shape)
            target = yield from encode(place, receiver.shape)
            request = requests.transfer_encoded(source, target, original.labels, strength=strength)
        answer: Result = yield place.send(request)
        labels = labels_of_polygons(receiver.source, answer.arrays["labels"]) - 1
        # Below KEEP are polygons without a triangle.
        labels = np.maximum(labels, KEEP)
        changes.append(TransferredParts(receiver.source, labels, original.parts))
    return changes


def _check_together(mesh: Mesh, receiver: Receiver, name: str, *, in_place: bool) -> None:
    """Raise MeshError where the boxes of two meshes lie apart by more than a remesh could move them."""
    meshes = (mesh, receiver.mesh)
    first, second = (np.stack([m.vertices.min(axis=0), m.vertices.max(axis=0)]) for m in meshes)
    gap = np.maximum(first[0] - second[1], second[0] - first[1]).max()
    if gap <= _GAP * np.linalg.norm(first[1] - first[0]):
        return
    remedy = say("match them in Own Space, or move one onto the other")
    if not in_place:
        remedy = say("match them In Place, or apply their transforms first")
    raise MeshError(
        say(
            '"{name}" and "{other}" do not lie upon each other; {remedy}',
            name=receiver.source.object_name,
            other=name,
            remedy=remedy,
        )
    )


def _arrays(mesh: Mesh) -> dict[str, NDArray]:
    return {"vertices": mesh.vertices, "triangles": mesh.triangles}


def _matrix(obj: bpy.types.Object, origin: Sequence[float]) -> NDArray[np.float64]:
    """From the space of `obj` into the world around `origin`."""
    matrix = np.array(obj.matrix_world, dtype=np.float64)
    matrix[:3, 3] -= np.array(origin, dtype=np.float64)
    return matrix
