# SPDX-License-Identifier: GPL-3.0-or-later
"""Split a mesh into its parts and write them as named nodes of a GLB file, or as face labels."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import MeshFileError
from ..stage_times import StageTimes
from .arguments import add_cut_arguments, add_network_arguments, add_poses_argument, npy_path, parts_path
from .outputs import check_outputs, print_notes
from .progress_bar import ProgressBar
from .tree_files import groups_of, write_tree

if TYPE_CHECKING:
    from ..batches.segmenting import Segmentation
    from ..mesh_files import SourceScene
    from ..segmenter import Segmenter

_MOST_ROWS = 24
"""Parts listed in the table; a longer list scrolls everything else away."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `segment`."""
    parser.add_argument(
        "mesh", type=Path, metavar="IN", help="mesh file, see docs/command_line.md for the formats"
    )
    parser.add_argument(
        "-o", "--output", type=parts_path, metavar="OUT.glb|OUT.ply",
        help="GLB: one node per part, with the materials, UVs and textures of the input; "
        "PLY: a point cloud with its parts",
    )  # fmt: skip
    parser.add_argument(
        "--labels", type=npy_path, metavar="OUT.npy",
        help="write the part number of each triangle, int32, in the file's face order",
    )  # fmt: skip
    add_network_arguments(parser)
    add_poses_argument(parser)
    add_cut_arguments(parser)
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
    check_outputs((args.output, args.labels), (args.mesh,))
    times = StageTimes()
    with times.measure("read"):
        # Imported here so that --help does not wait for it.
        from ..batches.segmenting import SegmentSettings, segment_scene, write_result
        from ..mesh_files import read_scan_or_mesh, write_labels

        scene = read_scan_or_mesh(args.mesh)
    _check_suffix(args, scene)
    print_notes(scene.notes)
    segmenter = _load(args, times)
    settings = SegmentSettings(
        granularity=args.granularity,
        parts=args.parts,
        prompts=args.prompts,
        refine=not args.no_refine,
        split=args.split,
        seed=args.seed,
        poses=args.poses,
    )
    with ProgressBar() as progress:
        found = segment_scene(scene, segmenter, settings, times, progress)
    with times.measure("write"):
        if args.output is not None:
            groups = groups_of(found.tree) if args.tree and found.tree else None
            write_result(
                args.output, scene, found.labels, part_colors=args.part_colors or None, groups=groups
            )
        if args.labels is not None:
            write_labels(args.labels, found.labels)
            if args.tree and found.tree:
                write_tree(args.labels.with_suffix(".json"), found.tree, found.confidence)
    _print_report(args, scene, segmenter, found, times)
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


def _check_suffix(args: argparse.Namespace, scene: SourceScene) -> None:
    """A mesh is written as GLB, a cloud as PLY; said before the work."""
    wanted = ".glb" if scene.surfaces else ".ply"
    if args.output is not None and args.output.suffix.lower() != wanted:
        kind = "a mesh" if scene.surfaces else "a point cloud"
        raise MeshFileError(
            f"{args.mesh.name} is {kind}; its parts are written as {wanted}: give -o OUT{wanted}"
        )


def _print_report(
    args: argparse.Namespace, scene: SourceScene, segmenter: Segmenter, found: Segmentation, times: StageTimes
) -> None:
    counts = np.bincount(found.labels[found.labels >= 0], minlength=len(found.shares))
    untrained = "" if segmenter.is_trained else ", untrained weights"
    unit = "faces" if scene.surfaces else "points"
    parts = "1 part" if len(counts) == 1 else f"{len(counts)} parts"
    print(f"{args.mesh.name}: {parts}, {len(found.labels):,} {unit}")
    print(f"model {segmenter.model_name} on {segmenter.device}{untrained}\n")
    print(f"{'part':<10}{unit:>10}{'area' if scene.surfaces else 'share':>9}{'confidence':>13}")
    for label in range(min(len(counts), _MOST_ROWS)):
        print(f"{label:<10}{counts[label]:>10,}{found.shares[label]:>9.1%}{found.confidence[label]:>13.2f}")
    if len(counts) > _MOST_ROWS:
        print(f"... and {len(counts) - _MOST_ROWS} more")
    print(f"\n{'stage':<12}{'seconds':>8}")
    for stage, seconds in times.seconds.items():
        print(f"{stage:<12}{seconds:>8.2f}")
    print(f"{'total':<12}{times.total:>8.2f}")
    for path in (args.output, args.labels):
        if path is not None:
            print(f"wrote {path}")
