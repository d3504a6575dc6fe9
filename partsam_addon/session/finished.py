# SPDX-License-Identifier: GPL-3.0-or-later
"""What the last segmentation has found, so that the redo panel can cut it anew without the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import bpy

from ..parts import Cut
from .clouds import FoundCloud
from .find_parts import Found


@dataclass(frozen=True)
class Finished:
    """asked: the operator and its properties, except for where it cuts; found: see `find_parts.segment`"""

    asked: Mapping[str, object]
    found: Sequence[Found | FoundCloud]

    def meshes(self) -> set[int]:
        """The meshes (session_uid) that it is about, as far as their objects are still there."""
        objects = {_object_uid(one) for one in self.found}
        return {obj.data.session_uid for obj in bpy.data.objects if obj.session_uid in objects}


def is_refined_slowly(found: Sequence[Found | FoundCloud], cut: Cut, faces: int) -> bool:
    """Whether `cut` refines the borders of a shape with more than so many faces."""
    shapes = (one.held.shape_faces for one in found if isinstance(one, Found))
    return cut.strength is not None and max(shapes, default=0) > faces


def _object_uid(found: Found | FoundCloud) -> int:
    return found.task.cloud.object_uid if isinstance(found, FoundCloud) else found.held.source.object_uid
