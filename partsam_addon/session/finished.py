# SPDX-License-Identifier: GPL-3.0-or-later
"""What the last segmentation has found, so that the redo panel can cut it anew without the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import bpy

from ..backend_process import Result
from ..parts import Cut, granularity_for
from .clouds import FoundCloud
from .find_parts import Found, confidences, refinement_request
from .flow import Flow
from .workplace import Workplace


@dataclass(frozen=True)
class Finished:
    """asked: the operator and its properties, except for where it cuts; found: see `find_parts.segment`"""

    asked: Mapping[str, object]
    found: Sequence[Found | FoundCloud]

    def meshes(self) -> set[int]:
        """The meshes (session_uid) that it is about, as far as their objects are still there."""
        objects = {_object_uid(one) for one in self.found}
        return {obj.data.session_uid for obj in bpy.data.objects if obj.session_uid in objects}


def cut_found(place: Workplace, found: Sequence[Found | FoundCloud], cut: Cut, *, count: int = 0) -> Flow:
    """The same as `found`, cut elsewhere; asks the backend only for refined borders.

    count: about so many parts instead of the cut's granularity; 0: as the cut says
    """
    result: list[Found | FoundCloud] = []
    answers: dict[tuple[str, Cut], Result] = {}  # copies of one mesh share theirs
    for one in found:
        if count:
            cut = replace(cut, granularity=granularity_for(count, [one.counted.part_counts()]))
        if isinstance(one, FoundCloud):
            result.append(replace(one, cut=replace(cut, strength=None)))
            continue
        request = refinement_request(one.held.parts_id, cut)
        if request is None:
            of_atom, confidence = one.tree.cut(cut.granularity)
            labels = of_atom[one.atoms]
        else:
            key = one.held.parts_id, cut
            if key not in answers:
                answers[key] = yield place.send(request)
            labels, confidence = one.held.own(answers[key].arrays["labels"]), confidences(answers[key])
        result.append(replace(one, cut=cut, labels=labels, confidence=confidence))
    return result


def is_refined_slowly(found: Sequence[Found | FoundCloud], cut: Cut, faces: int) -> bool:
    """Whether `cut` refines the borders of a shape with more than so many faces."""
    shapes = (one.held.shape_faces for one in found if isinstance(one, Found))
    return cut.strength is not None and max(shapes, default=0) > faces


def _object_uid(found: Found | FoundCloud) -> int:
    return found.task.cloud.object_uid if isinstance(found, FoundCloud) else found.held.source.object_uid
