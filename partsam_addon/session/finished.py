# SPDX-License-Identifier: GPL-3.0-or-later
"""What the last segmentation has found, so that the redo panel can cut it anew without the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..backend_process import Result
from ..parts import Cut
from .clouds import FoundCloud
from .flow import Flow
from .segmentation import Found, confidences, refinement_request
from .workplace import Workplace


@dataclass(frozen=True)
class Finished:
    """asked: the operator and its properties, except for where it cuts; found: see `segmentation.segment`"""

    asked: Mapping[str, object]
    found: Sequence[Found | FoundCloud]


def cut_found(place: Workplace, found: Sequence[Found | FoundCloud], cut: Cut, *, count: int = 0) -> Flow:
    """The same as `found`, cut elsewhere; asks the backend only for refined borders.

    count: about so many parts instead of the cut's granularity; 0: as the cut says
    """
    result: list[Found | FoundCloud] = []
    for one in found:
        if count:
            cut = replace(cut, granularity=one.tree.granularity_for(count))
        if isinstance(one, FoundCloud):
            result.append(replace(one, cut=replace(cut, strength=None)))
            continue
        request = refinement_request(one.held.parts_id, cut)
        if request is None:
            of_atom, confidence = one.tree.cut(cut.granularity)
            labels = of_atom[one.atoms]
        else:
            answer: Result = yield place.send(request)
            labels, confidence = one.held.own(answer.arrays["labels"]), confidences(answer)
        result.append(replace(one, cut=cut, labels=labels, confidence=confidence))
    return result
