# SPDX-License-Identifier: GPL-3.0-or-later
"""One clicked mask, refined: the same two steps as for a whole labeling, between inside and outside."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..geometry.mesh import FloatArray
from .face_graph import FaceGraph
from .graph_cut import Cancel, refine_labels
from .islands import dissolve_islands


def refine_mask(
    graph: FaceGraph,
    logits: FloatArray,
    *,
    strength: float = 1.0,
    clicks: int = 1,
    cancel: Cancel | None = None,
) -> NDArray[np.bool_]:
    """Dissolve the islands of a mask and move its border to where evidence and creases want it.

    logits: float [F], inside where > 0; strength: see `refine_labels`
    clicks: how many the mask answers. The more were made, the less a smooth border may take back of what they
        corrected: the strength is divided by their number
    Returns bool [F]. Raises errors.Cancelled.
    """
    inside = 1 / (1 + np.exp(-np.clip(logits, -30, 30)))
    evidence = np.stack([1 - inside, inside], axis=1)
    labels = dissolve_islands(graph, (logits > 0).astype(np.int32))
    return refine_labels(graph, evidence, labels, strength=strength / max(clicks, 1), cancel=cancel) == 1
