# SPDX-License-Identifier: GPL-3.0-or-later
"""The flow that finds which parts of a mesh are copies of each other."""

from __future__ import annotations

from dataclasses import dataclass, field

import bpy
import numpy as np
from numpy.typing import NDArray

from ...backend.errors import MeshError, PromptError
from ..backend_process import Result, requests
from ..mesh_exchange import MeshSource, check_editable, find_unchanged, object_mode, read_surface
from ..mesh_exchange.arrays import FloatArray, IntArray
from ..parts import UNASSIGNED, bring_together, read_part_ids
from ..parts.repeats import write_repeats
from ..wording import say
from .flow import Flow
from .workplace import Workplace


@dataclass(frozen=True)
class LabelledMesh:
    """A mesh in its object's space without the faces that are in no part.

    part_ids: int32 [P], of all polygons; labels: int32 [T], of the triangles
    """

    source: MeshSource
    part_ids: IntArray = field(repr=False)
    arrays: dict[str, NDArray] = field(repr=False)
    labels: IntArray = field(repr=False)


@dataclass(frozen=True)
class NewRepeats:
    """Change: groups of copies. See `parts.repeats.write_repeats`."""

    read: LabelledMesh
    groups: list[dict[int, FloatArray]]

    def find(self) -> bpy.types.Object:
        return find_unchanged(self.read.source)

    def check(self, mesh: bpy.types.Mesh) -> None:
        if not np.array_equal(read_part_ids(mesh), self.read.part_ids):
            raise MeshError(
                say('The parts of "{name}" have changed meanwhile; press Find Copies again', name=mesh.name)
            )

    def write(self, mesh: bpy.types.Mesh) -> None:
        write_repeats(mesh, self.groups)


def read_labelled(context: bpy.types.Context, obj: bpy.types.Object) -> LabelledMesh:
    """All that is needed of Blender until copies are written. PartSAMError where there are no parts."""
    check_editable(obj)
    with object_mode(context, obj):
        bring_together(obj.data)
        mesh, source = read_surface(obj)
        part_ids = read_part_ids(obj.data)
    labels = part_ids[source.triangle_polygons]
    inside = labels != UNASSIGNED
    if not inside.any():
        raise PromptError(say('No face of "{name}" is in a part; press Segment first', name=obj.name))
    arrays = {"vertices": mesh.vertices, "triangles": mesh.triangles[inside]}
    return LabelledMesh(source, part_ids, arrays, labels[inside])


def find_repeats(place: Workplace, read: LabelledMesh) -> Flow:
    """Find which parts are copies; returns a list with one `NewRepeats`. Writes nothing."""
    answer: Result = yield place.send(requests.find_repeats(read.arrays, read.labels))
    groups: list[dict[int, FloatArray]] = [{} for _ in range(int(answer.fields["group_count"]))]
    found = zip(*(answer.arrays[name] for name in ("groups", "parts", "transforms")), strict=True)
    for number, part_id, motion in found:
        groups[int(number)][int(part_id)] = motion
    if not groups:
        place.notices += ("No part is a copy of another one",)
    return [NewRepeats(read, groups)]
