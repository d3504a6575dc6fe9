# SPDX-License-Identifier: GPL-3.0-or-later
"""Which part lies under the mouse, and which were picked so far."""

from __future__ import annotations

import bmesh
import bpy

from ...backend.errors import PromptError
from ..click_tool.cursor import CursorText
from ..click_tool.picker import Picker
from ..click_tool.surface import hidden_polygons
from ..click_tool.views import View
from ..constants import PART_ATTRIBUTE
from ..mesh_exchange import object_mode
from ..parts import (
    UNASSIGNED,
    active_part,
    bring_together,
    check_parts,
    get_part,
    read_part_ids,
    set_active_part,
)
from ..wording import say


class PartPicking:
    """Runs on the active object until it is stopped; holds no reference to Blender's data.

    hint: why the last press did nothing; empty where it did
    under: id of the part under the mouse, UNASSIGNED for none
    """

    def __init__(self, context: bpy.types.Context, obj: bpy.types.Object) -> None:
        """Read what is seen of `obj`, in Object or Edit mode. PartSAMError where that cannot be done."""
        self.under = UNASSIGNED
        self.hint = ""
        self.is_ended = False
        self._mode = obj.mode
        with object_mode(context, obj):
            bring_together(obj.data)
            hidden = hidden_polygons(obj, in_edit_mode=self._mode == "EDIT")
            self._picker = Picker(obj.session_uid, hidden, as_seen_places=False)
        self._faces = len(hidden)
        self._picker.shown()
        self._cursor = CursorText(self.lines)
        for handlers in self._handlers():
            handlers.append(self._scene_changed)

    def stop(self) -> None:
        """Take everything away. May be called twice."""
        self.is_ended = True
        self._cursor.remove()
        for handlers in self._handlers():
            if self._scene_changed in handlers:
                handlers.remove(self._scene_changed)

    def fits(self, context: bpy.types.Context) -> bool:
        """Whether the object is still the active one, in the same mode and with the same faces."""
        obj = context.object
        if obj is None or obj.session_uid != self._picker.object_uid or obj.mode != self._mode:
            return False
        mesh = obj.data
        return len(bmesh.from_edit_mesh(mesh).faces if mesh.is_editmode else mesh.polygons) == self._faces

    def hover(self, view: View | None) -> bool:
        """The mouse is there; whether another part is under it than before."""
        before, self.under = self.under, UNASSIGNED if view is None else self.part_at(view)
        if self.under != before:
            self.hint = ""
        return self.under != before

    def why_missed(self, view: View) -> str:
        """Why no part is under the mouse of `view`."""
        name = self._picker.object().name
        if self._picker.pick(view, through=False) is not None:
            return say("This face is in no part")
        return say('Nothing of "{name}" is seen here', name=name)

    def part_at(self, view: View) -> int:
        """Id of the part that is seen under the mouse of `view`; UNASSIGNED where there is none."""
        click = self._picker.pick(view, through=False)
        if click is None or click.polygon < 0:
            return UNASSIGNED
        mesh = self._picker.object().data
        if not mesh.is_editmode:
            return int(read_part_ids(mesh)[click.polygon])
        faces = bmesh.from_edit_mesh(mesh).faces
        layer = faces.layers.int.get(PART_ATTRIBUTE)
        faces.ensure_lookup_table()
        return UNASSIGNED if layer is None else int(faces[click.polygon][layer])

    def pick(self, part_id: int, *, several: bool) -> None:
        """Make a part the active one of the list; with `several`, collect it beside those picked before."""
        mesh = self._picker.object().data
        get_part(mesh, part_id)
        picked = {part.part_id for part in mesh.partsam.parts if part.checked}
        if not several:
            check_parts(mesh, ())
        else:
            active = active_part(mesh)
            if not picked and active is not None:
                picked = {active.part_id} - {part_id}
            check_parts(mesh, picked ^ {part_id})
        set_active_part(mesh, part_id)

    def lines(self) -> list[str]:
        """What stands beside the mouse."""
        if self.is_ended:
            return []
        hint = [self.hint] if self.hint else []
        try:
            part = get_part(self._picker.object().data, self.under)
        except PromptError:
            return hint
        count = sum(one.checked for one in part.id_data.partsam.parts)
        return [*hint, part.name, *([say("{count} picked", count=count)] if count else [])]

    def _scene_changed(self, *_arguments: object) -> None:
        self._picker.is_stale = True

    @staticmethod
    def _handlers() -> tuple[list, ...]:
        handlers = bpy.app.handlers
        return (
            handlers.depsgraph_update_post,
            handlers.undo_post,
            handlers.redo_post,
            handlers.frame_change_post,
        )
