# SPDX-License-Identifier: GPL-3.0-or-later
"""The shapes that are measured: a mesh, its known parts and where it comes from."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..geometry import Mesh
from ..geometry.mesh import IntArray
from ..labelled_meshes.packing import load_shapes
from ..labelled_meshes.shards import UNLABELLED as SHARD_UNLABELLED
from ..labelled_meshes.shards import LabelledShape
from ..metrics import UNLABELLED
from . import Half


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


def known_shapes(paths: Sequence[Path], *, limit: int | None = None, half: Half = "all") -> list[KnownShape]:
    """Shapes of the shards `paths` in order, the first `limit` of each that belong to `half`.

    DataError for unusable files.
    """
    found = []
    for path in paths:
        shapes = load_shapes([path])
        known = (_known(shapes.shape(row)) for row in range(len(shapes)))
        found += list(islice((item for item in known if half in ("all", half_of(item.source))), limit))
    if not found:
        raise DataError(
            "there is no shape to measure; name a shard with shapes of that half, or a limit above 0"
        )
    return found


def half_of(source: str) -> Half:
    """The half of the validation shapes that a repository belongs to: settings are fitted on one only.

    By its owner, so that one author's shapes are never in both: those whose CRC-32 is even are to fit on.
    """
    return "report" if zlib.crc32(source.split("/")[0].encode()) % 2 else "fit"


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
