# SPDX-License-Identifier: GPL-3.0-or-later
"""Normalisation layers that keep the dtype of what they are given.

Autocast runs these in float32 and hands float32 on, which doubles the memory traffic of everything up
to the next matrix product. The kernels accumulate in float32 anyway.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LayerNorm(nn.LayerNorm):
    """`nn.LayerNorm` in the input's dtype, under autocast, too."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return F.layer_norm(
                x, self.normalized_shape, self.weight.to(x.dtype), self.bias.to(x.dtype), self.eps
            )


class GroupNorm(nn.GroupNorm):
    """`nn.GroupNorm` in the input's dtype, under autocast, too."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return F.group_norm(x, self.num_groups, self.weight.to(x.dtype), self.bias.to(x.dtype), self.eps)
