# SPDX-License-Identifier: GPL-3.0-or-later
"""Stage one: parts that the asset itself separates.

The scene graph's nodes if they make a usable labeling, else connected components. A labeling is usable
if, after parts that are too small or too large have been set aside, 3 to 50 parts cover most of the surface.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..geometry import Mesh, face_areas
from ..geometry.mesh import FloatArray, IntArray
from ..labelled_meshes.shards import UNLABELLED
from ..mesh_files import SourceScene
from ..refinement import build_face_graph
from ..refinement.welding import weld_vertices

MAX_VERTICES = (1 << 24) - 1
"""What packed sets count with three bytes."""


@dataclass(frozen=True)
class StageOneRules:
    """min_parts, max_parts: of a labeling
    min_part_area, max_part_area: limits of a part, as a share of the surface
    min_coverage: share of the surface that the parts within these limits must cover
    """

    min_parts: int = 3
    max_parts: int = 50
    min_part_area: float = 0.001
    max_part_area: float = 0.9
    min_coverage: float = 0.6

    def __post_init__(self) -> None:
        if not 1 <= self.min_parts <= self.max_parts < UNLABELLED:
            raise DataError(f"numbers of parts must be 1 <= min <= max < {UNLABELLED}")
        if not 0 <= self.min_part_area < self.max_part_area <= 1 or not 0 <= self.min_coverage <= 1:
            raise DataError("area limits are shares of the surface between 0 and 1, the smaller one first")


@dataclass(frozen=True)
class Rejected:
    """Why a file or a labeling was not kept. code: for counting; detail: for people."""

    code: str
    detail: str


@dataclass(frozen=True)
class Labeling:
    """name: what the parts are; labels: uint8 [F], 255 = unlabelled; parts: how many there are."""

    name: str
    labels: NDArray[np.uint8]
    parts: int


TOO_MANY_PARTS = "too_many_parts"
"""Code of assets in more pieces than a labeling may have: the candidates of stage two."""


def label_scene(scene: SourceScene, rules: StageOneRules) -> Labeling | Rejected:
    """The published rule: nodes, else connected components, else the reason against the components."""
    mesh = welded(scene.mesh)
    if len(mesh.vertices) > MAX_VERTICES:
        return Rejected("too_many_vertices", f"{len(mesh.vertices)} vertices; at most {MAX_VERTICES} fit")
    graph = build_face_graph(mesh, link_shells=False)
    areas = face_areas(mesh)
    nodes = apply_limits("node", node_of_faces(scene), areas, rules)
    if isinstance(nodes, Labeling):
        return nodes
    return apply_limits("component", graph.shells, areas, rules)


def welded(mesh: Mesh) -> Mesh:
    """The mesh with vertices at equal positions made one; faces stay as they are."""
    group, positions = weld_vertices(mesh.vertices, tolerance=0)
    return Mesh(positions, group[mesh.triangles], mesh.face_colors)


def node_of_faces(scene: SourceScene) -> IntArray:
    """Scene-graph node of each face, int64 [F].

    A node's surfaces follow each other, share its name and differ in material; a name that comes back, or a
    material that repeats, starts another node (equally named copies are common).
    """
    nodes = np.zeros(len(scene.surfaces), dtype=np.int64)
    seen: set[int | None] = set()
    for index, surface in enumerate(scene.surfaces):
        same_name = index > 0 and scene.surfaces[index - 1].name == surface.name
        continues = same_name and surface.material not in seen
        nodes[index] = 0 if index == 0 else nodes[index - 1] + (not continues)
        seen = (seen if continues else set()) | {surface.material}
    return np.repeat(nodes, [len(surface.triangles) for surface in scene.surfaces])


def apply_limits(name: str, part: IntArray, areas: FloatArray, rules: StageOneRules) -> Labeling | Rejected:
    """Set aside parts outside of the area limits and judge what is left.

    part: int [F], any numbers, below 0 = none; areas: float64 [F]
    """
    numbers = np.where(part < 0, 0, part + 1)
    share = np.bincount(numbers, weights=areas) / areas.sum()
    share[0] = 0
    kept = np.flatnonzero((share >= rules.min_part_area) & (share <= rules.max_part_area))
    pieces = int((share > 0).sum())
    if len(kept) > rules.max_parts:
        return Rejected(TOO_MANY_PARTS, f"{len(kept)} parts by {name}; at most {rules.max_parts} are wanted")
    if len(kept) < rules.min_parts:
        detail = (
            f"{len(kept)} of {pieces} parts by {name} within the area limits; {rules.min_parts} are needed"
        )
        # Hundreds of crumbs are no plain solid: stage two may find parts made of them.
        return Rejected(TOO_MANY_PARTS if pieces > rules.max_parts else "too_few_parts", detail)
    if share[kept].sum() < rules.min_coverage:
        detail = f"parts by {name} within the area limits cover {share[kept].sum():.0%} of the surface"
        return Rejected(TOO_MANY_PARTS if pieces > rules.max_parts else "low_coverage", detail)
    label = np.full(len(share), UNLABELLED, dtype=np.uint8)
    label[kept] = np.arange(len(kept))
    return Labeling(name, label[numbers], len(kept))
