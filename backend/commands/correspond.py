# SPDX-License-Identifier: GPL-3.0-or-later
"""Say which faces of one mesh correspond to those of another of its kind, by the network's field."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from ..errors import MeshFileError
from .arguments import add_network_arguments
from .outputs import check_outputs

METHODS = ("auto", "maps", "field")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `correspond`."""
    parser.add_argument("source", type=Path, metavar="A", help="mesh file")
    parser.add_argument("target", type=Path, metavar="B", help="mesh file of a shape of the same kind")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="MAP.npz",
        help="`faces` int64 [faces of B, k]: faces of A, best first; `weights` float64, how much each counts",
    )  # fmt: skip
    parser.add_argument(
        "--method", choices=METHODS, default="auto",
        help="maps: functional maps, also for other poses; field: like features in like places; "
        "auto: maps where pyfmaps is installed and finds one",
    )  # fmt: skip
    add_network_arguments(parser)
    parser.add_argument("--seed", type=int, default=0, help="of the surface sampling (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Match two meshes. Raises PartSAMError for what the user can fix."""
    if args.output.suffix != ".npz":
        raise MeshFileError(f"{args.output} must end in .npz")
    check_outputs((args.output,), (args.source, args.target))
    from ..mesh_files import read_mesh_file
    from ..mesh_files.atomic import atomic_writer

    meshes = [read_mesh_file(path).mesh for path in (args.source, args.target)]
    from ..segmenter import Segmenter
    from ..transfer import correspond_by

    segmenter = Segmenter.load(args.model, device=args.device)
    shapes = [segmenter.encode(mesh, seed=args.seed) for mesh in meshes]
    found, method = correspond_by(segmenter, *shapes, method=args.method)
    with atomic_writer(args.output) as file:
        np.savez_compressed(file, faces=found.faces, weights=found.weights)
    count = found.faces.shape[1]
    print(
        f"wrote {args.output}: for each face of {args.target.name} {count} of {args.source.name}, by {method}"
    )
    return 0
