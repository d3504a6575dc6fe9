# SPDX-License-Identifier: GPL-3.0-or-later
"""The request for the parts of a point cloud. Nothing is held: the reply has every granularity."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ..errors import MeshError
from . import fields
from .cancellation import layers_check
from .memory import Footprint, within_memory
from .server import Call, Reply
from .shapes import read_poses

if TYPE_CHECKING:
    from ..scans.clouds import CloudParts
    from ..segmenter import Segmenter


def segment_cloud(
    call: Call,
    segmenter_on: Callable[[str], Segmenter],
    *,
    asked: Footprint,
    max_prompts: int,
    make_room: Callable[[], bool],
) -> Reply:
    """Answer the request with less of everything whenever memory runs out.

    segmenter_on: the wanted model on a device; asked: what to begin with
    """
    from ..scans.clouds import segment_cloud as segment

    message = call.message
    points = fields.array(message, "points", columns=3)
    colors = fields.array(message, "colors", columns=3) if "colors" in message.arrays else None
    if colors is not None and (len(colors) != len(points) or not np.isfinite(colors).all()):
        raise MeshError(
            "the cloud's colours are not finite, or not one for each point; remove or repair them"
        )
    prompts = fields.integer(message, "prompts", low=1, high=max_prompts)
    poses = read_poses(message)
    seed = fields.integer(message, "seed", low=0, high=2**31 - 1)

    def compute(footprint: Footprint) -> CloudParts:
        call.progress("encode", 0.0)
        return segment(
            segmenter_on(footprint.device),
            points,
            None,
            colors,
            seed=seed,
            prompts=prompts,
            poses=poses,
            prompt_batch=footprint.prompt_batch,
            count=footprint.points,
            progress=call.progress,
            cancel=call.cancelled,
        )

    with layers_check(call.cancelled):
        parts, _ = within_memory(asked, compute, notices=call.notices, make_room=make_room)
    call.progress("points", 0.0)
    tree = parts.atom_tree()
    return Reply(
        {"atom_count": tree.labels.shape[1]},
        {"atoms": tree.atoms, "labels": tree.labels, "confidences": tree.confidences},
    )
