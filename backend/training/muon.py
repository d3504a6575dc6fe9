# SPDX-License-Identifier: GPL-3.0-or-later
"""Muon: steps of matrices whose directions count alike.

K. Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024; step sizes as in J. Liu et
al., "Muon is scalable for LLM training", 2025, so that AdamW's rates and decay serve. PyTorch's own reads the
rate on the host, which a captured step cannot do, and knows no step that is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

_MOMENTUM = 0.95
_ITERATIONS = 5
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the Newton-Schulz iteration, which brings singular values near 1 (between .7 and 1.2)."""
_STEP = 0.2
"""Root mean square of an update at a rate of 1, as AdamW's tends to be."""
SMALLEST_SIDE = 16
"""Matrices with fewer rows or columns are left to AdamW."""


class Muon:
    """Momentum of matrices, and steps along its orthogonal factor.

    parameters: each at least 2-dimensional; of more dimensions (convolutions) the first are the rows.
    learning_rate: float32 scalar tensor, read at each step where it lies
    """

    def __init__(
        self, parameters: Sequence[Tensor], learning_rate: Tensor, *, weight_decay: float = 0.0
    ) -> None:
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        groups: dict[torch.Size, list[Tensor]] = {}
        for parameter in parameters:
            groups.setdefault(parameter.flatten(1).shape, []).append(parameter)
        self._groups = list(groups.values())
        self._momentum = [
            torch.zeros(len(group), *group[0].flatten(1).shape, device=group[0].device)
            for group in self._groups
        ]

    @torch.no_grad()
    def step(self, usable: Tensor) -> None:
        """One step by the gradients that parameters hold; none, and no change of the momentum, where the
        bool scalar `usable` is false."""
        kept = usable.float()
        for group, momentum in zip(self._groups, self._momentum, strict=True):
            gradient = torch.stack([_gradient(p) for p in group])
            momentum.lerp_(gradient, (1 - _MOMENTUM) * kept)
            direction = orthogonal_factor(gradient.lerp(momentum, _MOMENTUM))
            rate = self.learning_rate * kept
            length = _STEP * max(direction.shape[1:]) ** 0.5
            torch._foreach_mul_(group, 1 - rate * self.weight_decay)
            update = direction.float() * (-length * rate)
            torch._foreach_add_(group, [u.view_as(p) for u, p in zip(update, group, strict=True)])

    def state_dict(self) -> dict[str, Any]:
        """For `load_state_dict` of an optimizer of the same parameters."""
        return {"momentum": list(self._momentum)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises ValueError or RuntimeError where it is that of other parameters."""
        for own, saved in zip(self._momentum, state["momentum"], strict=True):
            own.copy_(saved)


def orthogonal_factor(matrices: Tensor) -> Tensor:
    """U V^T, roughly, of U S V^T for each of float32 [K, M, N], bfloat16 of the same shape."""
    x = matrices.bfloat16()
    turned = x.shape[1] > x.shape[2]
    if turned:
        x = x.mT
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    a, b, c = _COEFFICIENTS
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if turned else x


def _gradient(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None, "every parameter has a gradient"
    return parameter.grad.flatten(1)
