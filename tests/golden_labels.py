# SPDX-License-Identifier: GPL-3.0-or-later
"""Stored labels of the bundled model; `python -m tests.golden_labels` stores them anew."""

from __future__ import annotations

import numpy as np

from backend.segmenter import Segmenter
from tests.bundled_cases import DATA, labelled

PATH = DATA / "golden_labels.npz"
NAMES = {"crossbow": "crossbow", "sink": "kitchencounter_sink"}
PROMPTS = 128


def golden(name: str) -> np.ndarray:
    """uint8 [F], as stored."""
    with np.load(PATH) as stored:
        return stored[name]


def agreement(first: np.ndarray, second: np.ndarray, areas: np.ndarray) -> float:
    """Share of the area on which two labelings agree, whatever the numbers of their parts."""
    table = np.zeros((int(first.max()) + 1, int(second.max()) + 1))
    np.add.at(table, (first, second), areas)
    return float(min(table.max(axis=0).sum(), table.max(axis=1).sum()) / areas.sum())


def store() -> None:
    """Segment the meshes and write the file."""
    segmenter = Segmenter.load("small", device="cpu")
    found = {}
    for name, path in NAMES.items():
        shape = segmenter.encode(labelled(path).mesh)
        parts = segmenter.segment_every_part(shape, prompts=PROMPTS)
        found[name] = parts.refined_labels(0.5).astype(np.uint8)
    np.savez_compressed(PATH, **found)


if __name__ == "__main__":
    store()
