# SPDX-License-Identifier: GPL-3.0-or-later
"""What the backend's evaluation clicks and finds on a labelled mesh, for those who take another path to it.

`python -m tests.simulated_clicks OUT.npz` stores it for one bundled mesh, and with `SHAPES.npz.xz NUMBER` for
that shape of a file of known shapes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from backend.evaluation.interactive import (
    InteractiveSettings,
    accepted_ious,
    simulate_clicks,
)
from backend.evaluation.shapes import known_shapes
from backend.geometry import Mesh
from backend.segmenter import MaskPrediction, Segmenter
from tests.bundled_cases import KnownMesh, labelled

NAME = "crossbow"
SETTINGS = InteractiveSettings(clicks=3)
MORE_SETTINGS = InteractiveSettings(clicks=10, max_parts=8)
"""Of shapes from a file."""


def clicked(
    segmenter: Segmenter, known: KnownMesh, settings: InteractiveSettings = SETTINGS
) -> dict[str, np.ndarray]:
    """M parts, R clicks on each of them, F faces, N sampled points.

    counts: int [K], the numbers of clicks after which a mask is accepted

    places: float64 [M, R, 3], in the mesh's units; faces: int [M, R]; positive: int [M, R]
    masks: bool [M, R, F], after each click; by `Segmenter.predict`, which continues from its last answer
    ious: float32 [M, K], of the masks accepted after `counts` clicks, as the evaluation reports
    targets: bool [M, N], points on each part; point_faces: int [N]; vertices, triangles: of the mesh
    """
    # Blender keeps float32; the last digits of a sample already decide which points the network starts from.
    mesh = Mesh(known.mesh.vertices.astype(np.float32), known.mesh.triangles)
    shape = segmenter.encode(mesh, seed=settings.seed)
    labels = known.labels[shape.point_faces]
    parts = np.unique(labels[labels >= 0])[: settings.max_parts]
    points, targets = torch.as_tensor(shape.points), torch.as_tensor(labels[None] == parts[:, None])
    rounds = simulate_clicks(segmenter, shape, points, targets, settings, torch.Generator().manual_seed(0))
    ious = accepted_ious(segmenter, shape, mesh, points, targets, rounds, settings)
    clicks, positive = rounds.clicks.numpy(), rounds.labels.numpy()
    places = shape.normalization.invert(shape.points[clicks])
    masks = np.zeros((*clicks.shape, mesh.face_count), dtype=bool)
    for part in range(len(parts)):
        previous: MaskPrediction | None = None
        for count in range(1, settings.clicks + 1):
            previous = segmenter.predict(
                shape, places[part, :count], positive[part, :count], previous=previous
            )
            assert previous.face_logits is not None
            masks[part, count - 1] = previous.face_logits[previous.best] > 0
    return {
        "places": places,
        "faces": shape.point_faces[clicks],
        "positive": positive,
        "masks": masks,
        "counts": np.array(list(ious)),
        "ious": np.stack(list(ious.values()), axis=1),
        "targets": targets.numpy(),
        "point_faces": shape.point_faces,
        "vertices": mesh.vertices,
        "triangles": mesh.triangles,
    }


def main(out: str, shapes: str = "", number: str = "0") -> None:
    segmenter = Segmenter.load("small", device="cpu")
    if not shapes:
        np.savez(out, **clicked(segmenter, labelled(NAME)))
        return
    shape = list(known_shapes([Path(shapes)]))[int(number)]
    np.savez(out, **clicked(segmenter, KnownMesh(shape.mesh, shape.labels), MORE_SETTINGS))


if __name__ == "__main__":
    main(*sys.argv[1:])
