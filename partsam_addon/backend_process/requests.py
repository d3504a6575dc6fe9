# SPDX-License-Identifier: GPL-3.0-or-later
"""The requests that the backend answers, as values to pass to `BackendProcess.send`.

Each function names the fields and arrays of its result. All arrays are numpy; F counts triangles,
N sample points, P parts, C candidate masks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...backend.service.protocol import content_hash
from .prompts import Prompt


@dataclass(frozen=True)
class Request:
    """What to ask of the backend.

    arrays_on_demand: send `arrays` only if the backend says that it does not hold them yet
    """

    kind: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, NDArray] = field(default_factory=dict, repr=False)  # logs show no arrays
    arrays_on_demand: bool = False


def hello() -> Request:
    """Ask for versions, device and models.

    Result fields: protocol, backend, python, torch, device ("cuda", "mps", "cpu"), device_name,
    memory_free and memory_total (bytes of the device; None where unknown), models (list of names), pid.
    """
    return Request("hello")


def load_model(model: str = "small", *, device: str = "auto") -> Request:
    """Load a model before it is needed. Result fields: model, device, points (wanted sample points)."""
    return Request("load_model", {"model": model, "device": device})


def encode(
    arrays: Mapping[str, NDArray], *, model: str = "small", device: str = "auto", seed: int = 0
) -> Request:
    """Encode a shape. Unchanged shapes are neither sent nor encoded again.

    arrays: "vertices" float [V, 3] and "triangles" int32 [F, 3]; optionally a sample drawn by the caller:
        "points" float [N, 3], "normals" float32 [N, 3], "colors" float32 [N, 3] (RGB in [0, 1]) and
        "point_faces" int32 [N]. Without the sample the backend draws its own. They must not be changed
        until the job is final.
    Result fields: shape (its id for the other requests), points, faces, model, device, seconds,
    reused (bool: it was encoded before).
    """
    fields: dict[str, Any] = {"content": content_hash(arrays), "model": model, "device": device, "seed": seed}
    return Request("encode", fields, arrays, arrays_on_demand=True)


def segment_every_part(
    shape: str, *, prompts: int = 512, poses: int = 1, granularity: float = 0.5
) -> Request:
    """Find all parts of an encoded shape. Progress stages stream.

    poses: in how many poses the network sees the shape
    Result fields: parts (id for `refine`), part_count; arrays: labels int32 [F] (0..P-1), confidence
    float32 [P].
    """
    fields = {"shape": shape, "prompts": prompts, "poses": poses, "granularity": granularity}
    return Request("segment_every_part", fields)


def predict(shape: str, *prompts: Prompt) -> Request:
    """Predict the part that the prompts describe: `Points` at least, one of each kind at most.

    Result fields: prediction (id), best (index into C); arrays: scores float32 [C] (predicted IoU),
    face_logits float32 [C, F] (> 0: inside the part).
    """
    fields: dict[str, Any] = {"shape": shape}
    arrays: dict[str, NDArray] = {}
    for prompt in prompts:
        fields |= prompt.fields()
        arrays |= prompt.arrays()
    return Request("predict", fields, arrays)


def predict_parts(shape: str, points: ArrayLike, parts: ArrayLike, *, strength: float = 1.0) -> Request:
    """Predict several parts together: each one's clicks speak against the others.

    points: float [K, 3], in the units of the encoded arrays; parts: int [K], the part of each click, 0 .. P-1
    strength: of the refinement; 0: none
    Result arrays: labels int32 [F] (0 .. P-1, -1: none of them), scores float32 [P] (predicted IoU).
    """
    arrays: dict[str, NDArray] = {
        "points": np.asarray(points, dtype=np.float64).reshape(-1, 3),
        "parts": np.asarray(parts, dtype=np.int32).reshape(-1),
    }
    return Request("predict_parts", {"shape": shape, "strength": strength}, arrays)


def part_tree(parts: str) -> Request:
    """The labels of all S granularity steps, by atom (faces that no step tells apart), to be stored.

    Result fields: atom_count; arrays: atoms int32 [F] (0..A-1), labels int32 [S, A], confidences
    float32 [S, P] (predicted IoU of each label).
    """
    return Request("part_tree", {"parts": parts})


def refine(parts: str, *, granularity: float = 0.5, strength: float = 1.0) -> Request:
    """Cut the part tree at `granularity` in [0, 1], with borders moved to the creases by graph cut.

    Result fields: part_count; arrays as for `segment_every_part`.
    """
    fields = {"parts": parts, "granularity": granularity, "strength": strength}
    return Request("refine", fields)


def refine_prediction(prediction: str, *, candidate: int, strength: float = 1.0) -> Request:
    """Refine one candidate mask of `predict`.

    Result fields: seconds (that the cut took, without waiting for the face graph); arrays: labels int32 [F],
    1 inside the part, else 0.
    """
    return Request(
        "refine_prediction", {"prediction": prediction, "candidate": candidate, "strength": strength}
    )


def segment_cloud(
    points: NDArray,
    colors: NDArray | None = None,
    *,
    model: str = "small",
    device: str = "auto",
    seed: int = 0,
    prompts: int = 512,
    poses: int = 1,
) -> Request:
    """Find all parts of a point cloud; nothing is held for later. Progress stages stream.

    points: float [N, 3]; colors: float [N, 3], RGB in [0, 1]
    Result field: atom_count; arrays as for `part_tree`, with atoms int32 [N] (-1: the point is not finite).
    """
    arrays = {"points": points} if colors is None else {"points": points, "colors": colors}
    fields = {"model": model, "device": device, "seed": seed, "prompts": prompts, "poses": poses}
    return Request("segment_cloud", fields, arrays)


def transfer(
    source: Mapping[str, NDArray], labels: NDArray, target: Mapping[str, NDArray], *, strength: float = 1.0
) -> Request:
    """The parts of one mesh on another that has the same shape in the same place; no network.

    source, target: "vertices" float [V, 3] and "triangles" int32 [F, 3]; labels: int [F] from 0
    strength: of the graph cut over the target's edges; 0: each face takes what is nearest
    Result arrays: labels int32 [G], one of `labels` for each triangle of the target.
    """
    arrays = {f"source_{name}": array for name, array in source.items()}
    arrays |= {f"target_{name}": array for name, array in target.items()}
    arrays["source_labels"] = np.asarray(labels, dtype=np.int32)
    return Request("transfer", {"strength": strength}, arrays)


def transfer_encoded(source: str, target: str, labels: NDArray, *, strength: float = 1.0) -> Request:
    """`transfer` to another shape of the same kind, by the network's field; both are encoded shapes."""
    fields = {"source": source, "target": target, "strength": strength}
    return Request("transfer_encoded", fields, {"labels": np.asarray(labels, dtype=np.int32)})


def find_repeats(mesh: Mapping[str, NDArray], labels: NDArray) -> Request:
    """Which parts of a mesh are copies of each other up to a motion or a mirror; no network.

    mesh: "vertices" float [V, 3] and "triangles" int32 [F, 3]; labels: int [F] from 0
    Result field: group_count; arrays: groups int32 [R] (0 ..), parts int32 [R] (labels; the first of each
    group is what the others are copies of), transforms float64 [R, 4, 4] (from the first to each).
    """
    return Request("find_repeats", {}, {**mesh, "labels": np.asarray(labels, dtype=np.int32)})


def release(*, model: bool = False) -> Request:
    """Forget all shapes, parts and predictions; with `model` also the network. Frees (video) memory."""
    return Request("release", {"model": model})


def configure(*, idle_release_seconds: float) -> Request:
    """Change after how long without a request the backend gives (video) memory back; 0 for never."""
    return Request("configure", {"idle_release_seconds": idle_release_seconds})
