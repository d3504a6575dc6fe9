# SPDX-License-Identifier: GPL-3.0-or-later
"""How likely each node of a part tree is a part that a person would name: a small network over its features.

What it gives is the expected IoU with a known part, where an IoU of up to 0.5 counts as 0: the sum over
chosen parts, less a cost for each, is what panoptic quality pays for. A node counts as found, too, if
it is a part once the parts inside of it are taken away: a person's body without head and limbs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from ..array_files import read_arrays
from ..errors import CheckpointError
from ..geometry.mesh import FloatArray
from .node_features import FEATURES

BUNDLED = Path(__file__).parents[1] / "models" / "part_quality.npz"


@dataclass(frozen=True)
class PartQuality:
    """E networks of one hidden layer, averaged.

    mean, spread: float [D], of the features; hidden: [E, D, H], hidden_bias: [E, H], output: [E, H],
    output_bias: [E]
    """

    mean: FloatArray
    spread: FloatArray
    hidden: FloatArray
    hidden_bias: FloatArray
    output: FloatArray
    output_bias: FloatArray

    def __call__(self, features: FloatArray) -> FloatArray:
        """Expected quality float64 [T] in [0, 1] of features [T, D]."""
        scaled = ((features - self.mean) / self.spread).clip(-4, 4).astype(np.float64)
        hidden = np.einsum("td,edh->eth", scaled, self.hidden) + self.hidden_bias[:, None]
        hidden = hidden / (1 + np.exp(-hidden))  # SiLU
        logits = np.einsum("eth,eh->et", hidden, self.output) + self.output_bias[:, None]
        return (1 / (1 + np.exp(-logits))).mean(axis=0)

    def save(self, path: Path) -> None:
        """Write an `.npz` that `load_part_quality` reads."""
        np.savez(path, features=np.array(FEATURES), **vars(self))


def load_part_quality(path: Path) -> PartQuality:
    """Read what `PartQuality.save` wrote. Raises CheckpointError for other files."""
    try:
        with path.open("rb") as file:
            arrays = read_arrays(file)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is missing or damaged; install the extension again") from error
    if tuple(arrays.pop("features", ())) != FEATURES:
        raise CheckpointError(f"{path} was made for other features; fit it again with this version")
    return PartQuality(**{name: values.astype(np.float64) for name, values in arrays.items()})


@cache
def bundled_part_quality() -> PartQuality:
    """What is fitted to the bundled model."""
    return load_part_quality(BUNDLED)
