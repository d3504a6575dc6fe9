# SPDX-License-Identifier: GPL-3.0-or-later
"""The shapes that are measured: a mesh, its known parts and where it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..geometry import Mesh
from ..geometry.mesh import IntArray
from ..training.packing import load_shapes
from ..training.shards import UNLABELLED as SHARD_UNLABELLED
from ..training.shards import LabelledShape
from .metrics import UNLABELLED


@dataclass(frozen=True)
class KnownShape:
    """One shape with known parts.

    mesh: in the shard's units, longest side 2
    labels: int32 [F], labeling 0 of the shape; -1 where unlabelled
    labeling: what the labeling is (`node`, `component`, ...)
    source: the repository that the mesh comes from
    key: names the shape: repository and path within it
    """

    mesh: Mesh
    labels: IntArray
    labeling: str
    source: str
    key: str


def known_shapes(paths: Sequence[Path], *, limit: int | None = None) -> list[KnownShape]:
    """Shapes of the shards `paths` in order, the first `limit` of each. DataError for unusable files."""
    found = []
    for path in paths:
        shapes = load_shapes([path])
        count = len(shapes) if limit is None else min(limit, len(shapes))
        found += [_known(shapes.shape(row)) for row in range(count)]
    if not found:
        raise DataError("there is no shape to measure; name a shard with shapes, or a limit above 0")
    return found


def _known(shape: LabelledShape) -> KnownShape:
    labels = shape.labelings[0].astype(np.int32)
    names = shape.info.get("names") or ["unknown"]
    source, path = str(shape.info.get("repo", "unknown")), str(shape.info.get("path", ""))
    return KnownShape(
        mesh=shape.mesh,
        labels=np.where(labels == SHARD_UNLABELLED, UNLABELLED, labels),
        labeling=str(names[0]),
        source=source,
        key=f"{source}:{path}",
    )
