# SPDX-License-Identifier: GPL-3.0-or-later
"""What requests about shapes carry, and the replies with labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

import numpy as np
from numpy.typing import NDArray

from ..errors import MeshError, ProtocolError
from ..geometry import Mesh, validate_mesh
from . import fields
from .held import HeldShape
from .protocol import Message
from .server import Reply

if TYPE_CHECKING:
    from ..segmentation.parts import Parts
    from ..segmenter import EncodedShape, Segmenter

MAX_PARTS = 4096


def model_and_device(message: Message) -> tuple[str, str]:
    """The model and the device that a request asks for."""
    return fields.text(message, "model"), fields.text(message, "device", "auto")


class Cut(TypedDict, total=False):
    """Where parts are cut: the arguments of `Parts.face_labels` and the like."""

    granularity: float
    parts: int


def read_cut(message: Message) -> Cut:
    """Where to cut: at a granularity, or into about `count` parts if that is given."""
    cut: Cut = {"granularity": fields.number(message, "granularity", low=0.0, high=1.0)}
    if message.fields.get("count") is not None:
        cut["parts"] = fields.integer(message, "count", low=1, high=MAX_PARTS)
    return cut


def read_poses(message: Message) -> int:
    """In how many poses the network is to see a shape; the segmenter says how many it can."""
    return 1 if "poses" not in message.fields else fields.integer(message, "poses", low=1, high=2**31 - 1)


def read_strength(message: Message) -> float:
    """Of the refinement; 0: none."""
    return fields.number(message, "strength", low=0.0, high=100.0)


def describe(segmenter: Segmenter) -> dict[str, object]:
    """What the client is told of a model."""
    return {
        "model": segmenter.model_name,
        "device": segmenter.device,
        "points": segmenter.config.points,
    }


def received_shape(message: Message) -> tuple[Mesh, dict[str, NDArray] | None]:
    """The mesh of an `encode` request and, where the caller drew one, its sample. Raises if unusable."""
    mesh = Mesh(
        fields.array(message, "vertices", columns=3),
        fields.array(message, "triangles", columns=3, integers=True),
    )
    validate_mesh(mesh)
    if "points" not in message.arrays:
        return mesh, None
    sample = {name: fields.array(message, name, columns=3) for name in ("points", "normals", "colors")}
    sample["point_faces"] = fields.array(message, "point_faces", integers=True)
    faces = sample["point_faces"]
    if len({len(array) for array in sample.values()}) != 1 or not len(faces):
        raise ProtocolError("points, normals, colors and point_faces must have the same length, not 0")
    if faces.min() < 0 or faces.max() >= mesh.face_count:
        raise ProtocolError(f"point_faces must lie in 0..{mesh.face_count - 1}")
    if not all(np.isfinite(sample[name]).all() for name in ("points", "normals", "colors")):
        raise MeshError(
            "some sample points, normals or colours are not finite; repair the mesh and try again"
        )
    return mesh, sample


def encoded_anew(segmenter: Segmenter, shape: HeldShape, count: int) -> EncodedShape:
    """Encode `count` points of the shape: the first of the caller's sample, or a sample of our own."""
    if shape.sample is None:
        return segmenter.encode(shape.mesh, seed=shape.seed, points=count)
    points, normals, colors, faces = (
        shape.sample[name][:count] for name in ("points", "normals", "colors", "point_faces")
    )
    return segmenter.encode_points(points, normals, colors=colors, point_faces=faces, mesh=shape.mesh)


def labels_reply(parts: Parts, cut: Cut, labels: NDArray, *, parts_id: str | None = None) -> Reply:
    """The labels of a cut and their confidences; parts_id: of a segmentation that is new."""
    confidence = np.asarray(parts.confidence(**cut), dtype=np.float32)
    return Reply(
        ({} if parts_id is None else {"parts": parts_id}) | {"part_count": len(confidence)},
        {"labels": labels.astype(np.int32, copy=False), "confidence": confidence},
    )
