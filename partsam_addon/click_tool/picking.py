# SPDX-License-Identifier: GPL-3.0-or-later
"""From the mouse to a point on the base mesh."""

from __future__ import annotations

import bmesh
import bpy
from bpy_extras.view3d_utils import region_2d_to_origin_3d, region_2d_to_vector_3d
from mathutils import Matrix, Vector
from mathutils.bvhtree import BVHTree


class MeshPicker:
    """Casts rays onto the base mesh of an object, without its modifiers; keeps no reference to it."""

    def __init__(self, context: bpy.types.Context, obj: bpy.types.Object) -> None:
        self._tree = _build_tree(context, obj)

    def pick(
        self,
        region: bpy.types.Region,
        view: bpy.types.RegionView3D,
        matrix: Matrix,
        mouse: tuple[int, int],
    ) -> Vector | None:
        """World position of the surface under `mouse` (pixels in `region`), None beside it.

        matrix: the object's world matrix as it is now
        """
        inverse = matrix.inverted_safe()
        start = region_2d_to_origin_3d(region, view, mouse)
        # An orthographic view's origin may lie inside the scene: start behind everything seen.
        direction = region_2d_to_vector_3d(region, view, mouse)
        if not view.is_perspective:
            start = start - direction * view.view_distance * 10
        local_start = inverse @ start
        local_direction = (inverse.to_3x3() @ direction).normalized()
        position, _normal, _face, _distance = self._tree.ray_cast(local_start, local_direction)
        return None if position is None else matrix @ position


def _build_tree(context: bpy.types.Context, obj: bpy.types.Object) -> BVHTree:
    if not obj.modifiers and obj.mode == "OBJECT":
        return BVHTree.FromObject(obj, context.evaluated_depsgraph_get())  # several times faster
    copy = bmesh.new()
    try:
        copy.from_mesh(obj.data)
        return BVHTree.FromBMesh(copy)
    finally:
        copy.free()
