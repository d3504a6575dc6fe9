# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts to a GLB file: one named node per part, with the looks that the source file had."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .atomic import atomic_writer
from .gltf_builder import GlbBuilder
from .gltf_hanging import Groups, Part, PartHanger
from .gltf_pieces import pieces_of_parts, recolored
from .palette import part_materials
from .scene import SourceScene
from .surface import Looks

_FLOAT32_STEP = 2.0**-24
_TOLERANCE = 1e-6
"""Share of the scene's size by which storing positions as float32 may move them."""


def write_parts(
    path: Path,
    scene: SourceScene,
    labels: NDArray[np.integer],
    *,
    part_colors: bool | None = None,
    groups: Groups | None = None,
) -> None:
    """Write a scene, split by face labels, as a GLB file; complete or not at all.

    labels: int [F] in the scene's face order, 0..P-1. Part p becomes the p-th node, named by `part_names`,
        whose mesh has one primitive per source material; materials, textures, UVs, normals, vertex colours
        and the source's extras are kept. Where float32 would round positions far from the origin, the
        nodes carry a translation
    part_colors: True gives each part one distinct colour instead; None does so only if the scene has
        neither materials nor vertex colours
    groups: nodes to nest the parts' nodes in; they follow after those

    What moved a part's faces in a glTF file moves the part: its node hangs on the node, skin or morph targets
    of the source, which follow with their animations, as do cameras and lights. A part whose faces hang on
    several of these has further nodes, named `NAME.2` and so on.

    Raises MeshFileError if the file cannot be written.
    """
    labels = np.asarray(labels)
    if labels.shape != (scene.face_offsets[-1],):
        raise ValueError(f"{labels.shape} labels for {scene.face_offsets[-1]} faces")
    part_count = int(labels.max()) + 1
    if part_colors is None:
        part_colors = not scene.looks.materials and not any(
            "COLOR_0" in surface.attributes for surface in scene.surfaces
        )
    looks = scene.looks
    if part_colors:
        looks = Looks(part_materials(part_count), extensions_used=looks.extensions_used)
    offset = _offset(scene)
    builder = GlbBuilder(looks, scene.asset)
    sources = main_sources(scene, labels, part_count)
    rests = {surface.rest.node: surface.rest for surface in scene.surfaces if surface.rest is not None}
    # Attributes may hold NaN, or numbers beyond float32; they are written as 0.
    with np.errstate(invalid="ignore", over="ignore"):
        parts = [
            Part(
                name,
                dict(scene.surfaces[source].extras) if source >= 0 else {},
                [recolored(piece, label) for piece in pieces] if part_colors else pieces,
            )
            for label, (name, source, pieces) in enumerate(
                zip(
                    part_names(scene, sources),
                    sources,
                    pieces_of_parts(scene, labels, part_count, offset),
                    strict=True,
                )
            )
        ]
        roots = PartHanger(builder, scene.graph, rests, offset).hang(parts, groups)
    builder.write(path, roots)


def main_sources(scene: SourceScene, labels: NDArray[np.integer], part_count: int) -> NDArray[np.int64]:
    """The surface from which most faces of each part come, int64 [part_count]; -1 for parts without faces."""
    surface_of = np.repeat(np.arange(len(scene.surfaces)), np.diff(scene.face_offsets))
    pairs, counts = np.unique(
        np.asarray(labels, dtype=np.int64) * len(scene.surfaces) + surface_of, return_counts=True
    )
    order = np.lexsort([-pairs, counts])  # of equals the first surface comes last, and stays
    sources = np.full(part_count, -1, dtype=np.int64)
    sources[pairs[order] // len(scene.surfaces)] = pairs[order] % len(scene.surfaces)
    return sources


def part_names(scene: SourceScene, sources: NDArray[np.integer]) -> list[str]:
    """What each part is called, from the surface that it mostly comes from (-1: none), distinct.

    The only part of the object Body is `Body`; several are `Body.Part 1`, `Body.Part 2`; parts of objects
    without a name are `part_03`, numbered as in the labels.
    """
    origins = [scene.surfaces[source].name if source >= 0 else "" for source in sources]
    total, so_far = Counter(origins), Counter[str]()
    names: list[str] = []
    taken = set(origins)
    for label, origin in enumerate(origins):
        name = origin or part_name(label, len(origins))
        while origin and total[origin] > 1:
            so_far[origin] += 1
            name = f"{origin}.Part {so_far[origin]}"
            if name not in taken:
                break
        names.append(name)
    return names


def _offset(scene: SourceScene) -> NDArray[np.float64] | None:
    """float64 [3] from which positions are counted, so that float32 holds them; None where it does anyway."""
    low = np.min([surface.positions.min(axis=0) for surface in scene.surfaces], axis=0)
    high = np.max([surface.positions.max(axis=0) for surface in scene.surfaces], axis=0)
    farthest = max(np.abs(low).max(), np.abs(high).max())
    if not np.isfinite(farthest) or farthest * _FLOAT32_STEP <= _TOLERANCE * (high - low).max():
        return None
    # Readers hold the translation as float32, too: it must be one.
    return ((low + high) / 2).astype(np.float32).astype(np.float64)


def write_labels(path: Path, labels: NDArray[np.integer]) -> None:
    """Write face labels as a .npy file of int32 [F]; complete or not at all."""
    with atomic_writer(path) as file:
        np.save(file, np.asarray(labels, dtype=np.int32), allow_pickle=False)


def part_name(label: int, part_count: int) -> str:
    """`part_03`: with as many digits as the largest of `part_count` labels needs, at least two."""
    return f"part_{label:0{max(2, len(str(part_count - 1)))}d}"
