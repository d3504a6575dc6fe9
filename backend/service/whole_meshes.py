# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests that need no network and nothing held: parts of one mesh on another, and parts that repeat."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import Cancelled, ProtocolError
from ..geometry import Mesh, validate_mesh
from . import fields
from .protocol import Message
from .server import Call, Reply

if TYPE_CHECKING:
    from ..transfer import Correspondence


def transfer(call: Call) -> Reply:
    """The part of each face of the target: `labels` int32 [G], in the numbers that were sent."""
    source, target = _mesh(call.message, "source_"), _mesh(call.message, "target_")
    return transfer_reply(call, source, target, prefix="source_")


def transfer_reply(
    call: Call, source: Mesh, target: Mesh, *, prefix: str, correspondence: Correspondence | None = None
) -> Reply:
    """`transfer` for meshes that were read or held; prefix: of the array `labels` [F] of the source."""
    from ..transfer import TransferSettings, transfer_labels

    strength = fields.number(call.message, "strength", low=0.0, high=100.0)
    found = transfer_labels(
        source,
        _labels(call.message, prefix, source),
        target,
        correspondence=correspondence,
        settings=TransferSettings(strength=strength),
        progress=call.progress,
        cancel=call.cancelled,
    )
    return Reply(arrays={"labels": found})


def find_repeats(call: Call) -> Reply:
    """Groups of parts that are copies: `groups`, `parts` int32 [R], `transforms` float64 [R, 4, 4]."""
    from ..transfer import find_repeats as find

    message = call.message
    mesh = _mesh(message, "")
    labels = _labels(message, "", mesh)

    def progress(fraction: float) -> None:
        if call.cancelled():
            raise Cancelled()
        call.progress("copies", fraction)

    repeats = find(mesh, labels, progress=progress)
    groups = [np.full(len(repeat.parts), number) for number, repeat in enumerate(repeats)]
    return Reply(
        {"group_count": len(repeats)},
        {
            "groups": np.concatenate([*groups, np.zeros(0)]).astype(np.int32),
            "parts": np.array([part for repeat in repeats for part in repeat.parts], dtype=np.int32),
            "transforms": np.concatenate([np.zeros((0, 4, 4)), *(repeat.transforms for repeat in repeats)]),
        },
    )


def _mesh(message: Message, prefix: str) -> Mesh:
    mesh = Mesh(
        fields.array(message, f"{prefix}vertices", columns=3),
        fields.array(message, f"{prefix}triangles", columns=3, integers=True),
    )
    validate_mesh(mesh)
    return mesh


def _labels(message: Message, prefix: str, mesh: Mesh) -> NDArray[np.integer]:
    labels = fields.array(message, f"{prefix}labels", integers=True)
    if len(labels) != mesh.face_count or labels.min(initial=0) < 0:
        raise ProtocolError(f"the {message.kind!r} request needs a label from 0 for each triangle")
    return labels
