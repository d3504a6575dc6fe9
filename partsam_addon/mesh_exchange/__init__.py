# SPDX-License-Identifier: GPL-3.0-or-later
"""Between Blender's meshes and the backend's arrays.

with object_mode(context, obj):
    shape = read_shape(context, [obj], ReadSettings())
sample = sample_shape(shape, points)
...                                                     # the backend labels shape.mesh's triangles
for source, labels in shape.split(triangle_labels):
    obj = find_unchanged(source)
    polygon_labels = labels_of_polygons(source, labels)
"""

from .labels import UNLABELED, fill_unlabeled, labels_of_polygons
from .modes import check_editable, editable_problem, hidden_notice, object_mode, sharing_notice
from .selection import main_object, make_active
from .shape import (
    MeshSource,
    ReadSettings,
    ShapeData,
    find_object,
    find_unchanged,
    mesh_hash,
    read_shape,
    read_surface,
    sample_shape,
    unread_source,
)

__all__ = [
    "UNLABELED",
    "MeshSource",
    "ReadSettings",
    "ShapeData",
    "check_editable",
    "editable_problem",
    "fill_unlabeled",
    "find_object",
    "find_unchanged",
    "hidden_notice",
    "labels_of_polygons",
    "main_object",
    "make_active",
    "mesh_hash",
    "object_mode",
    "read_shape",
    "read_surface",
    "sample_shape",
    "sharing_notice",
    "unread_source",
]
