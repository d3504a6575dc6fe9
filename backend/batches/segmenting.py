# SPDX-License-Identifier: GPL-3.0-or-later
"""One file, from its bytes to its parts, as a pure function: what one command or any engine calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..geometry import face_areas
from ..mesh_files import Groups, SourceScene, read_scan_or_mesh, write_parts
from ..stage_times import StageTimes
from .jobs import error_of
from .opening import local_file
from .records import PartRow, Record, as_text

if TYPE_CHECKING:
    from ..segmentation import ContainmentNode
    from ..segmentation.every_part import Progress
    from ..segmenter import Segmenter

_LONGEST_STEM = 200
"""Bytes: with what is added a name stays below the 255 that file systems allow."""


@dataclass(frozen=True)
class SegmentSettings:
    """granularity: 0 few large parts, 1 many small ones; parts: about so many of them, instead
    prompts: points from which parts are proposed
    refine: draw borders to creases; split: make each connected piece a part; seed: of the sampling
    poses: of the shape that the network sees
    """

    granularity: float = 0.5
    parts: int | None = None
    prompts: int = 512
    refine: bool = True
    split: bool = False
    seed: int = 0
    poses: int = 1


@dataclass(frozen=True)
class Segmentation:
    """labels: int32, part of each face, or of each point of a cloud (-1: not finite), without gaps
    confidence: float32 [P]; shares: float64 [P], of the surface, or of the points
    tree: which part lies in which; None for clouds, and where parts were split
    """

    labels: NDArray[np.int32]
    confidence: NDArray[np.floating]
    shares: NDArray[np.float64]
    tree: list[ContainmentNode] | None = None


def segment_file(
    path: str, segmenter: Segmenter, settings: SegmentSettings
) -> tuple[Record, SourceScene | None]:
    """Read and segment one file; (its record, the scene for writing the parts, None where it failed).

    Never raises for what is wrong with a file: that becomes a record with an error. A device that fails, or
    a defect of ours, raises.
    """
    times = StageTimes()
    try:
        with times.measure("read"), local_file(path) as file:
            scene = read_scan_or_mesh(file)
        return segment_read_file(path, scene, segmenter, settings, times), scene
    except Exception as error:
        fault = error_of(error)
        if fault is None:
            raise
        return Record(path, error=fault[0], detail=fault[1], seconds=dict(times.seconds)), None


def segment_read_file(
    path: str, scene: SourceScene, segmenter: Segmenter, settings: SegmentSettings, times: StageTimes
) -> Record:
    """The record of a file that was read already. Raises PartSAMError."""
    found = segment_scene(scene, segmenter, settings, times)
    counts = np.bincount(found.labels[found.labels >= 0], minlength=len(found.shares))
    parts = tuple(
        PartRow(label, int(counts[label]), float(found.shares[label]), float(found.confidence[label]))
        for label in range(len(counts))
    )
    return Record(
        path=path,
        kind="mesh" if scene.surfaces else "cloud",
        labels=found.labels,
        parts=parts,
        notes=scene.notes,
        model=segmenter.model_name,
        seconds=dict(times.seconds),
    )


def segment_scene(
    scene: SourceScene,
    segmenter: Segmenter,
    settings: SegmentSettings,
    times: StageTimes,
    progress: Progress | None = None,
) -> Segmentation:
    """The parts of a mesh, or of a cloud, with the seconds of the stages in `times`. Raises MeshError."""
    if scene.surfaces:
        return _segment_mesh(scene, segmenter, settings, times, progress)
    return _segment_cloud(scene, segmenter, settings, times, progress)


def _segment_mesh(
    scene: SourceScene,
    segmenter: Segmenter,
    settings: SegmentSettings,
    times: StageTimes,
    progress: Progress | None,
) -> Segmentation:
    report = progress or (lambda stage, share: None)
    report("encode", 0.0)
    with times.measure("encode"):
        shape = segmenter.encode(scene.mesh, seed=settings.seed)
    with times.measure("segment"):
        parts = segmenter.segment_every_part(
            shape, prompts=settings.prompts, poses=settings.poses, progress=progress
        )
    with times.measure("labels"):
        labels = parts.face_labels(settings.granularity, parts=settings.parts)
    if settings.refine:
        report("refine", 1.0)
        with times.measure("refine"):
            labels = parts.refined_labels(settings.granularity, parts=settings.parts)
    # Refinement keeps the parts' numbers, and may take the last face from a part.
    kept, labels = np.unique(labels, return_inverse=True)
    confidence = parts.confidence(settings.granularity, parts=settings.parts)[kept]
    tree = (
        None
        if settings.split
        else _renumbered(parts.containment(settings.granularity, parts=settings.parts), kept)
    )
    if settings.split and parts.graph is not None:
        from ..refinement.islands import connect_labels

        pieces = connect_labels(parts.graph, labels)
        _, first = np.unique(pieces, return_index=True)
        labels, confidence = pieces, confidence[labels[first]]
    areas = np.bincount(labels, weights=face_areas(scene.mesh))
    return Segmentation(labels.astype(np.int32), confidence, areas / areas.sum(), tree)


def _renumbered(tree: Sequence[ContainmentNode], kept: NDArray[np.integer]) -> list[ContainmentNode]:
    """The tree with parts renumbered: `kept` int [P] has the old label of each; others are left out."""
    new = {int(old): label for label, old in enumerate(kept)}
    groups = [node for node in tree if node.part is None]
    parts = [replace(node, part=new[node.part]) for node in tree if node.part in new]
    return groups + sorted(parts, key=lambda node: node.part if node.part is not None else -1)


def _segment_cloud(
    scene: SourceScene,
    segmenter: Segmenter,
    settings: SegmentSettings,
    times: StageTimes,
    progress: Progress | None,
) -> Segmentation:
    from ..scans import segment_cloud

    cloud = scene.cloud
    if cloud is None:
        raise ValueError("a scene has surfaces or a cloud")
    with times.measure("segment"):
        parts = segment_cloud(
            segmenter, cloud.positions, cloud.normals, cloud.colors,
            seed=settings.seed, prompts=settings.prompts, poses=settings.poses, progress=progress,
        )  # fmt: skip
    granularity, wanted = settings.granularity, settings.parts
    with times.measure("labels"):
        labels = parts.labels(granularity, parts=wanted)
        sample = parts.sample_labels(granularity, parts=wanted)
    # The sample's parts are numbered anew where an island was all of a part.
    of_sample = parts.parts.point_labels(granularity, parts=wanted)
    confidence = parts.parts.confidence(granularity, parts=wanted)
    kept = np.array([np.bincount(of_sample[sample == label]).argmax() for label in range(sample.max() + 1)])
    counts = np.bincount(labels[labels >= 0], minlength=len(kept))
    return Segmentation(labels.astype(np.int32), confidence[kept], counts / max(counts.sum(), 1))


def write_result(
    path: Path,
    scene: SourceScene,
    labels: NDArray[np.int32],
    *,
    part_colors: bool | None = None,
    groups: Groups | None = None,
) -> None:
    """Write the parts: a mesh as GLB with a node each, a cloud as PLY. Raises MeshFileError."""
    if scene.surfaces:
        write_parts(path, scene, labels, part_colors=part_colors, groups=groups)
    elif scene.cloud is not None:
        from ..scans import write_cloud

        write_cloud(path, scene.cloud, labels, part_colors=part_colors)


def default_output(path: str, folder: Path, *, is_mesh: bool) -> Path:
    """Where the parts of a file go: `NAME.parts.glb`, or `.ply` for clouds, with a hash of its whole path."""
    import hashlib

    digest = hashlib.sha256(path.encode()).hexdigest()[:10]
    stem = as_text(Path(path).stem).encode()[:_LONGEST_STEM].decode(errors="ignore")
    return folder / f"{stem}.{digest}.parts{'.glb' if is_mesh else '.ply'}"
