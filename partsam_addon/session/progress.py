# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a whole piece of work is, from the backend's stages. No bpy."""

from __future__ import annotations

from dataclasses import dataclass

_SPANS = {
    "start": (0.0, 0.05),
    "load model": (0.05, 0.1),
    "encode": (0.1, 0.35),
    "prompts": (0.35, 0.75),
    "faces": (0.75, 0.85),
    "parts": (0.85, 0.9),
    "transfer": (0.1, 0.5),
    "copies": (0.1, 1.0),
    "refine": (0.9, 1.0),
    "interior": (0.0, 1.0),
    "bones": (0.0, 0.5),
    "weights": (0.0, 1.0),
    "pixels": (0.0, 1.0),
    "unwrap": (0.0, 1.0),
}
"""Share of the work of one shape at which each stage begins and ends, as measured on the CPU, roughly."""


@dataclass
class WorkProgress:
    """Of one piece of work, which may be about several shapes. `fraction` never falls.

    step, steps: which shape it is at, from 0, and how many there are
    """

    step: int = 0
    steps: int = 1
    fraction: float = 0.0

    def advance(self, stage: str, fraction: float) -> float:
        """Note what the current job says; how far all of the work is, in [0, 1]."""
        low, high = _SPANS.get(stage, (0.0, 0.0))
        reached = (self.step + low + (high - low) * min(max(fraction, 0.0), 1.0)) / self.steps
        self.fraction = min(max(self.fraction, reached), 1.0)
        return self.fraction


def clock(seconds: float) -> str:
    """A duration as minutes and seconds: 0:07, 12:30."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d}"
