# SPDX-License-Identifier: GPL-3.0-or-later
"""What the backend's evaluation clicks and finds on a labelled mesh, for those who take another path to it.

`python -m tests.simulated_clicks FILE.npz` stores it.
"""

from __future__ import annotations

import sys

import numpy as np
import torch

from backend.evaluation.interactive import InteractiveSettings, accepted_ious, simulate_clicks
from backend.geometry import Mesh
from backend.segmenter import MaskPrediction, Segmenter
from tests.bundled_cases import KnownMesh, labelled

NAME = "crossbow"
SETTINGS = InteractiveSettings(clicks=3)


def clicked(segmenter: Segmenter, known: KnownMesh) -> dict[str, np.ndarray]:
    """M parts, R clicks on each of them, F faces, N sampled points.

    places: float64 [M, R, 3], in the mesh's units; faces: int [M, R]; positive: int [M, R]
    masks: bool [M, R, F], after each click; by `Segmenter.predict`, which continues from its last answer
    ious: float32 [M, 2], of the masks accepted after the first and the last click, as the evaluation reports
    targets: bool [M, N], points on each part; point_faces: int [N]; vertices, triangles: of the mesh
    """
    # Blender keeps float32; the last digits of a sample already decide which points the network starts from.
    mesh = Mesh(known.mesh.vertices.astype(np.float32), known.mesh.triangles)
    shape = segmenter.encode(mesh, seed=SETTINGS.seed)
    labels = known.labels[shape.point_faces]
    parts = np.unique(labels[labels >= 0])
    points, targets = torch.as_tensor(shape.points), torch.as_tensor(labels[None] == parts[:, None])
    rounds = simulate_clicks(segmenter, shape, points, targets, SETTINGS, torch.Generator().manual_seed(0))
    ious = accepted_ious(segmenter, shape, mesh, points, targets, rounds, SETTINGS)
    clicks, positive = rounds.clicks.numpy(), rounds.labels.numpy()
    cube = shape.normalization
    places = shape.points[clicks].astype(np.float64) / cube.scale + cube.center
    masks = np.zeros((*clicks.shape, mesh.face_count), dtype=bool)
    for part in range(len(parts)):
        previous: MaskPrediction | None = None
        for count in range(1, SETTINGS.clicks + 1):
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
        "ious": np.stack([ious[1], ious[SETTINGS.clicks]], axis=1),
        "targets": targets.numpy(),
        "point_faces": shape.point_faces,
        "vertices": mesh.vertices,
        "triangles": mesh.triangles,
    }


if __name__ == "__main__":
    np.savez(sys.argv[1], **clicked(Segmenter.load("small", device="cpu"), labelled(NAME)))
