# SPDX-License-Identifier: GPL-3.0-or-later
"""Average two trained sets of weights of one network.

    python -m backend.training.average_weights first.safetensors second.safetensors -o mean.safetensors

Computed in float32 and stored in the first file's types, with its metadata. The second set has to come from
the first or from the same weights, not from a training of its own: weights that lie far apart mean nothing
between each other.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from torch import Tensor

from ..errors import CheckpointError, PartSAMError
from ..network import NetworkConfig, StoredWeights, read_weights, write_weights

log = logging.getLogger(__name__)

_SHOWN = 5


def average_weights(
    first: Path | str, second: Path | str, *, share: float = 0.5, upright: bool = False
) -> StoredWeights:
    """(1 - share) times the first file's weights plus share times the second's, in the first's types.

    upright: the result's shapes are set upright, whatever the first file says; it alone decides otherwise
    Raises CheckpointError for a share that is none, for files that cannot be read, and naming both where they
    are not weights of one network.
    """
    if not 0 <= share <= 1:
        raise CheckpointError(f"the share of the second file is from 0 to 1, not {share}")
    ours, theirs = read_weights(first), read_weights(second)
    problems = _differing_settings(ours.config, theirs.config) or _differing_tensors(ours, theirs)
    if problems:
        shown, more = "; ".join(problems[:_SHOWN]), len(problems) - _SHOWN
        raise CheckpointError(
            f"{first} and {second} are not weights of one network: {shown}"
            + (f"; and {more} more" if more > 0 else "")
        )
    tensors = {
        name: _between(tensor, theirs.tensors[name], share=share) for name, tensor in ours.tensors.items()
    }
    return StoredWeights(tensors, replace(ours.config, upright=upright or ours.config.upright), ours.metadata)


def _differing_settings(first: NetworkConfig, second: NetworkConfig) -> list[str]:
    """In what two configurations differ, other than `upright`: its weights are of the same sizes."""
    ours, theirs = asdict(first), asdict(second)
    return [
        f"{name} is {ours[name]!r} and {theirs[name]!r}"
        for name in ours
        if name != "upright" and ours[name] != theirs[name]
    ]


def _differing_tensors(first: StoredWeights, second: StoredWeights) -> list[str]:
    """Names that only one has, and tensors of two sizes."""
    ours, theirs = ({name: list(x.shape) for name, x in of.tensors.items()} for of in (first, second))
    alone = [f"only the first has {name}" for name in sorted(ours.keys() - theirs.keys())]
    alone += [f"only the second has {name}" for name in sorted(theirs.keys() - ours.keys())]
    return alone + [
        f"{name} is {ours[name]} and {theirs[name]}"
        for name in sorted(ours.keys() & theirs.keys())
        if ours[name] != theirs[name]
    ]


def _between(first: Tensor, second: Tensor, *, share: float) -> Tensor:
    """In float32, returned in the first's type; whole numbers, which only count, are the first's."""
    if not first.is_floating_point():
        return first
    return ((1 - share) * first.float() + share * second.float()).to(first.dtype)


def main(arguments: Sequence[str] | None = None) -> int:
    """Average the two files that are named; exit status 1 where that fails."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("first", type=Path, help="weights, whose types and metadata the result has")
    parser.add_argument("second", type=Path, help="weights of the same network")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--share", type=float, default=0.5, help="of the second; default: %(default)s")
    parser.add_argument(
        "--upright", action="store_true", help="shapes are set upright before the result sees them"
    )
    args = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    try:
        if args.output.resolve() in (args.first.resolve(), args.second.resolve()):
            raise CheckpointError(f"{args.output} would be written over; give another file with -o")
        weights = average_weights(args.first, args.second, share=args.share, upright=args.upright)
        write_weights(weights, args.output)
        log.info("%d tensors averaged in %s", len(weights.tensors), args.output)
    except PartSAMError as error:
        log.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
