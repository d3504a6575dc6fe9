# SPDX-License-Identifier: GPL-3.0-or-later
"""Presses, drags and keys into clicks: dots that move, strokes, boxes, lassos, and the other actions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import bpy
import numpy as np

from ...backend.errors import PromptError
from ..mesh_exchange import object_mode
from ..mesh_exchange.arrays import BoolArray, IntArray, polygon_areas, polygon_centers, polygon_flags
from ..parts import UNASSIGNED, active_part, read_part_ids, set_active_part
from ..view import sync_display
from ..wording import say
from .accepting import Target
from .masks import Choice
from .picker import Picker
from .preview import DOT_PIXELS, ClickPreview
from .prompts import Click, Faces, Outline
from .views import View, view_under
from .work import ClickWork

DRAG_PIXELS = 4
"""Below this a press and its release are a click."""
STROKE_PIXELS = 30
"""Between two clicks of a stroke."""
STROKE_CLICKS = 10


@dataclass
class Drag:
    """A button that is held down.

    kind: DOT moves a click, STROKE paints clicks, BOX and LASSO draw an outline
    dot: index of the click that is moved; moved: whether the mouse has moved at all
    path: pixels of the region that it began in
    """

    kind: str
    region: int
    path: list[tuple[float, float]]
    positive: bool = True
    dot: int = -1
    moved: bool = False
    clicks: int = 1

    def outline(self) -> Outline:
        """What was drawn so far, by BOX or LASSO."""
        if self.kind == "BOX":
            return Outline.box(self.path[0], self.path[-1], positive=self.positive)
        return Outline(tuple(self.path), self.positive)


class Gestures:
    """What the user does in the viewports, told to the work.

    is_dragging: whether a button is held down
    """

    def __init__(self, work: ClickWork, picker: Picker, preview: ClickPreview) -> None:
        self._work, self._picker, self._preview = work, picker, preview
        self._drag: Drag | None = None
        self._outline_next: str | None = None
        self._depth = 0
        self._mouse: tuple[int, int] | None = None
        self._hovered: object = None
        self._last: tuple[int, tuple[int, int]] | None = None

    @property
    def is_dragging(self) -> bool:
        return self._drag is not None

    def press(self, view: View, action: str) -> None:
        """A mouse button of one of the tool's actions goes down over a viewport. PromptError beside it."""
        region = view.region.as_pointer()
        if self._outline_next is not None:
            kind, self._outline_next = self._outline_next, None
            self._drag = Drag(kind, region, [view.mouse], positive=action != "EXCLUDE")
            return
        dot = self._dot_under(view)
        if dot is not None:
            self._drag = Drag("DOT", region, [view.mouse], dot=dot)
            return
        click = self._pick(view)
        if click is None:
            raise PromptError(self._why_missed(view))
        if action in {"ADD_TO", "TAKE_FROM"}:
            self._aim(click, action)
        self._work.add(replace(click, positive=action != "EXCLUDE"))
        self._drag = Drag("STROKE", region, [view.mouse], positive=action != "EXCLUDE")

    def move(self, view: View | None, window: int, place: tuple[int, int]) -> None:
        """The mouse has moved to `place`, in pixels of the window with that address."""
        drag, self._last = self._drag, (window, place)
        if view is not None:
            if self._mouse is None or np.hypot(*np.subtract(view.mouse, self._mouse)) > DRAG_PIXELS:
                self._depth = 0
            self._mouse = view.mouse
        if drag is None or view is None or view.region.as_pointer() != drag.region:
            return
        way = np.hypot(*np.subtract(view.mouse, drag.path[-1 if drag.kind != "DOT" else 0]))
        drag.moved = drag.moved or bool(np.hypot(*np.subtract(view.mouse, drag.path[0])) > DRAG_PIXELS)
        if drag.kind == "DOT" and drag.moved:
            self._move_dot(view, drag)
        elif drag.kind == "STROKE" and way > STROKE_PIXELS and drag.clicks < STROKE_CLICKS:
            drag.path.append(view.mouse)
            self._stroke(view, drag)
        elif drag.kind in {"BOX", "LASSO"} and way > 2:
            self._draw_outline(view, drag)

    def release(self, view: View | None) -> None:
        """The button goes up, perhaps outside of every viewport."""
        drag, self._drag = self._drag, None
        self._preview.outline = None
        if drag is None:
            return
        if drag.kind == "DOT" and not drag.moved:
            self._work.remove(drag.dot)
        elif drag.kind in {"BOX", "LASSO"} and view is not None and drag.moved:
            self._take_outline(view, drag)

    def hover(self, windows: Sequence[bpy.types.Window]) -> None:
        """Look up what the mouse rests on in one of `windows`, where that may have changed."""
        work = self._work
        self._hide_accepted()
        before = self._picker.version
        self._picker.shown()
        if self._picker.version != before:
            work.redraw()
        if self._drag is not None or work.part.clicks or self._last is None:
            work.hover_over(None)
            self._hovered = None
            return
        address, place = self._last
        window = next((each for each in windows if each.as_pointer() == address), None)
        view = None if window is None else view_under(window, *place)
        key = None if view is None else (view.mouse, view.view.view_matrix.copy(), self._picker.version)
        if key == self._hovered:
            return
        self._hovered = key
        work.hover_over(None if view is None else self._pick(view))

    def _hide_accepted(self) -> None:
        """Hide what was accepted, for clicks and on the screen, or show it again."""
        settings, work = _settings(), self._work
        hides = settings.hide_accepted and bool(work.accepted)
        self._picker.cover(work.accepted_polygons if hides else None)
        obj, ids = self._picker.object(), sorted(part.part_id for part in work.accepted)
        hidden = f"{obj.session_uid}:{','.join(map(str, ids))}" if hides else ""
        if settings.hidden != hidden:
            settings.hidden = hidden
            sync_display(obj)
            work.redraw()

    def perform(self, action: str, view: View | None) -> None:
        """An action that is not a press of the mouse."""
        work = self._work
        simple = {
            "ACCEPT": work.accept,
            "LEAVE": work.leave,
            "TAKE_BACK": work.remove_last,
            "LARGER": lambda: work.scale_size(1),
            "SMALLER": lambda: work.scale_size(-1),
            "WHOLE": lambda: work.choose(Choice(level=0)),
            "PART": lambda: work.choose(Choice(level=1)),
            "SUBPART": lambda: work.choose(Choice(level=2)),
            "NEXT_LEVEL": work.next_level,
            "NEXT_PART": lambda: self._go(1),
            "PREVIOUS_PART": lambda: self._go(-1),
            "SELECTION": self._take_selection,
            "MIRROR": lambda: _toggle("mirror"),
            "THROUGH": lambda: _toggle("through"),
            "HIDE_ACCEPTED": lambda: _toggle("hide_accepted"),
        }
        if action in simple:
            simple[action]()
        elif action in {"BOX", "LASSO"}:
            self._outline_next = action
        elif view is not None and action == "LIKE_PART":
            self._improve(view)
        elif view is not None and action == "NEXT_HIT":
            self._depth += 1
            self._hovered = None

    def _pick(self, view: View) -> Click | None:
        through = _settings().through
        if not self._depth:
            return self._picker.pick(view, through=through)
        hits = self._picker.hits(view)
        return hits[self._depth % len(hits)] if hits else None

    def _why_missed(self, view: View) -> str:
        """What the mouse is on, if not on the mesh."""
        name = self._picker.object().name
        if self._picker.pick(view, through=True) is None:
            return say('Nothing of "{name}" is here', name=name)
        return say('Another object covers "{name}" here; X-Ray clicks through it', name=name)

    def _dot_under(self, view: View) -> int | None:
        """Index of the click whose dot is under the mouse."""
        projection = view.projection(self._picker.object())
        reach = (DOT_PIXELS + 3) * bpy.context.preferences.system.ui_scale
        for index in reversed(range(len(self._work.part.clicks))):
            dot = self._picker.dot(projection, self._work.part.clicks[index])
            if dot is not None and np.hypot(dot[0] - view.mouse[0], dot[1] - view.mouse[1]) <= reach:
                return index
        return None

    def _move_dot(self, view: View, drag: Drag) -> None:
        click = self._picker.pick(view, through=True)
        if click is not None:
            positive = self._work.part.clicks[drag.dot].positive
            self._work.replace_click(drag.dot, replace(click, positive=positive))

    def _stroke(self, view: View, drag: Drag) -> None:
        click = self._picker.pick(view, through=_settings().through)
        if click is not None:
            drag.clicks += 1
            self._work.add(replace(click, positive=drag.positive))

    def _draw_outline(self, view: View, drag: Drag) -> None:
        drag.path.append(view.mouse)
        self._preview.outline = (drag.region, list(drag.outline().corners))
        view.area.tag_redraw()

    def _take_outline(self, view: View, drag: Drag) -> None:
        """Click all over what lies inside an outline: what is seen there, or with X-ray all of it."""
        drag.path.append(view.mouse)
        outline = drag.outline()
        view.area.tag_redraw()
        pixels = outline.pixels()
        if _settings().through:
            found = [
                click for pixel in pixels.tolist() for click in self._picker.hits(view, mouse=tuple(pixel))
            ]
        else:
            picked = (self._picker.pick(view, through=False, mouse=(x, y)) for x, y in pixels.tolist())
            found = [click for click in picked if click is not None]
        if not found:
            raise PromptError("There is nothing of the mesh inside; draw around a part")
        self._work.add(*outline.clicks(found))

    def _aim(self, click: Click, action: str) -> None:
        """Change an existing part: the one that was clicked, else the active one."""
        mesh = self._picker.object().data
        part_ids = self._part_ids()
        part_id = int(part_ids[click.polygon]) if 0 <= click.polygon < len(part_ids) else UNASSIGNED
        active = active_part(mesh)
        if part_id == UNASSIGNED and active is not None:
            part_id = active.part_id
        if part_id == UNASSIGNED:
            raise PromptError("There is no part yet to change; click and accept one first")
        wanted = Target(part_id, "ADD" if action == "ADD_TO" else "TAKE")
        if self._work.part.target != wanted:
            self._work.restart(wanted)

    def _improve(self, view: View) -> None:
        click = self._pick(view)
        part_ids = self._part_ids()
        part_id = UNASSIGNED if click is None or click.polygon < 0 else int(part_ids[click.polygon])
        if part_id == UNASSIGNED:
            raise PromptError("Point at an existing part first")
        self._work.restart(Target(part_id, "REPLACE"), self._clicks_of(part_ids == part_id))

    def _take_selection(self) -> None:
        obj = self._picker.object()
        with object_mode(bpy.context, obj):
            chosen = polygon_flags(obj.data, "select")
        clicks = self._clicks_of(chosen)
        if not clicks:
            raise PromptError("No face is selected; select some in Edit mode first")
        self._work.restart(None, clicks)

    def _clicks_of(self, chosen: BoolArray) -> tuple[Click, ...]:
        obj = self._picker.object()
        with object_mode(bpy.context, obj):
            return Faces(chosen).clicks(polygon_centers(obj.data), polygon_areas(obj.data))

    def _go(self, step: int) -> None:
        """To the next or previous part; behind the last comes a new one."""
        mesh, work = self._picker.object().data, self._work
        ids: list[int] = [part.part_id for part in mesh.partsam.parts]
        current = (
            ids.index(work.part.target.part_id)
            if work.part.target and work.part.target.part_id in ids
            else len(ids)
        )
        place = (current + step) % (len(ids) + 1)
        if place == len(ids):
            work.restart(None)
            return
        set_active_part(mesh, ids[place])
        earlier = next((part for part in work.accepted if part.part_id == ids[place]), None)
        if earlier is None:
            work.restart(Target(ids[place], "ADD"))
        else:
            work.restart(Target(ids[place], "REPLACE"), earlier.preview.clicks)

    def _part_ids(self) -> IntArray:
        obj = self._picker.object()
        with object_mode(bpy.context, obj):
            return read_part_ids(obj.data)


def _settings() -> bpy.types.PropertyGroup:
    return bpy.context.window_manager.partsam_clicks


def _toggle(name: str) -> None:
    settings = _settings()
    setattr(settings, name, not getattr(settings, name))
