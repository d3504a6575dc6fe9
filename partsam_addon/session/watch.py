# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether an object was changed while a flow read it over several ticks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import bpy


class GeometryWatch:
    """Of one object and its mesh."""

    def __init__(self, obj: bpy.types.Object) -> None:
        self._uids = {obj.session_uid, obj.data.session_uid}
        self._uid = obj.session_uid
        self._groups = [group.name for group in obj.vertex_groups]
        self._touched = False

    @property
    def changed(self) -> bool:
        """Whether either was changed, or undo brought another one."""
        return self._touched or not self._has_same_groups()

    def _has_same_groups(self) -> bool:
        """Scripts add, remove and rename vertex groups without an update of the geometry."""
        obj = next((other for other in bpy.data.objects if other.session_uid == self._uid), None)
        return obj is not None and [group.name for group in obj.vertex_groups] == self._groups

    def after_update(self, _scene: bpy.types.Scene, depsgraph: bpy.types.Depsgraph) -> None:
        """Handler of `depsgraph_update_post`."""
        self._touched |= any(
            update.is_updated_geometry and update.id.original.session_uid in self._uids
            for update in depsgraph.updates
        )

    def after_undo(self, *_: Any) -> None:
        """Handler of `undo_post` and `redo_post`."""
        self._touched = True


@contextmanager
def watched(obj: bpy.types.Object) -> Iterator[GeometryWatch]:
    """Watch `obj` for the block, which must not hold it across ticks."""
    watch, handlers = GeometryWatch(obj), bpy.app.handlers
    pairs = [
        (handlers.depsgraph_update_post, watch.after_update),
        (handlers.undo_post, watch.after_undo),
        (handlers.redo_post, watch.after_undo),
    ]
    for handler, function in pairs:
        handler.append(function)
    try:
        yield watch
    finally:
        for handler, function in pairs:
            if function in handler:  # a new file drops all handlers
                handler.remove(function)
