# SPDX-License-Identifier: GPL-3.0-or-later
"""Arguments that several commands take, and types that refuse bad values before any work."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..devices import CUDA
from ..errors import DeviceError

if TYPE_CHECKING:
    from ..batches.engines import EngineSettings


def add_network_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare --model, --device and --prompts."""
    parser.add_argument(
        "--model", default="small", metavar="small|FILE", help="network weights (default: %(default)s)"
    )
    parser.add_argument(
        "--device",
        default="auto",
        metavar="auto|cuda|mps|cpu",
        help="where to compute (default: %(default)s)",
    )
    parser.add_argument(
        "--prompts", type=positive, default=512, metavar="N",
        help="points from which parts are proposed (default: %(default)s)",
    )  # fmt: skip


def add_poses_argument(parser: argparse.ArgumentParser) -> None:
    """Declare --poses."""
    parser.add_argument(
        "--poses", type=int, choices=range(1, 9), default=1, metavar="1..8",
        help="show the shape to the network in so many poses, turned and mirrored: steadier, and slower "
        "(default: %(default)s)",
    )  # fmt: skip


def add_cut_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare --granularity and --parts, of which only one may be given."""
    cut = parser.add_mutually_exclusive_group()
    cut.add_argument(
        "--granularity", type=fraction, default=0.5, metavar="0..1",
        help="0: few large parts, 1: many small ones (default: %(default)s)",
    )  # fmt: skip
    cut.add_argument("--parts", type=positive, metavar="N", help="about N parts, instead of a granularity")


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what says where a batch runs and how much of this machine, or of a Ray cluster, it takes."""
    parser.add_argument("--engine", choices=("local", "ray"), default="local")
    parser.add_argument("--workers", type=positive, default=1, metavar="N", help="processes at work at once")
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="of each worker; 0 for all cores")
    parser.add_argument(
        "--timeout", type=float, default=600.0, metavar="SECONDS",
        help="for reading an input, and for the work on it",
    )  # fmt: skip
    parser.add_argument("--memory", type=float, metavar="GIB", help="that a worker may hold (Linux)")
    parser.add_argument("--address", metavar="ADDRESS", help="ray: of the cluster; a local one without")
    parser.add_argument("--max-workers", type=positive, metavar="N", help="ray: scale up to as many workers")
    parser.add_argument(
        "--gpus", type=fraction, default=0.0, metavar="0..1",
        help="ray: of a graphics card, for each worker; 0 computes on the CPU",
    )  # fmt: skip


def engine_settings(args: argparse.Namespace) -> EngineSettings:
    """What `add_engine_arguments` declared. DeviceError where a device is wanted that no worker would get."""
    from ..batches.engines import EngineSettings
    from ..batches.local_engine import Limits

    if args.engine == "ray" and not args.gpus and getattr(args, "device", "auto") == CUDA:
        raise DeviceError("with --engine ray, workers have a graphics card only by --gpus: add --gpus 1")
    memory = None if args.memory is None else int(args.memory * 2**30)
    return EngineSettings(
        kind=args.engine,
        workers=args.workers,
        max_workers=args.max_workers,
        cpus=max(args.threads, 1),
        gpus=args.gpus,
        address=args.address,
        limits=Limits(args.timeout, memory),
    )


def glb_path(text: str) -> Path:
    """A path that ends in .glb."""
    return _path_with(text, ".glb")


def parts_path(text: str) -> Path:
    """A path that ends in .glb or .ply."""
    return _path_with(text, ".glb", ".ply")


def npy_path(text: str) -> Path:
    """A path that ends in .npy."""
    return _path_with(text, ".npy")


def fraction(text: str) -> float:
    """A number in [0, 1]."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def positive(text: str) -> int:
    """A whole number above 0."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def _path_with(text: str, *suffixes: str) -> Path:
    path = Path(text)
    if path.suffix.lower() not in suffixes:
        raise argparse.ArgumentTypeError(f"{text!r} must end in {' or '.join(suffixes)}")
    return path
