# SPDX-License-Identifier: GPL-3.0-or-later
"""Cutting the levels of objects anew, without the network; refined where the backend holds the tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import bpy

from ..backend_process import Result
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
    answers: dict[tuple[str, Cut], Result] = {}
    changes = []
    for wanted in targets:
        held, request = wanted.held, None
        if held is not None:
            request = refinement_request(held.parts_id, wanted.cut)
        if held is None or request is None:
            changes.append(wanted.from_tree())
            continue
        key = (held.parts_id, wanted.cut)
        if key not in answers:
            answers[key] = yield place.send(request)
            place.notices += answers[key].notices
        changes.append(refined(wanted, held, answers[key]))
    return changes


def refined(wanted: Target, held: Held, answer: Result) -> Recut:
    """The change that an answer to `refinement_request` leads to."""
    labels = held.own(answer.arrays["labels"])
    return Recut(wanted.object_uid, wanted.level, wanted.cut, held.source, labels, confidences(answer))
