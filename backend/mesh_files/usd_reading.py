# SPDX-License-Identifier: GPL-3.0-or-later
"""USD and USDZ files through Pixar's library, which is optional."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .image_files import read_texture_bytes
from .optional import optional_module
from .polygon_surfaces import PolygonMesh, polygon_surfaces
from .scene import PointCloud, SourceScene
from .surface import Image, Looks, Surface

_UP_TO_Y = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
"""What was up along z is up along y, as in glTF."""


def read_usd(path: Path) -> SourceScene:
    """Read all meshes of a USD stage at its first time. Raises MeshFileError where USD is not installed."""
    optional_module("pxr", f"reading {path.suffix} files")
    from pxr import Tf, Usd, UsdGeom

    with path.open("rb"):  # USD does not say why it cannot open a file
        pass
    try:
        stage = Usd.Stage.Open(str(path))
    except Tf.ErrorException as error:
        raise ValueError("USD cannot open it") from error
    return _StageReader(stage, UsdGeom).scene()


class _StageReader:
    """Collects surfaces and looks while it walks over a stage."""

    def __init__(self, stage: Any, geom: Any) -> None:
        self._stage, self._geom = stage, geom
        self._places = geom.XformCache()
        self._upright = _UP_TO_Y if geom.GetStageUpAxis(stage) == geom.Tokens.z else np.eye(4)
        self._materials: dict[str, tuple[int, dict[str, Any]]] = {}
        self._images: dict[str, tuple[int, Image]] = {}
        self._notes: list[str] = []

    def scene(self) -> SourceScene:
        surfaces: list[Surface] = []
        clouds: list[NDArray[np.float64]] = []
        for prim in self._prims():
            if prim.IsA(self._geom.Mesh):
                surfaces += self._surfaces(self._geom.Mesh(prim))
            elif prim.IsA(self._geom.Points):
                points = np.array(self._geom.Points(prim).GetPointsAttr().Get(), dtype=np.float64)
                clouds.append(self._placed(points.reshape(-1, 3), prim)[0])
            elif prim.IsA(self._geom.Gprim):
                self._note(f"shapes of the type {prim.GetTypeName()} are not read")
        if any(prim.GetTypeName() == "SkelRoot" for prim in self._prims()):
            self._note("the skeleton is not written: the parts are in the rest pose")
        looks = Looks(
            materials=tuple(material for _, material in self._materials.values()),
            textures=tuple({"source": index} for index in range(len(self._images))),
            images=tuple(image for _, image in self._images.values()),
        )
        cloud = PointCloud(np.concatenate(clouds)) if clouds and not surfaces else None
        return SourceScene(tuple(surfaces), looks, tuple(self._notes), cloud=cloud)

    def _prims(self) -> Iterator[Any]:
        from pxr import Usd

        hidden = self._geom.Tokens.invisible
        for prim in self._stage.Traverse(Usd.TraverseInstanceProxies(Usd.PrimDefaultPredicate)):
            imageable = self._geom.Imageable(prim)
            if not imageable or imageable.ComputeVisibility() != hidden:
                yield prim

    def _note(self, text: str) -> None:
        if text not in self._notes:
            self._notes.append(text)

    def _placed(self, points: NDArray[np.float64], prim: Any) -> tuple[NDArray[np.float64], bool]:
        """(points in the world, whether that mirrors them)."""
        # USD's vectors are rows: a matrix acts from the right.
        world = np.array(self._places.GetLocalToWorldTransform(prim)).T
        matrix = self._upright @ world
        return points @ matrix[:3, :3].T + matrix[:3, 3], bool(np.linalg.det(matrix[:3, :3]) < 0)

    def _surfaces(self, mesh: Any) -> tuple[Surface, ...]:
        prim = mesh.GetPrim()
        points = np.array(mesh.GetPointsAttr().Get() or [], dtype=np.float64).reshape(-1, 3)
        sizes = np.array(mesh.GetFaceVertexCountsAttr().Get() or [], dtype=np.int64)
        corners = np.array(mesh.GetFaceVertexIndicesAttr().Get() or [], dtype=np.int64)
        if not len(sizes):
            return ()
        positions, mirrored = self._placed(points, prim)
        flipped = mirrored != (mesh.GetOrientationAttr().Get() == self._geom.Tokens.leftHanded)
        order = _reversed_corners(sizes) if flipped else np.arange(len(corners))
        if mesh.GetSubdivisionSchemeAttr().Get() not in (None, self._geom.Tokens.none) and len(sizes) < 10:
            self._note("subdivision surfaces are read as their cage")
        of_corner = [
            (semantic, values[order]) for semantic, values in self._corner_data(mesh, sizes, corners)
        ]
        named = prim.GetParent() if prim.GetParent().IsA(self._geom.Xform) else prim
        only_child = sum(child.IsA(self._geom.Mesh) for child in named.GetChildren()) == 1
        polygons = PolygonMesh(
            positions, sizes, corners[order], {}, of_corner, self._face_materials(mesh, len(sizes))
        )
        return polygon_surfaces(polygons, named.GetName() if only_child else prim.GetName())

    def _corner_data(
        self, mesh: Any, sizes: NDArray[np.int64], corners: NDArray[np.int64]
    ) -> Iterator[tuple[str, NDArray[np.float32]]]:
        """Texture coordinates and colours of each corner."""
        api = self._geom.PrimvarsAPI(mesh.GetPrim())
        sets = 0
        for primvar in api.GetPrimvarsWithValues():
            if (
                primvar.GetTypeName().role == "TextureCoordinate"
                and len(np.shape(primvar.ComputeFlattened())) == 2
            ):
                values = _per_corner(primvar, sizes, corners)
                if values is not None and values.shape[1] == 2:
                    yield (
                        f"TEXCOORD_{sets}",
                        np.column_stack([values[:, 0], 1 - values[:, 1]]).astype(np.float32),
                    )
                    sets += 1
        color = api.GetPrimvar("displayColor")
        if color and color.HasValue():
            values = _per_corner(color, sizes, corners)
            if values is not None and values.shape[1] == 3:
                yield "COLOR_0", np.clip(values, 0, 1).astype(np.float32)

    def _face_materials(self, mesh: Any, count: int) -> NDArray[np.int64]:
        """Index of the material of each face, -1 for none."""
        from pxr import UsdShade

        materials = np.full(count, self._material(UsdShade.MaterialBindingAPI(mesh.GetPrim())))
        for subset in UsdShade.MaterialBindingAPI(mesh.GetPrim()).GetMaterialBindSubsets():
            faces = np.array(subset.GetIndicesAttr().Get() or [], dtype=np.int64)
            materials[faces] = self._material(UsdShade.MaterialBindingAPI(subset.GetPrim()))
        return materials

    def _material(self, binding: Any) -> int:
        material, _ = binding.ComputeBoundMaterial()
        if not material:
            return -1
        key = str(material.GetPath())
        if key not in self._materials:
            described = self._described(material)
            self._materials[key] = len(self._materials), described
        return self._materials[key][0]

    def _described(self, material: Any) -> dict[str, Any]:
        """A UsdPreviewSurface as glTF describes materials; others keep their name."""
        shading: dict[str, Any] = {"metallicFactor": 0.0, "roughnessFactor": 0.8}
        result: dict[str, Any] = {
            "name": material.GetPrim().GetName(), "pbrMetallicRoughness": shading, "doubleSided": True
        }  # fmt: skip
        source = material.ComputeSurfaceSource()
        shader = source[0] if isinstance(source, tuple) else source
        if not shader or shader.GetIdAttr().Get() != "UsdPreviewSurface":
            self._note(f"the material {result['name']!r} is no UsdPreviewSurface; its name is kept")
            return result
        color = _input(shader, "diffuseColor", (0.18, 0.18, 0.18))
        alpha = float(_input(shader, "opacity", 1.0))
        texture = self._texture(shader, "diffuseColor")
        if texture is not None:
            shading["baseColorTexture"], color = {"index": texture}, (1.0, 1.0, 1.0)
        shading["baseColorFactor"] = [
            *(min(max(float(c), 0.0), 1.0) for c in color),
            min(max(alpha, 0.0), 1.0),
        ]
        shading["metallicFactor"] = min(max(float(_input(shader, "metallic", 0.0)), 0.0), 1.0)
        shading["roughnessFactor"] = min(max(float(_input(shader, "roughness", 0.5)), 0.0), 1.0)
        normal = self._texture(shader, "normal")
        if normal is not None:
            result["normalTexture"] = {"index": normal}
        return result | ({"alphaMode": "BLEND"} if alpha < 1 else {})

    def _texture(self, shader: Any, name: str) -> int | None:
        """Index of the texture that feeds an input of a shader, or None."""
        from pxr import Ar, UsdShade

        value = shader.GetInput(name)
        if not value or not value.HasConnectedSource():
            return None
        upstream = UsdShade.Shader(value.GetConnectedSources()[0][0].source.GetPrim())
        file = upstream.GetInput("file") if upstream else None
        asset = file.Get() if file else None
        if asset is None:
            return None
        if asset.path not in self._images:
            try:
                opened = Ar.GetResolver().OpenAsset(Ar.ResolvedPath(asset.resolvedPath))
                if opened is None:
                    raise FileNotFoundError(asset.path)
                image = read_texture_bytes(bytes(opened.GetBuffer()), Path(asset.path).stem)
            except (OSError, ValueError):
                self._note(f"the texture {asset.path!r} cannot be read")
                return None
            self._images[asset.path] = len(self._images), image
        return self._images[asset.path][0]


def _input(shader: Any, name: str, otherwise: Any) -> Any:
    value = shader.GetInput(name)
    found = value.Get() if value else None
    return otherwise if found is None else found


def _per_corner(primvar: Any, sizes: NDArray[np.int64], corners: NDArray[np.int64]) -> NDArray | None:
    """Values of a primvar at each corner [C, n], whatever it is given for; None if it does not fit."""
    values = np.array(primvar.ComputeFlattened(), dtype=np.float64)
    values = values.reshape(len(values), -1)
    kind = primvar.GetInterpolation()
    if kind == "constant":
        return np.repeat(values[:1], len(corners), axis=0)
    index = {
        "uniform": np.repeat(np.arange(len(sizes)), sizes),
        "vertex": corners,
        "varying": corners,
        "faceVarying": np.arange(len(corners)),
    }.get(kind)
    return None if index is None or (len(index) and index.max() >= len(values)) else values[index]


def _reversed_corners(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Places of the corners with each polygon run backwards from its first."""
    starts = np.repeat(np.cumsum(sizes) - sizes, sizes)
    steps = np.arange(sizes.sum()) - starts
    return starts + (np.repeat(sizes, sizes) - steps) % np.repeat(np.maximum(sizes, 1), sizes)
