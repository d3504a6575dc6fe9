# SPDX-License-Identifier: GPL-3.0-or-later
"""Arguments that several commands take, and types that refuse bad values before any work."""

from __future__ import annotations

import argparse
from pathlib import Path


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
