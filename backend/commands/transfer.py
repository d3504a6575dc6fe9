# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring the parts of one mesh to another: the same shape anew, or another of its kind."""

from __future__ import annotations

import argparse
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..array_files import read_arrays
from ..errors import MeshFileError
from .arguments import glb_path, npy_path
from .outputs import check_outputs, print_notes

if TYPE_CHECKING:
    from ..transfer import Correspondence


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `transfer`."""
    parser.add_argument("source", type=Path, metavar="A", help="mesh file")
    parser.add_argument(
        "parts", type=Path, metavar="A.npy", help="part of each triangle of A, from `segment --labels`"
    )
    parser.add_argument("target", type=Path, metavar="B", help="mesh file")
    parser.add_argument("-o", "--output", type=glb_path, metavar="OUT.glb", help="write one node per part")
    parser.add_argument(
        "--labels", type=npy_path, metavar="OUT.npy", help="write the part of each triangle of B"
    )
    parser.add_argument(
        "--map", type=Path, metavar="MAP.npz",
        help="from `correspond A B`, for another shape; without it B is A with other faces",
    )  # fmt: skip
    parser.add_argument("--no-refine", action="store_true", help="keep the borders as the votes have them")
    parser.set_defaults(usage_error=parser.error)


def run(args: argparse.Namespace) -> int:
    """Transfer labels. Raises PartSAMError for what the user can fix; outputs are complete or absent."""
    if args.output is None and args.labels is None:
        args.usage_error("nothing to write: give -o OUT.glb, --labels OUT.npy or both")
    inputs = [path for path in (args.source, args.parts, args.target, args.map) if path is not None]
    check_outputs((args.output, args.labels), inputs)
    from ..mesh_files import read_mesh_file, write_labels, write_parts
    from ..transfer import TransferSettings, transfer_labels

    source, scene = read_mesh_file(args.source).mesh, read_mesh_file(args.target)
    print_notes(scene.notes)
    settings = TransferSettings(strength=0.0 if args.no_refine else 1.0)
    found = transfer_labels(
        source, _labels(args.parts), scene.mesh,
        correspondence=_correspondence(args.map, scene.mesh.face_count, source.face_count), settings=settings,
    )  # fmt: skip
    if args.labels is not None:
        write_labels(args.labels, found)
    if args.output is not None:
        write_parts(args.output, scene, found)
    print(f"{args.target.name}: {len(np.unique(found))} of {args.source.name}'s parts")
    return 0


def _labels(path: Path) -> np.ndarray:
    try:
        with path.open("rb") as file:
            labels = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise MeshFileError(f"{path} is no .npy file with labels, as `segment --labels` writes it") from error
    if not isinstance(labels, np.ndarray) or labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise MeshFileError(f"{path} does not hold one whole number per face")
    return labels


def _correspondence(path: Path | None, faces: int, source_faces: int) -> Correspondence | None:
    if path is None:
        return None
    from ..transfer import Correspondence

    try:
        with path.open("rb") as file:
            arrays = read_arrays(file)
        found = Correspondence(arrays["faces"], arrays["weights"])
    except (OSError, ValueError, KeyError) as error:
        raise MeshFileError(f"{path} is no map, as `correspond` writes it") from error
    fits = found.faces.shape == found.weights.shape and len(found.faces) == faces
    if not fits or found.faces.min() < 0 or found.faces.max() >= source_faces:
        raise MeshFileError(f"{path} is a map of other meshes")
    return found
