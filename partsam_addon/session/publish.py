# SPDX-License-Identifier: GPL-3.0-or-later
"""Labels into the scene. Nothing here waits, and nothing here pushes an undo step: the caller does."""

from __future__ import annotations

import bpy
import numpy as np

from ..mesh_exchange import fill_unlabeled, find_unchanged, labels_of_polygons, object_mode
from ..parts import write_labels
from .results import Segmentation


def publish(context: bpy.types.Context, segmentation: Segmentation) -> list[bpy.types.Object]:
    """Write the labels of `segmentation` into its objects, which are returned.

    Raises MeshError, before anything is written, where an object was edited or deleted meanwhile.
    """
    objects = [find_unchanged(source) for source in segmentation.sources]
    starts = np.cumsum([0] + [source.triangle_count for source in segmentation.sources])
    for obj, source, start in zip(objects, segmentation.sources, starts, strict=False):
        run = segmentation.labels.labels[start : start + source.triangle_count]
        labels = labels_of_polygons(source, run)
        with object_mode(context, obj):
            if not segmentation.partial:
                labels = fill_unlabeled(obj.data, labels)
            write_labels(obj.data, labels, confidences=segmentation.labels.confidence)
    return objects
