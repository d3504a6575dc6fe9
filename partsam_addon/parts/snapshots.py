# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables of parts as they were last seen with certain faces, for undo in Edit mode.

In Edit mode Blender stores no more than the edit mesh for undo. What the table said of those faces is
looked up here. Worse, where such a step lies before the last whole state of the file that Blender has
stored, the whole state before it is loaded: the table is then as old as that, or blank.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Any

import bpy

from .table import Faces

MAX_SNAPSHOTS = 48
"""Tables that are remembered of a file, of all meshes together."""

Snapshot = dict[str, Any]


class Snapshots:
    """The last tables by mesh and labels of its faces; the oldest are forgotten."""

    def __init__(self) -> None:
        self._tables: OrderedDict[tuple[str, bytes], Snapshot] = OrderedDict()

    def keep(self, mesh: bpy.types.Mesh, faces: Faces) -> None:
        """Remember the table that `mesh` has with these faces."""
        key = _key(mesh, faces)
        self._tables[key] = _described(mesh.partsam)
        self._tables.move_to_end(key)
        while len(self._tables) > MAX_SNAPSHOTS:
            self._tables.popitem(last=False)

    def restore(self, mesh: bpy.types.Mesh, faces: Faces) -> None:
        """Give `mesh` the table that it last had with these faces, if that is known."""
        kept = self._tables.get(_key(mesh, faces))
        if kept is not None and kept != _described(mesh.partsam):
            _write(mesh.partsam, kept)

    def forget(self) -> None:
        """Drop all: another file has meshes of the same names."""
        self._tables.clear()


_snapshots = Snapshots()


def get_snapshots() -> Snapshots:
    """The snapshots of this Blender session."""
    return _snapshots


def _key(mesh: bpy.types.Mesh, faces: Faces) -> tuple[str, bytes]:
    digest = hashlib.blake2b(digest_size=16)
    for values in (faces.part_ids, faces.edits, faces.atoms):
        digest.update(values.astype("<i4").tobytes())
    return mesh.name_full, digest.digest()


def _described(group: bpy.types.PropertyGroup) -> Snapshot:
    """All values of a property group, and of the groups in its collections."""
    values: Snapshot = {}
    for prop in group.bl_rna.properties:
        if prop.identifier == "rna_type":
            continue
        value = getattr(group, prop.identifier)
        if prop.type == "COLLECTION":
            values[prop.identifier] = [_described(item) for item in value]
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
