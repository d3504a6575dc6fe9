# SPDX-License-Identifier: GPL-3.0-or-later
"""The click tool's actions as buttons and keys, and clicks from a script."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

import bpy
import numpy as np
from bpy.props import EnumProperty, FloatProperty, StringProperty
from mathutils import Vector
from mathutils.geometry import closest_point_on_tri

from ...backend.errors import PromptError
from ..mesh_exchange import editable_problem, main_object, make_active
from ..mesh_exchange.arrays import FloatArray
from ..operators.reporting import reports_errors
from ..parts import get_part
from ..session import get_session
from ..wording import say
from .keys import ACTIONS
from .masks import Choice
from .operator import begin_work
from .picker import Picker
from .prompts import Click
from .surface import Surface
from .work import ClickWork

WAIT_SECONDS = 0.005
NEAR_TRIANGLES = 64
"""Triangles with the nearest centres, among which the nearest one is looked for."""

BUTTON_ACTIONS = {
    "ACCEPT": ClickWork.accept,
    "LEAVE": ClickWork.leave,
    "TAKE_BACK": ClickWork.remove_last,
    "NEXT_LEVEL": ClickWork.next_level,
    "NEXT_PART": lambda work: work.restart(None),
}
"""What can be done without a mouse in a viewport."""


class PARTSAM_OT_click_action(bpy.types.Operator):
    """Do this in the running click tool"""

    bl_idname = "partsam.click_action"
    bl_label = "Click Tool"
    bl_options = {"INTERNAL"}

    action: EnumProperty(name="Action", description="What to do", items=ACTIONS, default="ACCEPT")

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        return get_session().clicks is not None

    @classmethod
    def description(cls, _context: bpy.types.Context, properties: bpy.types.OperatorProperties) -> str:
        return say(next(text for name, _label, text in ACTIONS if name == properties.action))

    @reports_errors
    def execute(self, _context: bpy.types.Context) -> set[str]:
        work = get_session().clicks
        if isinstance(work, ClickWork) and self.action in BUTTON_ACTIONS:
            BUTTON_ACTIONS[self.action](work)
            get_session().wake()
        return {"FINISHED"}


class PARTSAM_OT_click(bpy.types.Operator):
    """Make a part of what lies under clicks, and wait for it; for scripts"""

    bl_idname = "partsam.click"
    bl_label = "Part under Points"
    bl_options = {"REGISTER", "UNDO"}

    points: StringProperty(
        name="Points",
        description="World positions on the part, three numbers each, as in '0 0 1, 0.5 0 1'",
    )
    excluded: StringProperty(name="Excluded", description="World positions that are not on the part")
    size: FloatProperty(
        name="Size",
        description="Share of the surface area that the part has; 0: not known",
        default=0.0,
        min=0.0,
        max=1.0,
    )
    name: StringProperty(name="Name", description="Name of the part; empty for the usual one")

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        problem = editable_problem(main_object(context))
        if get_session().is_busy or get_session().clicks is not None:
            problem = "PartSAM is still working; wait for it or press Cancel"
        if problem:
            cls.poll_message_set(problem)
        return problem is None

    @reports_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        inside, outside = parse_points(self.points), parse_points(self.excluded)
        if not len(inside):
            raise PromptError("Give at least one point on the part, as in points='0 0 1'")
        part_id = click_part(context, inside, outside, size=self.size or None, name=self.name)
        self.report({"INFO"}, say("Part {number}", number=part_id))
        return {"FINISHED"}


def parse_points(text: str) -> FloatArray:
    """Numbers separated by anything, three for each point: float64 [K, 3]. PromptError for other counts."""
    try:
        numbers = [float(word) for word in re.split(r"[\s,;()\[\]]+", text) if word]
    except ValueError as error:
        raise PromptError(
            say("{text!r:.60} are not points; give three numbers each, as in '0 0 1'", text=text)
        ) from error
    if len(numbers) % 3:
        raise PromptError(say("{count} numbers are not points; give three for each", count=len(numbers)))
    return np.array(numbers, dtype=np.float64).reshape(-1, 3)


def click_part(
    context: bpy.types.Context, inside: FloatArray, outside: FloatArray, *, size: float | None, name: str
) -> int:
    """Make a part of the active object by clicks, world positions [K, 3] each; its id. Waits for it."""
    session = get_session()
    obj = main_object(context)
    assert obj is not None, "poll has looked"
    make_active(context, obj)
    work, picker = begin_work(context, obj)
    error: Exception | None = None
    try:
        work.prepare(seed=context.scene.partsam.seed)
        work.choose(Choice(size=size))
        work.add(*scripted_clicks(work, picker, inside, outside))
        work.accept(patient=True)
        work.leave()
        while work.poll():
            assert session.backend is not None
            session.backend.pump()
            time.sleep(WAIT_SECONDS)
        error = work.error
    finally:
        session.end_clicks()
    if error is not None:
        raise error
    (part,) = work.accepted[:1]
    if name:
        get_part(context.object.data, part.part_id).name = name
    return part.part_id


def scripted_clicks(
    work: ClickWork, picker: Picker, inside: FloatArray, outside: FloatArray
) -> Sequence[Click]:
    """World positions as clicks."""
    surface = picker.shown().surface
    inverse = np.linalg.inv(work.known.matrix)
    signed = [(point, True) for point in inside] + [(point, False) for point in outside]
    clicks = []
    for point, positive in signed:
        place = inverse[:3, :3] @ point + inverse[:3, 3]
        clicks.append(Click(tuple(place.tolist()), nearest_polygon(surface, place), positive))
    return clicks


def nearest_polygon(surface: Surface, place: FloatArray) -> int:
    """The base polygon whose surface is nearest to an encoded place, object space [3]."""
    corners = surface.places[surface.triangles].astype(np.float64)
    distances = np.linalg.norm(corners.mean(axis=1) - place, axis=1)
    near = np.argsort(distances)[:NEAR_TRIANGLES].tolist()
    point = Vector(place)
    best = min(
        near, key=lambda index: (closest_point_on_tri(point, *map(Vector, corners[index])) - point).length
    )
    return int(surface.polygons[best])


classes = (PARTSAM_OT_click_action, PARTSAM_OT_click)
