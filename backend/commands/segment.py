# SPDX-License-Identifier: GPL-3.0-or-later
"""Split a mesh into its parts and write them as named nodes of a GLB file, or as face labels."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import MeshFileError
from ..geometry import Mesh, face_areas
from .arguments import add_network_arguments, fraction, glb_path, npy_path, positive
from .stage_times import ProgressBar, StageTimes
from .tree_files import groups_of, with_parts, write_tree

if TYPE_CHECKING:
    from ..segmentation import ContainmentNode
    from ..segmenter import Segmenter

_MOST_ROWS = 24
"""Parts listed in the table; a longer list scrolls everything else away."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `segment`."""
    parser.add_argument(
        "mesh", type=Path, metavar="IN", help="mesh file, see docs/command_line.md for the formats"
    )
    parser.add_argument(
        "-o", "--output", type=glb_path, metavar="OUT.glb",
        help="write one node per part, with the materials, UVs and textures of the input",
    )  # fmt: skip
    parser.add_argument(
        "--labels", type=npy_path, metavar="OUT.npy",
        help="write the part number of each triangle, int32, in the file's face order",
    )  # fmt: skip
    add_network_arguments(parser)
    parser.add_argument(
        "--granularity", type=fraction, default=0.5, metavar="0..1",
        help="0: few large parts, 1: many small ones (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--parts", type=positive, metavar="N", help="about N parts, instead of a granularity")
    parser.add_argument("--no-refine", action="store_true", help="keep the network's borders as they are")
    parser.add_argument(
        "--split", action="store_true", help="make each connected piece of a part a part of its own"
    )
    parser.add_argument(
        "--tree", action="store_true",
        help="which part lies in which: nested nodes in OUT.glb, and OUT.json beside OUT.npy",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of the surface sampling (default: %(default)s)")
    parser.add_argument(
        "--part-colors", action="store_true", help="colour the parts of OUT.glb instead of keeping materials"
    )
    parser.set_defaults(usage_error=parser.error)


def run(args: argparse.Namespace) -> int:
    """Segment one file. Raises PartSAMError for what the user can fix; outputs are complete or absent."""
    if args.output is None and args.labels is None:
        args.usage_error("nothing to write: give -o OUT.glb, --labels OUT.npy or both")
    if args.tree and args.split:
        args.usage_error("--split cuts the parts that --tree tells about; give one of them")
    _check_outputs(args)
    times = StageTimes()
    with times.measure("read"):
        # Imported here so that --help does not wait for it.
        from ..mesh_files import read_mesh_file, write_labels, write_parts

        scene = read_mesh_file(args.mesh)
        mesh = scene.mesh
    for note in scene.notes:
        print(f"note: {note}", file=sys.stderr)
    segmenter = _load(args, times)
    found = _segment(segmenter, mesh, args, times)
    labels = found.labels
    with times.measure("write"):
        if args.output is not None:
            groups = groups_of(found.tree) if args.tree else None
            write_parts(args.output, scene, labels, part_colors=args.part_colors or None, groups=groups)
        if args.labels is not None:
            write_labels(args.labels, labels)
            if args.tree:
                write_tree(args.labels.with_suffix(".json"), found.tree, found.confidence)
    _print_report(args, mesh, segmenter, found, times)
    return 0


def _load(args: argparse.Namespace, times: StageTimes) -> Segmenter:
    with times.measure("load model"):
        from ..segmenter import Segmenter

        segmenter = Segmenter.load(args.model, device=args.device)
    if not segmenter.is_trained:
        print(
            f"warning: the weights of {segmenter.model_name} are untrained (random): "
            "the parts show that everything runs, not what a trained network finds",
            file=sys.stderr,
        )
    return segmenter


@dataclass(frozen=True)
class Found:
    """Part of each face, int [F], numbered without gaps; confidence of each, float [P]; how they lie."""

    labels: NDArray[np.integer]
    confidence: NDArray[np.floating]
    tree: list[ContainmentNode]


def _segment(segmenter: Segmenter, mesh: Mesh, args: argparse.Namespace, times: StageTimes) -> Found:
    with ProgressBar() as progress:
        progress("encode", 0.0)
        with times.measure("encode"):
            shape = segmenter.encode(mesh, seed=args.seed)
        with times.measure("segment"):
            parts = segmenter.segment_every_part(shape, prompts=args.prompts, progress=progress)
        with times.measure("labels"):
            labels = parts.face_labels(args.granularity, parts=args.parts)
        if not args.no_refine:
            progress("refine", 1.0)
            with times.measure("refine"):
                labels = parts.refined_labels(args.granularity, parts=args.parts)
    # Refinement keeps the parts' numbers, and may take the last face from a part.
    kept, labels = np.unique(labels, return_inverse=True)
    confidence = parts.confidence(args.granularity, parts=args.parts)[kept]
    tree = with_parts(parts.containment(args.granularity, parts=args.parts), kept)
    if args.split and parts.graph is not None:
        from ..refinement.islands import connect_labels

        pieces = connect_labels(parts.graph, labels)
        _, first = np.unique(pieces, return_index=True)
        labels, confidence = pieces, confidence[labels[first]]
    return Found(labels, confidence, tree)


def _check_outputs(args: argparse.Namespace) -> None:
    """Fail before the work, not after it."""
    for path in (args.output, args.labels):
        if path is None:
            continue
        if not path.parent.is_dir():
            raise MeshFileError(f"cannot write {path}: the folder {path.parent} does not exist")
        if path.is_dir():
            raise MeshFileError(f"cannot write {path}: it is a folder")
        if path.exists() and args.mesh.exists() and path.samefile(args.mesh):
            raise MeshFileError(f"{path} is the input; choose another name for the output")


def _print_report(
    args: argparse.Namespace,
    mesh: Mesh,
    segmenter: Segmenter,
    found: Found,
    times: StageTimes,
) -> None:
    labels, confidence = found.labels, found.confidence
    counts = np.bincount(labels)
    areas = np.bincount(labels, weights=face_areas(mesh))
    untrained = "" if segmenter.is_trained else ", untrained weights"
    print(f"{args.mesh.name}: {len(counts)} parts, {mesh.face_count:,} faces")
    print(f"model {segmenter.model_name} on {segmenter.device}{untrained}\n")
    print(f"{'part':<10}{'faces':>10}{'area':>9}{'confidence':>13}")
    for label in range(min(len(counts), _MOST_ROWS)):
        share = areas[label] / areas.sum()
        print(f"{label:<10}{counts[label]:>10,}{share:>9.1%}{confidence[label]:>13.2f}")
    if len(counts) > _MOST_ROWS:
        print(f"... and {len(counts) - _MOST_ROWS} more")
    print(f"\n{'stage':<12}{'seconds':>8}")
    for stage, seconds in times.seconds.items():
        print(f"{stage:<12}{seconds:>8.2f}")
    print(f"{'total':<12}{times.total:>8.2f}")
    tree = args.labels.with_suffix(".json") if args.tree and args.labels is not None else None
    for path in (args.output, args.labels, tree):
        if path is not None:
            print(f"wrote {path}")
