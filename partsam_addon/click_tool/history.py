# SPDX-License-Identifier: GPL-3.0-or-later
"""Which accepted parts a mesh has after Blender's undo and redo, which know nothing of the tool."""

from __future__ import annotations

from collections.abc import Sequence

import bpy

from ..mesh_exchange import MeshSource, find_object
from .accepting import Accepted


class AcceptedHistory:
    """The parts accepted in one run, by the number of the table's state, which undo brings back, too."""

    def __init__(self, source: MeshSource) -> None:
        """source: the mesh that gets the parts"""
        self._source = source
        self._states: dict[int, list[Accepted]] = {}

    def note(self, written: Sequence[Accepted]) -> None:
        """`written` are the parts as the mesh is now. Raises PartSAMError where it is gone."""
        number = self._mesh().partsam.revision
        later = [other for other in self._states if other > number]
        for other in later:  # they were undone, and something else was done since
            del self._states[other]
        self._states[number] = list(written)

    def now(self) -> list[Accepted]:
        """The parts that the mesh has. Raises PartSAMError where it is gone."""
        table = self._mesh().partsam
        known = [number for number in self._states if number <= table.revision]
        present = {part.part_id for part in table.parts}
        found = self._states[max(known)] if known else []
        return [part for part in found if part.part_id in present]

    def _mesh(self) -> bpy.types.Mesh:
        return find_object(self._source.object_uid, name=self._source.object_name).data
