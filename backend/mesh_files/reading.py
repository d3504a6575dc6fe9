# SPDX-License-Identifier: GPL-3.0-or-later
"""One entry for all formats, with errors that say what is wrong with the file."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import MeshError, MeshFileError, PartSAMError
from ..geometry import validate_mesh
from .assimp_reading import read_with_assimp
from .gltf_reading import read_gltf
from .obj_reading import read_obj
from .off_reading import read_off
from .ply_reading import read_ply
from .scene import SourceScene
from .step_reading import read_step
from .stl_reading import read_stl
from .threemf_reading import read_3mf
from .usd_reading import read_usd
from .xyz_reading import read_xyz

logger = logging.getLogger(__name__)

_READERS: dict[str, Callable[[Path], SourceScene]] = {
    ".glb": read_gltf,
    ".gltf": read_gltf,
    ".obj": read_obj,
    ".ply": read_ply,
    ".stl": read_stl,
    ".off": read_off,
    ".xyz": read_xyz,
    **dict.fromkeys((".fbx", ".dae"), read_with_assimp),
    ".3mf": read_3mf,
    **dict.fromkeys((".usd", ".usda", ".usdc", ".usdz"), read_usd),
    **dict.fromkeys((".step", ".stp"), read_step),
}

READABLE_SUFFIXES = tuple(_READERS)


def read_mesh_file(path: str | Path) -> SourceScene:
    """Read every triangle of a mesh file, of any of READABLE_SUFFIXES, in world space.

    Polygons become triangles in the file's face order. Raises MeshFileError if the file cannot be
    read or holds no triangle mesh, MeshError if its mesh cannot be segmented (NaN, no area).
    """
    scene = read_scan_or_mesh(path)
    if not scene.surfaces:
        raise MeshError(
            f"{Path(path).name} has no faces (only points, lines or nothing); there is no mesh in it"
        )
    return scene


def read_scan_or_mesh(path: str | Path) -> SourceScene:
    """`read_mesh_file`, or a scene whose `cloud` is not None where the file holds points without faces."""
    path = Path(path)
    if path.is_dir():
        raise MeshFileError(f"{path} is a folder, not a mesh file")
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        kind = repr(path.suffix) if path.suffix else "files without a suffix"
        raise MeshFileError(f"{path.name}: cannot read {kind}; supported are {', '.join(READABLE_SUFFIXES)}")
    if path.is_file() and path.stat().st_size == 0:
        raise MeshFileError(f"{path.name} is empty (0 bytes)")
    # Infinite coordinates are for `validate_mesh` to report, not for numpy to warn about.
    with np.errstate(all="ignore"):
        with _faults_named(path, f"{path.name} is not {_article(path)} file, damaged or truncated"):
            scene = _with_faces(reader(path))
        if scene.surfaces:
            with _faults_named(path, f"{path.name} is damaged: its materials do not fit together"):
                mesh = scene.mesh
            validate_mesh(mesh)
            return scene  # its mesh is made: a copy would make it again
    if scene.cloud is None or len(scene.cloud.positions) < 4:
        raise MeshError(
            f"{path.name} has no faces, and no points that make a cloud; there is nothing to segment"
        )
    return scene


@contextmanager
def _faults_named(path: Path, meaning: str) -> Iterator[None]:
    """Turn whatever goes wrong with a file into one MeshFileError.

    A damaged file can break any assumption of a reader, so every exception means that here; a defect of the
    reader shows in the log at DEBUG, and in the cause.
    """
    try:
        yield
    except PartSAMError:
        raise
    except FileNotFoundError as error:
        raise MeshFileError(f"{path} does not exist") from error
    except OSError as error:
        raise MeshFileError(f"{path} cannot be read: {error.strerror or error}") from error
    except MemoryError as error:
        raise MeshFileError(
            f"{path.name} does not fit into memory, or declares a size that it has not"
        ) from error
    except Exception as error:
        logger.debug("%s", meaning, exc_info=True)
        detail = " ".join(str(error).split())[:120]
        raise MeshFileError(f"{meaning} ({detail or type(error).__name__})") from error


def _article(path: Path) -> str:
    kind = path.suffix[1:].upper()
    return f"an {kind}" if kind[:1] in "FOS" else f"a {kind}"


def _with_faces(scene: SourceScene) -> SourceScene:
    return replace(scene, surfaces=tuple(s for s in scene.surfaces if len(s.triangles)))
