# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables of parts as they were, for undo in Edit mode, which brings back the edit mesh and nothing else.

Where such a step lies before the last whole state of the file that Blender has stored, the whole state
before it is loaded: the table is then as old as that, or blank.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import bpy

from ..mesh_exchange.elements import element_count, has_integers
from .revision import REVISION_ATTRIBUTE, revision_of_faces
from .schema import PARTSAM_PG_parts

MAX_SNAPSHOTS = 512
"""Tables that are remembered of a file, of all meshes together. A drag of a slider makes dozens."""

Snapshot = dict[str, Any]

_Key = tuple[int, int]
"""Session uid of the mesh, number of its faces."""

_Faces = tuple[int, int, bool]
"""What tells quickly whether the faces carry another number: the table's, how many there are, whether any."""


class Snapshots:
    """The last tables by mesh and by the number that the faces carried; the oldest are forgotten.

    That number is mostly the table's own. Faces of which something else took the attribute have none, those
    that were joined in may have a higher one.
    """

    def __init__(self) -> None:
        self._tables: OrderedDict[_Key, Snapshot] = OrderedDict()
        self._seen: dict[int, tuple[_Faces, _Key]] = {}
        self._is_stepping = False

    def knows(self, mesh: bpy.types.Mesh) -> bool:
        """Whether the table that `mesh` has is remembered, or is between two states. Quick."""
        if self._is_stepping:
            return True
        faces, key = self._seen.get(mesh.session_uid, (None, None))
        return bool(mesh.partsam.is_kept) and faces == _faces(mesh) and key in self._tables

    def keep(self, mesh: bpy.types.Mesh) -> None:
        """Remember the table that `mesh` has."""
        table = mesh.partsam
        table.is_kept = True
        key = mesh.session_uid, revision_of_faces(mesh)
        self._seen[mesh.session_uid] = _faces(mesh), key
        self._tables[key] = _described(table)
        self._tables.move_to_end(key)
        while len(self._tables) > MAX_SNAPSHOTS:
            self._tables.popitem(last=False)

    def restore(self, mesh: bpy.types.Mesh) -> None:
        """Give `mesh` the table that it had with its faces, if that is known."""
        table, revision = mesh.partsam, revision_of_faces(mesh)
        kept = self._tables.get((mesh.session_uid, revision))
        if kept is None:
            table.revision = revision
        elif kept != _described(table):
            with unnoticed(table):
                _write(table, kept)

    def begin_step(self) -> None:
        """Undo or redo begins: until it has ended, faces and table need not go together."""
        self._is_stepping = True

    def end_step(self) -> None:
        """Undo or redo has ended."""
        self._is_stepping = False

    def forget(self) -> None:
        """Drop all: another file is loaded."""
        self._tables.clear()
        self._seen.clear()
        self._is_stepping = False


_snapshots = Snapshots()


def get_snapshots() -> Snapshots:
    """The snapshots of this Blender session."""
    return _snapshots


@contextmanager
def unnoticed(table: PARTSAM_PG_parts) -> Iterator[None]:
    """Changes of `table` within the block are no new state: no other number is given to the faces. Nor are
    names made to differ."""
    before, table.is_settled = table.is_settled, False
    try:
        yield
    finally:
        table.is_settled = before


def _faces(mesh: bpy.types.Mesh) -> _Faces:
    numbered = has_integers(mesh, REVISION_ATTRIBUTE)
    return mesh.partsam.revision, element_count(mesh), numbered  # in Edit mode as many as before it


def _described(group: bpy.types.PropertyGroup) -> Snapshot:
    """All values of a property group, and of the groups in its collections."""
    values: Snapshot = {}
    for prop in group.bl_rna.properties:
        if prop.identifier in {"rna_type", "is_settled", "is_kept", "is_followed"}:
            continue
        value = getattr(group, prop.identifier)
        if prop.type == "COLLECTION":
            values[prop.identifier] = [_described(item) for item in value]
        elif prop.type == "STRING":
            values[prop.identifier] = sys.intern(value)  # the part trees, which all snapshots share
        else:
            values[prop.identifier] = tuple(value) if getattr(prop, "is_array", False) else value
    return values


def _write(group: bpy.types.PropertyGroup, values: Snapshot) -> None:
    collections = {name: items for name, items in values.items() if isinstance(items, list)}
    for name in collections:
        getattr(group, name).clear()
    for name, items in collections.items():
        for item in items:
            _write(getattr(group, name).add(), item)
    for name, value in values.items():
        if name not in collections:
            setattr(group, name, value)
