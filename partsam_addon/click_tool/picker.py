# SPDX-License-Identifier: GPL-3.0-or-later
"""From the mouse to a click: the seen surface of one object, kept until it changes."""

from __future__ import annotations

from dataclasses import dataclass

import bpy
import numpy as np
from mathutils import Vector

from ...backend.errors import PromptError
from ..mesh_exchange import object_mode
from ..mesh_exchange.arrays import BoolArray, FloatArray, IntArray, vertex_positions
from ..view import shown_offsets, shown_polygons
from .prompts import Click
from .screen import Hit, Projection, ScreenIndex
from .surface import Surface, evaluated, read_surface, topology_of
from .views import View

NEAR_SHARE = 2e-3
"""Share of the mesh's size by which a surface may lie before a dot without covering it."""

OCCLUDERS = {"MESH", "CURVE", "SURFACE", "FONT", "META"}


@dataclass(frozen=True)
class Shown:
    """The surface as it is drawn, parts moved apart where the view is exploded.

    positions: float32 [V, 3] and triangles: int32 [T, 3], in the order of `surface.triangles`
    visible: bool [T]
    """

    surface: Surface
    positions: FloatArray
    triangles: IntArray
    visible: BoolArray


class Picker:
    """Answers what is under the mouse; holds no reference to Blender's data.

    object_uid: session_uid of the object
    version: counts the changes of what is seen
    is_stale: set when the scene may have changed; looked after at the next use
    """

    def __init__(self, object_uid: int, hidden: BoolArray, *, as_seen_places: bool) -> None:
        """hidden: bool [P], polygons that are not seen; as_seen_places: see `read_surface`"""
        self.version = 0
        self.is_stale = True
        self._surface: Surface | None = None
        self._hidden = hidden
        self.object_uid = object_uid
        self._as_seen_places = as_seen_places
        self._covered: BoolArray | None = None
        self._shown: Shown | None = None
        self._index: ScreenIndex | None = None
        self._index_key: tuple[object, ...] = ()

    def object(self) -> bpy.types.Object:
        """The object. PromptError if it is gone."""
        for obj in bpy.context.view_layer.objects:
            if obj.session_uid == self.object_uid:
                return obj
        raise PromptError("The mesh is no longer in this view layer; press Esc")

    def cover(self, polygons: BoolArray | None) -> None:
        """Let these polygons [P] be looked through; None for none of them."""
        same = polygons is self._covered or (
            polygons is not None and self._covered is not None and np.array_equal(polygons, self._covered)
        )
        if not same:
            self._covered = polygons
            self.is_stale = True

    @property
    def drawn(self) -> Shown | None:
        """What was seen last. Draw handlers take this: nothing may be read anew in them."""
        return self._shown

    def shown(self) -> Shown:
        """What is seen now; read anew where the scene has changed. Not in a draw handler."""
        if self.is_stale or self._shown is None:
            self.is_stale = False
            self._refresh(self.object())
        assert self._shown is not None
        return self._shown

    def hits(self, view: View, *, mouse: tuple[float, float] | None = None) -> list[Click]:
        """Everything of the object under the mouse of `view`, or under other pixels of its region, nearest
        first, as positive clicks."""
        shown, index = self.shown(), self._screen(view)
        x, y = mouse or view.mouse
        return [_click(shown, hit) for hit in index.hits(x, y, shown.visible)]

    def pick(self, view: View, *, through: bool, mouse: tuple[float, float] | None = None) -> Click | None:
        """The nearest hit; None beside the object and, unless `through`, where another object covers it."""
        shown, index = self.shown(), self._screen(view)
        x, y = mouse or view.mouse
        found = index.hits(x, y, shown.visible)
        if not found or (not through and self._is_covered(view, index.projection, (x, y), found[0])):
            return None
        return _click(shown, found[0])

    def dot(self, projection: Projection, click: Click) -> tuple[float, float] | None:
        """Pixels of a click's dot; None where it cannot be seen."""
        pixels = projection.to_pixels(self.dot_place(click)[None])[0]
        return None if not np.isfinite(pixels).all() else (float(pixels[0]), float(pixels[1]))

    def dot_place(self, click: Click) -> FloatArray:
        """Where the dot of a click lies on what is seen, object space, float64 [3]."""
        shown = self._shown
        if click.anchor is None or shown is None:
            return np.array(click.place)
        vertices, weights = click.anchor
        if max(vertices) >= len(shown.positions):
            return np.array(click.place)  # the surface has other vertices by now
        place: FloatArray = np.array(weights) @ shown.positions[list(vertices)].astype(np.float64)
        return place

    def is_dot_covered(self, projection: Projection, click: Click) -> bool:
        """Whether the surface lies before the dot of a click."""
        pixels = self.dot(projection, click)
        index = self._index  # of the view that the mouse is in; dots in others are drawn as they are
        if pixels is None or index is None or self._shown is None:
            return False
        if not index.projection.equals(projection):
            return False
        found = index.hits(*pixels, self._shown.visible)
        if not found:
            return False
        start, end = projection.ray(*pixels)
        way, positions = end - start, self._shown.positions
        place = (self.dot_place(click) - start) @ way / (way @ way)
        near = NEAR_SHARE * float(np.ptp(positions, axis=0).max()) / float(np.linalg.norm(way))
        return bool(found[0].distance < place - near)

    def _refresh(self, obj: bpy.types.Object) -> None:
        mesh = None if obj.mode == "EDIT" else evaluated(bpy.context, obj).data
        if self._surface is None or (mesh is not None and topology_of(mesh) != self._surface.topology):
            with object_mode(bpy.context, obj):
                self._surface = read_surface(bpy.context, obj, as_seen_places=self._as_seen_places)
        elif mesh is not None:
            positions = vertex_positions(mesh)
            if not np.array_equal(positions, self._surface.positions):
                self._surface = self._surface.moved(positions)
        shown = self._as_drawn(obj, self._surface)
        old = self._shown
        if old is None or any(
            not np.array_equal(getattr(old, name), getattr(shown, name)) for name in ("positions", "visible")
        ):
            self._shown = shown
            self._index = None
            self.version += 1

    def _as_drawn(self, obj: bpy.types.Object, surface: Surface) -> Shown:
        positions, triangles = surface.positions, surface.triangles
        in_object_mode = obj.mode == "OBJECT"
        offsets = shown_offsets(obj) if in_object_mode else None
        if offsets is not None:
            known = np.maximum(surface.polygons, 0)
            corners = positions[triangles] + offsets[known].astype(np.float32)[:, None]
            positions = np.ascontiguousarray(corners.reshape(-1, 3), dtype=np.float32)
            triangles = np.arange(len(positions), dtype=np.int32).reshape(-1, 3)
        hidden = self._hidden
        alone = shown_polygons(obj) if in_object_mode else None
        if alone is not None:
            hidden = hidden | ~alone
        if self._covered is not None:
            hidden = hidden | self._covered
        visible = ~hidden[surface.polygons] | (surface.polygons < 0)
        return Shown(surface, positions, triangles, visible)

    def _screen(self, view: View) -> ScreenIndex:
        shown = self.shown()
        projection = view.projection(self.object())
        key = (self.version, projection.matrix.tobytes(), projection.size)
        if self._index is None or key != self._index_key:
            self._index = ScreenIndex(shown.positions, shown.triangles, projection)
            self._index_key = key
        return self._index

    def _is_covered(self, view: View, projection: Projection, mouse: tuple[float, float], hit: Hit) -> bool:
        """Whether another object that the viewport shows lies before `hit`."""
        matrix = self.object().matrix_world
        start, end = (matrix @ Vector(point) for point in projection.ray(*mouse))
        end = start + (end - start) * hit.distance
        depsgraph = bpy.context.evaluated_depsgraph_get()
        return any(
            _is_between(other, start, end, depsgraph)
            for other in bpy.context.view_layer.objects
            if other.session_uid != self.object_uid
            and other.type in OCCLUDERS
            and other.display_type in {"SOLID", "TEXTURED"}
            and other.visible_get(viewport=view.space)
        )


def _is_between(obj: bpy.types.Object, start: Vector, end: Vector, depsgraph: bpy.types.Depsgraph) -> bool:
    """Whether `obj` meets the way from `start` to `end`, world space."""
    inverse = obj.matrix_world.inverted_safe()
    origin, target = inverse @ start, inverse @ end
    way = target - origin
    low, high = (np.array(obj.bound_box).min(axis=0), np.array(obj.bound_box).max(axis=0))
    with np.errstate(divide="ignore", invalid="ignore"):
        one = (low - np.array(origin)) / np.array(way)
        two = (high - np.array(origin)) / np.array(way)
    if np.nanmax(np.minimum(one, two)) > min(1.0, np.nanmin(np.maximum(one, two))):
        return False  # beside its bounding box
    if obj.type != "MESH":
        return True
    met, *_rest = obj.ray_cast(origin, way.normalized(), distance=way.length * 0.9999, depsgraph=depsgraph)
    return bool(met)


def _click(shown: Shown, hit: Hit) -> Click:
    surface = shown.surface
    place = surface.place(hit.triangle, hit.weights)
    vertices = tuple(int(vertex) for vertex in shown.triangles[hit.triangle])
    weights = tuple(float(weight) for weight in hit.weights)
    return Click(
        place=tuple(place.tolist()),
        polygon=int(surface.polygons[hit.triangle]),
        positive=True,
        anchor=(vertices, weights),  # type: ignore[arg-type]
    )
