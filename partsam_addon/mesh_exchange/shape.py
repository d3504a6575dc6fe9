# SPDX-License-Identifier: GPL-3.0-or-later
"""A Blender mesh object as arrays for the backend.

`read_shape` copies everything out of Blender at once; afterwards only plain arrays are touched, so the
scene may change meanwhile. `find_unchanged` tells whether labels still fit when they come back.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import bpy
import numpy as np

from ...backend.errors import MeshError
from ...backend.geometry import Mesh, PointSample, sample_surface
from ..wording import say
from . import arrays
from .arrays import FloatArray, IntArray
from .evaluated import evaluated_mesh
from .modes import check_editable, have_undo_store_the_file
from .repeated import stand_apart
from .surface_colors import SurfaceColors, read_surface_colors


@dataclass(frozen=True)
class ReadSettings:
    """What of an object is read.

    evaluated: the mesh after modifiers; labels are mapped back to the polygons of the base mesh
    selected_only: only the faces selected in Edit mode
    within: only the faces whose integer attribute of this name has this value
    """

    evaluated: bool = False
    selected_only: bool = False
    within: tuple[str, int] | None = None

    @property
    def is_partial(self) -> bool:
        """Whether faces are left out."""
        return self.selected_only or self.within is not None


@dataclass(frozen=True)
class MeshSource:
    """Where a run of a shape's triangles comes from, and how to know the mesh again.

    object_name, object_uid: the object, by name and by the id that survives renaming
    mesh_uid: its base mesh, by such an id
    mesh_hash: hash of the base mesh's positions and polygons
    polygon_count: polygons of the base mesh
    triangle_polygons: int32 [T], the base polygon of each triangle, -1 where a modifier made it anew
    triangle_areas: float32 [T], in squared world units
    """

    object_name: str
    object_uid: int
    mesh_uid: int
    mesh_hash: str
    polygon_count: int
    triangle_polygons: IntArray = field(repr=False)
    triangle_areas: FloatArray = field(repr=False)

    @property
    def triangle_count(self) -> int:
        return len(self.triangle_polygons)


@dataclass(frozen=True)
class ShapeData:
    """One shape for the backend, made from one object or several.

    mesh: vertices in world scale and orientation, relative to `origin`; faces wound outwards also
        where an object is mirrored
    origin: float64 [3], the world position of the first object. Moving it does not change `mesh`.
    sources, colors: one per object, in the order of their triangles in `mesh`
    copies: further objects, each with the triangles of the only source, which are not in `mesh` again:
        what is found for the source holds for them
    """

    mesh: Mesh
    origin: FloatArray
    sources: tuple[MeshSource, ...]
    colors: tuple[SurfaceColors, ...]
    copies: tuple[MeshSource, ...] = ()

    @functools.cached_property
    def content_hash(self) -> str:
        """Hash of all that the backend sees."""
        return _content_hash(self.mesh, self.colors)

    def from_world(self, points: FloatArray) -> FloatArray:
        """World positions [..., 3] in the shape's coordinates."""
        return np.asarray(points, dtype=np.float64) - self.origin

    def runs(self) -> list[tuple[MeshSource, int]]:
        """For each mesh the source that says which labels it gets, the first of those that share it, and
        where its triangles begin in `mesh`."""
        starts = np.cumsum([0, *(source.triangle_count for source in self.sources)]).tolist()
        found: dict[int, tuple[MeshSource, int]] = {}
        for source, start in [*zip(self.sources, starts, strict=False), *((copy, 0) for copy in self.copies)]:
            found.setdefault(source.mesh_uid, (source, start))
        return list(found.values())

    def split(self, triangle_values: np.ndarray) -> list[tuple[MeshSource, np.ndarray]]:
        """Cut an array over all triangles [F, ...] into the runs of the sources."""
        stops = np.cumsum([source.triangle_count for source in self.sources])[:-1]
        return list(zip(self.sources, np.split(triangle_values, stops), strict=True))


def read_shape(
    context: bpy.types.Context,
    objects: Sequence[bpy.types.Object],
    settings: ReadSettings | None = None,
) -> ShapeData:
    """Read `objects`, in Object mode, as one shape. Raises MeshError for what cannot be segmented.

    Where all are copies of one mesh and stand apart, the shape is the first of them: together they are no
    shape that anybody would part, and each would be seen at a fraction of its size.
    """
    if not objects:
        raise MeshError("Select a mesh object first")
    settings = settings or ReadSettings()
    origin = np.array(objects[0].matrix_world.translation, dtype=np.float64)
    pieces = [_read_object(context, obj, origin, settings) for obj in objects]
    mesh = _joined([piece.mesh for piece in pieces])
    _check_usable(mesh, [piece.source.object_name for piece in pieces if piece.mesh.problem is not None])
    copies: list[MeshSource] = []
    if _are_copies_apart(pieces):
        polygons = pieces[0].source.triangle_polygons  # equal in all; held once, however many there are
        copies = [replace(piece.source, triangle_polygons=polygons) for piece in pieces[1:]]
        pieces = pieces[:1]
        mesh = pieces[0].mesh
    colors = tuple(piece.colors for piece in pieces)
    return ShapeData(
        mesh=mesh,
        origin=origin,
        sources=tuple(piece.source for piece in pieces),
        colors=colors,
        copies=tuple(copies),
    )


def _are_copies_apart(pieces: Sequence[_Piece]) -> bool:
    """Whether there are several pieces, all of the same triangles, that do not touch: copies of one thing."""
    first = pieces[0]
    if len(pieces) == 1 or any(piece.seen_hash != first.seen_hash for piece in pieces):
        return False
    polygons = first.source.triangle_polygons
    if not all(np.array_equal(piece.source.triangle_polygons, polygons) for piece in pieces):
        return False
    return all(piece.mesh.problem is None for piece in pieces) and stand_apart([p.mesh for p in pieces])


def read_surface(obj: bpy.types.Object, matrix: FloatArray | None = None) -> tuple[Mesh, MeshSource]:
    """The base mesh of `obj`, in Object mode, without colours: triangles, and the way back to the polygons.

    matrix: float64 [4, 4] that its vertices are put through; None leaves them in the object's space
    Raises MeshError for what cannot be used.
    """
    check_editable(obj)
    _check_has_faces(obj)
    corners, polygons = arrays.triangle_corners(obj.data)
    _, mesh = _placed(obj.data, corners, np.eye(4) if matrix is None else matrix)
    _check_usable(mesh, [obj.name])
    return mesh, _source(obj, mesh, polygons)


def _check_usable(mesh: Mesh, names: Sequence[str]) -> None:
    """Raise MeshError where `mesh` has a problem, which comes from the objects with these names."""
    if mesh.problem is not None:
        raise MeshError(": ".join([*(f'"{name}"' for name in names[:1]), mesh.problem]))


def _joined(meshes: Sequence[Mesh]) -> Mesh:
    """All of `meshes` as one; a single one as it is, with what is known of it already."""
    if len(meshes) == 1:
        return meshes[0]
    offsets = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes])
    triangles = [mesh.triangles + offset for mesh, offset in zip(meshes, offsets, strict=False)]
    return Mesh(np.concatenate([mesh.vertices for mesh in meshes]), np.concatenate(triangles))


def sample_shape(shape: ShapeData, count: int, *, seed: int = 0) -> PointSample:
    """Draw `count` coloured points from `shape`; the same for the same seed. Does not touch Blender."""
    sample = sample_surface(shape.mesh, count, seed=seed)
    colors = np.empty((count, 3), dtype=np.float32)
    start = 0
    for source, surface in zip(shape.sources, shape.colors, strict=True):
        stop = start + source.triangle_count
        here = np.flatnonzero((sample.faces >= start) & (sample.faces < stop))
        colors[here] = surface.at(sample.faces[here] - start, sample.barycentric[here])
        start = stop
    return replace(sample, colors=colors)


class MeshRecord(Protocol):
    """How a mesh that was read is known again: a `MeshSource`, or a cloud."""

    @property
    def object_name(self) -> str: ...

    @property
    def object_uid(self) -> int: ...

    @property
    def mesh_hash(self) -> str: ...

    @property
    def polygon_count(self) -> int: ...


def unread_source(obj: bpy.types.Object) -> MeshSource:
    """How to know the mesh of `obj` again, without its triangles. Not in Edit mode."""
    nothing = np.zeros(0)
    count, read = len(obj.data.polygons), mesh_hash(obj.data)
    uid = obj.data.session_uid
    return MeshSource(obj.name, obj.session_uid, uid, read, count, nothing.astype(np.int32), nothing)


def find_unchanged(source: MeshRecord) -> bpy.types.Object:
    """The object of `source`, if it is still there with the mesh that was read; else MeshError."""
    return find_object(source.object_uid, name=source.object_name, unchanged_since=source)


def find_object(uid: int, *, name: str = "", unchanged_since: MeshRecord | None = None) -> bpy.types.Object:
    """The mesh object with this session_uid; MeshError where there is none.

    unchanged_since: its mesh must be the one that was read for this source; MeshError where it is not
    """
    obj = next((o for o in bpy.data.objects if o.session_uid == uid), None)
    if obj is None or obj.type != "MESH":
        who = f'"{name}"' if name else say("The object")
        raise MeshError(say("{who} was deleted meanwhile; its result is dropped", who=who))
    if unchanged_since is None:
        return obj
    if obj.mode == "EDIT":
        obj.update_from_editmode()
        have_undo_store_the_file()
    mesh = obj.data
    if len(mesh.polygons) != unchanged_since.polygon_count or mesh_hash(mesh) != unchanged_since.mesh_hash:
        raise MeshError(
            say(
                '"{name}" was edited meanwhile, so the result does not fit any more; start again',
                name=obj.name,
            )
        )
    return obj


def mesh_hash(mesh: bpy.types.Mesh) -> str:
    """Hash of `mesh`'s positions and polygons (not of attributes, selection or materials)."""
    return _digest(arrays.vertex_positions(mesh), arrays.corner_vertices(mesh), arrays.polygon_sizes(mesh))


@dataclass(frozen=True)
class _Piece:
    """What is read of an object. seen_hash: of the mesh that its triangles come from, as `mesh_hash`"""

    mesh: Mesh
    source: MeshSource
    colors: SurfaceColors
    seen_hash: str


def _read_object(
    context: bpy.types.Context, obj: bpy.types.Object, origin: FloatArray, settings: ReadSettings
) -> _Piece:
    check_editable(obj)
    _check_has_faces(obj)
    if not settings.evaluated:
        own = np.arange(len(obj.data.polygons), dtype=np.int32)
        return _read_mesh(obj, obj.data, own, origin, settings)
    with evaluated_mesh(context, obj) as (mesh, base_polygons):
        return _read_mesh(obj, mesh, base_polygons, origin, settings)


def _read_mesh(
    obj: bpy.types.Object,
    mesh: bpy.types.Mesh,
    base_polygons: IntArray,
    origin: FloatArray,
    settings: ReadSettings,
) -> _Piece:
    """Read `mesh`, which is `obj`'s own or its evaluated one with the base polygon of each polygon."""
    corners, polygons = arrays.triangle_corners(mesh)
    if settings.is_partial:
        keep = _wanted(obj, base_polygons, settings)[polygons]
        corners, polygons = corners[keep], polygons[keep]
    matrix = np.array(obj.matrix_world, dtype=np.float64)
    matrix[:3, 3] -= origin
    corners, part = _placed(mesh, corners, matrix)
    source = _source(obj, part, base_polygons[polygons])
    materials = [slot.material for slot in obj.material_slots]
    colors = read_surface_colors(mesh, materials, corners=corners, polygons=polygons)
    seen_hash = source.mesh_hash if mesh == obj.data else mesh_hash(mesh)
    return _Piece(part, source, colors, seen_hash)


def _placed(mesh: bpy.types.Mesh, corners: IntArray, matrix: FloatArray) -> tuple[IntArray, Mesh]:
    """The triangles of these corners [T, 3] under a matrix [4, 4], and their corners as they then run."""
    if np.linalg.det(matrix[:3, :3]) < 0:
        corners = corners[:, [0, 2, 1]]  # a mirrored object shows its faces from behind
    placed = arrays.vertex_positions(mesh).astype(np.float64) @ matrix[:3, :3].T + matrix[:3, 3]
    return corners, Mesh(*_compact(placed, arrays.corner_vertices(mesh)[corners]))


def _source(obj: bpy.types.Object, part: Mesh, triangle_polygons: IntArray) -> MeshSource:
    return MeshSource(
        object_name=obj.name,
        object_uid=obj.session_uid,
        mesh_uid=obj.data.session_uid,
        mesh_hash=mesh_hash(obj.data),
        polygon_count=len(obj.data.polygons),
        triangle_polygons=triangle_polygons,
        triangle_areas=_areas(part),
    )


def _check_has_faces(obj: bpy.types.Object) -> None:
    mesh = obj.data
    if len(mesh.polygons):
        return
    if obj.mode == "EDIT":
        raise MeshError(say('"{name}" is in Edit mode; leave it first', name=obj.name))
    if len(mesh.vertices):
        raise MeshError(say('"{name}" holds only points and edges: this needs faces', name=obj.name))
    raise MeshError(say('"{name}" holds nothing: there are no faces to segment', name=obj.name))


def _wanted(obj: bpy.types.Object, base_polygons: IntArray, settings: ReadSettings) -> np.ndarray:
    wanted = np.ones(len(obj.data.polygons), dtype=bool)
    if settings.selected_only:
        wanted = arrays.polygon_flags(obj.data, "select")
        if not wanted.any():
            raise MeshError(
                say(
                    'No face of "{name}" is selected; select some in Edit mode or segment all faces',
                    name=obj.name,
                )
            )
    if settings.within is not None:
        name, value = settings.within
        values = arrays.read_polygon_integers(obj.data, name)
        if values is None or not (wanted & (values == value)).any():
            raise MeshError(
                say(
                    'No face of "{name}" has {attribute} = {value}; choose another part',
                    name=obj.name,
                    attribute=name,
                    value=value,
                )
            )
        wanted = wanted & (values == value)
    return wanted[base_polygons] & (base_polygons >= 0)


def _compact(vertices: FloatArray, triangles: IntArray) -> tuple[FloatArray, IntArray]:
    """Drop the vertices that no triangle uses."""
    used = np.zeros(len(vertices), dtype=bool)
    used[triangles] = True
    if used.all():
        return vertices, triangles
    index = np.cumsum(used, dtype=np.int32) - 1
    return vertices[used], index[triangles]


def _areas(mesh: Mesh) -> FloatArray:
    with np.errstate(invalid="ignore", over="ignore"):
        return np.nan_to_num(mesh.areas.astype(np.float32))


def _content_hash(mesh: Mesh, colors: tuple[SurfaceColors, ...]) -> str:
    parts: list[np.ndarray] = [mesh.vertices, mesh.triangles]
    for surface in colors:
        parts.append(surface.triangle_paints)
        for paint in surface.paints:
            optional = (paint.image, paint.uvs, paint.attribute, paint.elements)
            parts += [np.asarray(paint.color), *(array for array in optional if array is not None)]
    return _digest(*parts)


def _digest(*parts: np.ndarray) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(f"{part.dtype.str}{part.shape}".encode())
        digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()
