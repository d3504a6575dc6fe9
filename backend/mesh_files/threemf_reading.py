# SPDX-License-Identifier: GPL-3.0-or-later
"""3MF files through the consortium's own library, which is optional."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .color_space import srgb_to_linear
from .optional import optional_module
from .polygon_surfaces import PolygonMesh, polygon_surfaces
from .scene import SourceScene
from .surface import Looks, Surface


def read_3mf(path: Path) -> SourceScene:
    """Read the items that a 3MF file builds. Raises MeshFileError where lib3mf is not installed."""
    library = optional_module("lib3mf", f"reading {path.suffix} files")
    with path.open("rb"):  # the library does not say why it cannot open a file
        pass
    model = library.get_wrapper().CreateModel()
    try:
        model.QueryReader("3mf").ReadFromFile(str(path))
    except library.ELib3MFException as error:
        raise ValueError("lib3mf cannot read it") from error
    reader = _ModelReader(model, library)
    surfaces: list[Surface] = []
    items = model.GetBuildItems()
    while items.MoveNext():
        item = items.GetCurrent()
        transform = item.GetObjectTransform() if item.HasObjectTransform() else None
        surfaces += reader.surfaces(item.GetObjectResource(), _matrix(transform))
    return SourceScene(tuple(surfaces), Looks(materials=tuple(reader.materials)), tuple(reader.notes))


class _ModelReader:
    """Reads objects of one model; the materials that they use collect in `materials`."""

    def __init__(self, model: Any, library: Any) -> None:
        self._model, self._library = model, library
        self._numbers: dict[tuple[int, int], int] = {}
        self.materials: list[dict[str, Any]] = []
        self.notes: list[str] = []

    def surfaces(self, item: Any, matrix: NDArray[np.float64]) -> Iterator[Surface]:
        """The surfaces of an object, or of an assembly's objects, under a matrix [4, 4]."""
        if item.IsComponentsObject():
            for number in range(item.GetComponentCount()):
                component = item.GetComponent(number)
                inner = _matrix(component.GetTransform() if component.HasTransform() else None)
                yield from self.surfaces(component.GetObjectResource(), matrix @ inner)
        elif item.IsMeshObject():
            yield from self._mesh(self._model.GetMeshObjectByID(item.GetResourceID()), matrix)

    def _mesh(self, mesh: Any, matrix: NDArray[np.float64]) -> tuple[Surface, ...]:
        points = np.array([tuple(vertex.Coordinates) for vertex in mesh.GetVertices()], dtype=np.float64)
        triangles = np.array([tuple(row.Indices) for row in mesh.GetTriangleIndices()], dtype=np.int64)
        if not len(triangles):
            return ()
        given = mesh.GetAllTriangleProperties()
        resources = np.array([row.ResourceID for row in given], dtype=np.int64)
        properties = np.array([tuple(row.PropertyIDs) for row in given], dtype=np.int64)
        materials = np.full(len(triangles), -1)
        colors = np.ones((len(triangles), 3, 4))
        has_colors = False
        for resource, first in sorted(set(zip(resources.tolist(), properties[:, 0].tolist(), strict=True))):
            rows = (resources == resource) & (properties[:, 0] == first)
            kind = self._model.GetPropertyTypeByID(resource) if resource else None
            if kind == self._library.PropertyType.BaseMaterial:
                materials[rows] = self._material(resource, first)
            elif kind == self._library.PropertyType.Colors:
                colors[rows] = self._colors(resource, properties[rows])
                has_colors = True
            elif kind is not None:
                self._note("textures and mixed materials of 3MF are not read")
        if np.linalg.det(matrix[:3, :3]) < 0:
            triangles, colors = triangles[:, ::-1], colors[:, ::-1]
        of_corner = [("COLOR_0", colors.reshape(-1, 4).astype(np.float32))] if has_colors else []
        polygons = PolygonMesh(
            points.reshape(-1, 3) @ matrix[:3, :3].T + matrix[:3, 3],
            np.full(len(triangles), 3), triangles.reshape(-1), {}, of_corner, materials,
        )  # fmt: skip
        return polygon_surfaces(polygons, mesh.GetName())

    def _material(self, resource: int, row: int) -> int:
        if (resource, row) not in self._numbers:
            group = self._model.GetBaseMaterialGroupByID(resource)
            color = group.GetDisplayColor(row)
            self._numbers[resource, row] = len(self.materials)
            shading = {"baseColorFactor": _linear(color), "metallicFactor": 0.0, "roughnessFactor": 0.8}
            self.materials.append({"name": group.GetName(row), "pbrMetallicRoughness": shading})
        return self._numbers[resource, row]

    def _colors(self, resource: int, properties: NDArray[np.int64]) -> NDArray[np.float64]:
        """Linear colours [n, 3, 4] of the corners of triangles."""
        group = self._model.GetColorGroupByID(resource)
        table = {row: _linear(group.GetColor(row)) for row in np.unique(properties).tolist() if row}
        rows = [[table.get(row, [1.0] * 4) for row in corners] for corners in properties.tolist()]
        return np.array(rows)

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def _linear(color: Any) -> list[float]:
    """A colour of the library as linear RGBA."""
    srgb = np.array([color.Red, color.Green, color.Blue]) / 255
    return [*srgb_to_linear(srgb).tolist(), color.Alpha / 255]


def _matrix(transform: Any) -> NDArray[np.float64]:
    """A transform of the library, whose vectors are rows, as a matrix [4, 4] for columns."""
    matrix = np.eye(4)
    if transform is not None:
        matrix[:3] = np.array([list(row) for row in transform.Fields]).T
    return matrix
