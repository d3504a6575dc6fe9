# SPDX-License-Identifier: GPL-3.0-or-later
"""Cutting the levels of objects anew, without the network; refined where the backend holds the tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import bpy

from ..backend_process import Request, RequestFailed, Result
from ..mesh_exchange import editable_problem, object_mode
from ..mesh_exchange.elements import has_integers
from ..parts import (
    PART_ATTRIBUTE,
    TREE_ATTRIBUTE,
    Cut,
    bring_together,
    driven_level,
    driven_levels,
    granularity_of_levels,
    has_parts,
    is_outdated,
)
from .find_parts import confidences, refinement_request
from .flow import Flow
from .held import Held
from .workplace import Workplace
from .writing import Recut

UNREFINED = "borders are as the network drew them: to refine them anew, segment again"
"""Where the backend that found the parts has ended or forgotten them, or the mesh was edited since."""


@dataclass(frozen=True)
class Target:
    """A level of an object and where it is to be cut. held: None where borders cannot be refined."""

    object_uid: int
    level: int
    cut: Cut
    held: Held | None

    @property
    def is_refined(self) -> bool:
        return self.held is not None and self.cut.strength is not None

    @property
    def question(self) -> tuple[str, Cut]:
        """What the backend is asked where it is refined: copies share one."""
        return ("" if self.held is None else self.held.parts_id), self.cut

    def from_tree(self) -> Recut:
        """The change that needs no backend."""
        return Recut(self.object_uid, self.level, self.cut)


def targets_of(place: Workplace, obj: bpy.types.Object, cut: Cut, *, count: int = 0) -> list[Target]:
    """What Granularity drives of `obj`; nothing where it has no part tree.

    count: about so many parts in the list instead of the cut's granularity; 0: as the cut says
    """
    if count and driven_levels(obj.data):
        with object_mode(bpy.context, obj):
            granularity = granularity_of_levels(obj.data, driven_levels(obj.data), count)
        cut = replace(cut, granularity=granularity)
    levels = driven_levels(obj.data)
    return [target(place, obj, level, cut) for level in levels]


def target(place: Workplace, obj: bpy.types.Object, level: bpy.types.PropertyGroup, cut: Cut) -> Target:
    """A level of `obj`, to be cut at `cut`."""
    held = place.held.get(level.tree_id)
    if held is not None and held.source.polygon_count != obj.data.partsam.face_count:
        held = None  # faces came or went: the backend's triangles are not these any more
    return Target(obj.session_uid, level.number, cut, held)


def candidates(context: bpy.types.Context) -> list[bpy.types.Object]:
    """The active object and the selected ones, as far as they are meshes; each once."""
    active = getattr(context, "object", None)
    chosen = [active, *(getattr(context, "selected_objects", None) or ())]
    return list({obj.session_uid: obj for obj in chosen if obj is not None and obj.type == "MESH"}.values())


def may_be_driven(context: bpy.types.Context) -> bool:
    """Whether there are `driven_objects`, or will be after `update_tables`. Changes nothing."""
    return bool(driven_objects(context)) or any(
        has_integers(obj.data, TREE_ATTRIBUTE) and (obj.mode == "EDIT" or is_outdated(obj.data))
        for obj in candidates(context)
    )


def driven_objects(context: bpy.types.Context) -> list[bpy.types.Object]:
    """The active object and the selected ones that have a part tree, each mesh once."""
    found: dict[int, bpy.types.Object] = {}
    for obj in candidates(context):
        if has_parts(obj.data) and driven_level(obj.data):
            found.setdefault(obj.data.session_uid, obj)
    return list(found.values())


def update_tables(context: bpy.types.Context, objects: Sequence[bpy.types.Object]) -> None:
    """Take in the part trees of what was joined to `objects`, which a cut has to drive as well.

    Before `driven_objects` and `targets_of`, except in panels, which must not change anything.
    """
    ready = [
        obj for obj in objects if editable_problem(obj) is None and has_integers(obj.data, PART_ATTRIBUTE)
    ]
    with object_mode(context, *ready):
        for obj in ready:
            bring_together(obj.data)


def recut(place: Workplace, targets: Sequence[Target]) -> Flow:
    """Cut all of `targets`; returns a list of `Recut`. Needs the backend only where one is refined."""
    answers: dict[tuple[str, Cut], Result | None] = {}
    changes = []
    for wanted in targets:
        if wanted.is_refined and wanted.question not in answers:
            answers[wanted.question] = answer = yield from _refine(place, wanted)
            place.notices += () if answer is None else answer.notices
        changes.append(refined(wanted, answers.get(wanted.question)))
    return changes


def _refine(place: Workplace, wanted: Target) -> Flow:
    """The answer to a target's question; None where the backend has forgotten the parts."""
    job = place.send(request_of(wanted))
    try:
        return (yield job)
    except RequestFailed as error:
        forget_if_missing(place, wanted, error)
        place.notices += (UNREFINED,)
        return None


def request_of(wanted: Target) -> Request:
    """What asks a target's question, which has to be refined."""
    request = refinement_request(*wanted.question)
    assert wanted.is_refined and request is not None, "only what is refined is asked for"
    return request


def forget_if_missing(place: Workplace, wanted: Target, error: RequestFailed) -> None:
    """Note that the backend has forgotten the parts of a target, or raise `error` where it says something
    else: it holds as many as it has room for."""
    if error.kind != "missing" or wanted.held is None:
        raise error
    place.held.forget(wanted.held.parts_id)


def refined(wanted: Target, answer: Result | None) -> Recut:
    """The change that an answer to `request_of` leads to; without one it comes from the tree."""
    held = wanted.held
    if held is None or answer is None:
        return wanted.from_tree()
    labels = held.own(answer.arrays["labels"])
    return Recut(wanted.object_uid, wanted.level, wanted.cut, held.source, labels, confidences(answer))
