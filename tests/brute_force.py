# SPDX-License-Identifier: GPL-3.0-or-later
"""Minima of tiny labelling problems by trying everything."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

import numpy as np
from numpy.typing import NDArray

from backend.refinement.energy import PottsEnergy

Labels = NDArray[np.int32]


def lowest_energy(energy: PottsEnergy, choices: Iterable[Iterable[int]]) -> tuple[float, Labels]:
    """The lowest energy over all combinations of `choices` (a set of labels per face), and one minimiser."""
    best, minimiser = np.inf, np.zeros(0, dtype=np.int32)
    for combination in product(*choices):
        labels = np.array(combination, dtype=np.int32)
        total = energy.total(labels)
        if total < best:
            best, minimiser = total, labels
    return best, minimiser


def best_expansion(energy: PottsEnergy, labels: Labels, alpha: int) -> float:
    """The lowest energy that one expansion of `alpha` can reach from `labels`."""
    return lowest_energy(energy, [{label, alpha} for label in labels.tolist()])[0]
