# SPDX-License-Identifier: GPL-3.0-or-later
"""Linear layers and products of matrices by the fastest library that a processor has for them.

PyTorch multiplies float32 matrices by MKL, which leaves half of the vector units of processors that are not
Intel's idle. oneDNN, which comes with PyTorch for convolutions, does not: 2.2 to 4 times as fast on an
AMD EPYC (71 against 240 billion operations a second and core), and as precise.
"""

from __future__ import annotations

import functools
import platform
from itertools import repeat

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_FEWEST_ROWS = 32
"""Below this, handing over takes longer than it saves."""

_QUERIES_AT_ONCE = 256
"""Rows of scores that a processor keeps near: 3 MiB of 3,072 tokens."""


class Linear(nn.Linear):
    """`nn.Linear`, quicker on a CPU."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x [..., I], weight [O, I], bias [O] -> x @ weight.T + bias, [..., O]."""
    if not _goes_to_onednn(x):
        return F.linear(x, weight, bias)
    # Of rows with gaps between them oneDNN makes a thousand times slower work.
    x, weight = x.contiguous(), weight.contiguous()
    try:
        product: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    except RuntimeError:  # it writes code for each shape, which takes memory, too
        return F.linear(x, weight, bias)
    return product


def attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """`scaled_dot_product_attention` of many tokens, q, k [B, H, T, D], v [B, H, T, V] -> [B, H, T, V].

    bias: [B, H, T, T], added to the scores of each query (rows) for all keys
    """
    if not _goes_to_onednn(q):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=None if bias is None else bias.to(q.dtype))
    result = torch.empty(v.shape)
    biases = repeat(None) if bias is None else bias.flatten(0, 1)
    heads = (x.flatten(0, 1) for x in (result, q, k, v))
    for own, queries, keys, values, added in zip(*heads, biases, strict=False):
        keys, values = keys * q.shape[-1] ** -0.5, values.T.contiguous()
        for start in range(0, len(own), _QUERIES_AT_ONCE):
            rows = slice(start, start + _QUERIES_AT_ONCE)
            scores = linear(queries[rows], keys)
            if added is not None:
                scores += added[rows]
            own[rows] = linear(scores.softmax(dim=-1), values)
    return result


def _goes_to_onednn(x: Tensor) -> bool:
    return (
        x.is_cpu
        and x.dtype == torch.float32
        and x.numel() >= _FEWEST_ROWS * x.shape[-1]
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and onednn_works()
    )


@functools.cache
def onednn_works() -> bool:
    """Whether this PyTorch offers oneDNN's products, and they are right. Not on processors of other kinds:
    there PyTorch itself knows better."""
    if platform.machine().lower() not in ("x86_64", "amd64") or not torch.backends.mkldnn.is_available():
        return False
    x, weight = torch.arange(96.0).view(48, 2), torch.tensor([[1.0, 2.0], [0.5, -1.0], [3.0, 0.0]])
    try:
        product = torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")
    except (AttributeError, RuntimeError, TypeError):  # an operator of PyTorch's own, which may change
        return False
    return torch.equal(product, (x[:, None] * weight).sum(dim=2))
