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

from .revision import revision_of_faces
from .schema import PARTSAM_PG_parts

MAX_SNAPSHOTS = 512
"""Tables that are remembered of a file, of all meshes together. A drag of a slider makes dozens."""

Snapshot = dict[str, Any]


class Snapshots:
    """The last tables by mesh and revision; the oldest are forgotten."""

    def __init__(self) -> None:
        self._tables: OrderedDict[tuple[int, int], Snapshot] = OrderedDict()

    def knows(self, mesh: bpy.types.Mesh) -> bool:
        """Whether the table that `mesh` has is remembered. Quick."""
        table = mesh.partsam
        return bool(table.is_kept) and (mesh.session_uid, table.revision) in self._tables

    def keep(self, mesh: bpy.types.Mesh) -> None:
        """Remember the table that `mesh` has."""
        table = mesh.partsam
        table.is_kept = True
        key = mesh.session_uid, table.revision
        self._tables[key] = _described(table)
        self._tables.move_to_end(key)
        while len(self._tables) > MAX_SNAPSHOTS:
            self._tables.popitem(last=False)

    def restore(self, mesh: bpy.types.Mesh) -> None:
        """Give `mesh` the table that it had with its faces, if that is known."""
        table, revision = mesh.partsam, revision_of_faces(mesh)
        kept = self._tables.get((mesh.session_uid, revision))
        if kept is not None and kept != _described(table):
            with unnoticed(table):
                _write(table, kept)
        table.revision = revision

    def forget(self) -> None:
        """Drop all: another file is loaded."""
        self._tables.clear()


_snapshots = Snapshots()


def get_snapshots() -> Snapshots:
    """The snapshots of this Blender session."""
    return _snapshots


@contextmanager
def unnoticed(table: PARTSAM_PG_parts) -> Iterator[None]:
    """Changes of `table` within the block are no new state: no other number is given to the faces."""
    before, table.is_settled = table.is_settled, False
    try:
        yield
    finally:
        table.is_settled = before


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
    # Former parts come before present ones, whose names theirs would have to differ from.
    for name in sorted(collections, reverse=True):
        for item in collections[name]:
            _write(getattr(group, name).add(), item)
    for name, value in values.items():
        if name not in collections:
            setattr(group, name, value)
