# SPDX-License-Identifier: GPL-3.0-or-later
"""The one way in which results come into the scene: look at everything, write once, push one undo step.

The timer, scripts and operators all call `write_changes`. Each kind of result is a `Change`.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import bpy
import numpy as np
from numpy.typing import NDArray

from ...backend.errors import MeshError, PromptError
from ..mesh_exchange import (
    MeshSource,
    check_editable,
    fill_unlabeled,
    find_object,
    find_unchanged,
    labels_of_polygons,
    object_mode,
)
from ..parts import (
    KEEP,
    Cut,
    bring_together,
    cut_labels,
    find_level,
    note_cut,
    open_faces,
    release_edits,
    set_active_part,
    store_level,
    write_labels,
)
from ..wording import say
from .clouds import CloudTask, FoundCloud
from .find_parts import Found, Task
from .held import HeldTrees
from .undo_steps import push_undo_step


class Change(Protocol):
    """What is to be written into one object."""

    def find(self) -> bpy.types.Object:
        """The object. Raises MeshError where the change does not fit it any more."""

    def check(self, mesh: bpy.types.Mesh) -> None:
        """Raise PartSAMError where `write` could do nothing. Out of Edit mode; changes nothing."""

    def write(self, mesh: bpy.types.Mesh) -> None:
        """Write into the object's mesh, out of Edit mode. Must not fail."""


def write_changes(
    context: bpy.types.Context, changes: Sequence[Change], *, undo_message: str = ""
) -> list[bpy.types.Object]:
    """Write all of `changes`, or nothing; the changed objects.

    undo_message: pushes an undo step. Operators leave that to Blender
    Raises PartSAMError, before anything is written, where one of the changes cannot be made.
    """
    objects = [change.find() for change in changes]
    for obj in objects:
        check_editable(obj)
    with object_mode(context, *objects):
        for change, obj in zip(changes, objects, strict=True):
            bring_together(obj.data)
            change.check(obj.data)
        for change, obj in zip(changes, objects, strict=True):
            change.write(obj.data)
    if undo_message:
        push_undo_step(undo_message)
    return objects


@dataclass(frozen=True)
class NewLevel:
    """A segmentation: its labels, and its part tree as a level of the mesh."""

    found: Found
    trees: HeldTrees

    def find(self) -> bpy.types.Object:
        return find_unchanged(self.found.held.source)

    def check(self, mesh: bpy.types.Mesh) -> None:
        _check_open(mesh, labels_of_polygons(self.found.held.source, self.found.labels) >= 0, self.found.task)

    def write(self, mesh: bpy.types.Mesh) -> None:
        found, task = self.found, self.found.task
        source = found.held.source
        labels = labels_of_polygons(source, found.labels)
        atoms = labels_of_polygons(source, found.atoms)
        if not task.partial:
            labels, atoms = fill_unlabeled(mesh, labels), fill_unlabeled(mesh, atoms)
        self.trees.keep(_write_level(mesh, found, atoms, labels, found.confidence), found.held)


@dataclass(frozen=True)
class NewCloudLevel:
    """The same of a mesh without faces. Points that are not finite stay as they are."""

    found: FoundCloud

    def find(self) -> bpy.types.Object:
        return find_unchanged(self.found.task.cloud)

    def check(self, mesh: bpy.types.Mesh) -> None:
        _check_open(mesh, self.found.task.cloud.of_vertices(self.found.atoms) >= 0, self.found.task)

    def write(self, mesh: bpy.types.Mesh) -> None:
        found = self.found
        of_atom, confidence = found.tree.cut(found.cut.granularity)
        atoms = found.task.cloud.of_vertices(found.atoms)
        labels = np.where(atoms >= 0, of_atom[atoms], KEEP).astype(np.int32)
        _write_level(mesh, found, atoms, labels, confidence)


def new_levels(found: Sequence[Found | FoundCloud], trees: HeldTrees) -> list[Change]:
    """The changes that a segmentation leads to."""
    return [NewCloudLevel(one) if isinstance(one, FoundCloud) else NewLevel(one, trees) for one in found]


def _check_open(mesh: bpy.types.Mesh, inside: NDArray[np.bool_], task: Task | CloudTask) -> None:
    """Raise PromptError where none of the elements in a mask [N] may get another part."""
    if not open_faces(mesh, inside | (not task.partial), by_hand=not task.keep_edits).any():
        raise PromptError(
            say(
                'All faces of "{name}" belong to parts that are locked or made by hand; '
                "unlock them, or use Discard Edits by Hand or Clear Parts",
                name=mesh.name,
            )
        )


def _write_level(
    mesh: bpy.types.Mesh,
    found: Found | FoundCloud,
    atoms: NDArray[np.integer],
    labels: NDArray[np.integer],
    confidence: NDArray[np.floating],
) -> str:
    """Store the tree with its atoms int32 [N], write the labels int32 [N] of its cut; the tree's name."""
    task = found.task
    if not task.keep_edits:
        release_edits(mesh, labels >= 0)
    tree_id = uuid.uuid4().hex
    whole = not task.partial
    title = task.title or ("" if whole else say("Selected Faces"))
    level = store_level(mesh, atoms, found.tree, tree_id=tree_id, cut=found.cut, title=title, whole=whole)
    given = write_labels(mesh, labels, confidences=confidence, renumber=whole, by_size=True)
    note_cut(mesh, level, found.cut)
    if task.title and given:
        set_active_part(mesh, given[min(given)])
    return tree_id


@dataclass(frozen=True)
class Recut:
    """A level cut anew: from its stored tree, or with refined labels of the triangles from the backend."""

    object_uid: int
    level: int
    cut: Cut
    source: MeshSource | None = None
    labels: NDArray | None = None
    confidence: NDArray | None = None

    def find(self) -> bpy.types.Object:
        return find_object(self.object_uid, unchanged_since=self.source)

    def check(self, mesh: bpy.types.Mesh) -> None:
        level = find_level(mesh, self.level)
        if level is None:
            raise MeshError(
                say('"{name}" does not have this part tree any more; segment it again', name=mesh.name)
            )
        cut_labels(mesh, level, self.cut.granularity)

    def write(self, mesh: bpy.types.Mesh) -> None:
        level = find_level(mesh, self.level)
        assert level is not None, "checked before"
        labels, confidence = cut_labels(mesh, level, self.cut.granularity)
        if self.source is not None and self.labels is not None and self.confidence is not None:
            refined = labels_of_polygons(self.source, self.labels)
            labels = np.where((labels != KEEP) & (refined >= 0), refined, labels)
            confidence = self.confidence
        write_labels(mesh, labels, confidences=confidence, by_size=True)
        note_cut(mesh, level, self.cut)


@dataclass(frozen=True)
class NewPart:
    """A part by hand, as from clicks: polygons bool [P] of an object's mesh, and the predicted IoU.

    source: the mesh must still be the one that was read for it
    """

    object_uid: int
    polygons: NDArray[np.bool_]
    score: float
    name: str = ""
    source: MeshSource | None = None

    def find(self) -> bpy.types.Object:
        return find_object(self.object_uid, unchanged_since=self.source)

    def check(self, mesh: bpy.types.Mesh) -> None:
        if len(self.polygons) != len(mesh.polygons):
            raise MeshError(
                say('"{name}" was edited meanwhile, so the part does not fit; click again', name=mesh.name)
            )
        if not self.polygons.any():
            raise PromptError("The part under the clicks is empty; click elsewhere, or ask for a larger part")
        if not open_faces(mesh, self.polygons, by_hand=True).any():
            raise PromptError("All faces under the clicks belong to locked parts; unlock them first")

    def write(self, mesh: bpy.types.Mesh) -> None:
        labels = np.where(self.polygons, 0, KEEP).astype(np.int32)
        part_id = write_labels(mesh, labels, confidences=[self.score], by_hand=True)[0]
        set_active_part(mesh, part_id)
        if self.name:
            mesh.partsam.parts[mesh.partsam.active_index].name = self.name
