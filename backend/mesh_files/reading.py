# SPDX-License-Identifier: GPL-3.0-or-later
"""One entry for all formats, with errors that say what is wrong with the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..errors import MeshError, MeshFileError
from ..geometry import validate_mesh
from .gltf_reading import read_gltf
from .obj_reading import read_obj
from .off_reading import read_off
from .ply_reading import read_ply
from .scene import SourceScene
from .stl_reading import read_stl

_READERS: dict[str, Callable[[Path], SourceScene]] = {
    ".glb": read_gltf,
    ".gltf": read_gltf,
    ".obj": read_obj,
    ".ply": read_ply,
    ".stl": read_stl,
    ".off": read_off,
}

READABLE_SUFFIXES = tuple(_READERS)


def read_mesh_file(path: str | Path) -> SourceScene:
    """Read every triangle of a GLB, glTF, OBJ, PLY, STL or OFF file in world space.

    Polygons become triangle fans, in the file's face order. Raises MeshFileError if the file cannot be
    read or holds no triangle mesh, MeshError if its mesh cannot be segmented (NaN, no area).
    """
    path = Path(path)
    if path.is_dir():
        raise MeshFileError(f"{path} is a folder, not a mesh file")
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise MeshFileError(
            f"{path.name}: cannot read {path.suffix or 'files without a suffix'!r}; "
            f"supported are {', '.join(READABLE_SUFFIXES)}"
        )
    try:
        scene = reader(path)
    except FileNotFoundError as error:
        raise MeshFileError(f"{path} does not exist") from error
    except OSError as error:
        raise MeshFileError(f"{path} cannot be read: {error.strerror or error}") from error
    except MemoryError as error:
        raise MeshFileError(
            f"{path.name} does not fit into memory, or declares a size that it has not"
        ) from error
    scene = _with_faces(scene)
    if not scene.surfaces:
        raise MeshError(
            f"{path.name} has no faces (only points, lines or nothing); there is nothing to segment"
        )
    try:
        mesh = scene.mesh
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise MeshFileError(f"{path.name} is damaged: its materials do not fit together") from error
    validate_mesh(mesh)
    return scene


def _with_faces(scene: SourceScene) -> SourceScene:
    surfaces = tuple(surface for surface in scene.surfaces if len(surface.triangles))
    return SourceScene(surfaces, scene.looks, scene.notes)
