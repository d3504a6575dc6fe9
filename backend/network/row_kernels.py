# SPDX-License-Identifier: GPL-3.0-or-later
"""Two steps of the network that a graphics card does in one pass over memory instead of several: weighted
sums of rows, and GELU of the normalized sum of two. Sums are in float32, whatever the rows are in."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..kernels import tested, tl, triton

_ELEMENTS = 4096
"""Of one program."""


def sums_rows(table: Tensor) -> bool:
    """Whether `weighted_rows` can be used: on a graphics card, without gradients."""
    return not torch.is_grad_enabled() and tested("sums of rows", _sums_agree, table.device.type)


def weighted_rows(table: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """`gather_weighted` of table [B, T, C], index int64 and weight [B, N, S]: [B, N, C]."""
    batch, rows, channels = table.shape
    count, taps = index.shape[1:]
    out = table.new_empty(batch, count, channels)
    index, weight = _by_row(index), _by_row(weight)
    width = triton.next_power_of_2(channels)
    at_once = max(1, _ELEMENTS // width)
    if out.numel():
        _weighted_rows[(triton.cdiv(count, at_once), batch)](
            table.contiguous(), index, weight, out, count, rows, index.stride(0), weight.stride(0),
            TAPS=taps, CHANNELS=channels, WIDTH=width, ROWS=at_once,
        )  # fmt: skip
    return out


def normalized_gelu(x: Tensor, added: Tensor, norm: nn.LayerNorm) -> Tensor:
    """GELU(norm(x + added)) of x [..., N, C] and added [..., N, C], which is the same for all of x or not."""
    repeats = added.shape[:-2].numel() == 1 and added.shape[-2:] == x.shape[-2:]
    if torch.is_grad_enabled() or not repeats or not tested("normalized sums", _norms_agree, x.device.type):
        return F.gelu(norm(x + added))
    return _normalized_gelu(x, added, norm)


def _normalized_gelu(x: Tensor, added: Tensor, norm: nn.LayerNorm) -> Tensor:
    channels = x.shape[-1]
    out = torch.empty(x.shape, dtype=torch.promote_types(x.dtype, added.dtype), device=x.device)
    width = triton.next_power_of_2(channels)
    at_once = max(1, _ELEMENTS // width)
    rows = x.numel() // channels
    if rows:
        _gelu_of_normalized[(triton.cdiv(rows, at_once),)](
            x.contiguous(), added.contiguous(), norm.weight, norm.bias, out, rows, x.shape[-2], norm.eps,
            CHANNELS=channels, WIDTH=width, ROWS=at_once,
        )  # fmt: skip
    return out


def _by_row(values: Tensor) -> Tensor:
    """Values [B, N, S] of which each set is contiguous; they may be the same set B times."""
    return values if values.stride()[1:] == (values.shape[2], 1) else values.contiguous()


def _sums_agree(device: str) -> bool:
    table, shares = torch.rand(2, 50, 24, device=device), torch.rand(1, 70, 3, device=device)
    index = torch.randint(50, (2, 70, 3), device=device)
    rows = torch.stack([own[which] for own, which in zip(table, index, strict=True)])
    expected = (rows * shares.unsqueeze(3)).sum(dim=2)
    return torch.allclose(weighted_rows(table, index, shares.expand(2, -1, -1)), expected, atol=1e-5)


def _norms_agree(device: str) -> bool:
    norm = nn.LayerNorm(24, device=device)
    x, added = torch.rand(3, 70, 24, device=device), torch.rand(1, 70, 24, device=device)
    return torch.allclose(_normalized_gelu(x, added, norm), F.gelu(norm(x + added)), atol=1e-4)


if triton is not None:

    @triton.jit(do_not_specialize=["count", "rows", "index_step", "weight_step"])
    def _weighted_rows(  # type: ignore[no-untyped-def]
        table, index, weight, out, count, rows, index_step, weight_step,
        TAPS: tl.constexpr, CHANNELS: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr,
    ):  # fmt: skip
        batch = tl.program_id(1).to(tl.int64)
        row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
        column = tl.arange(0, WIDTH)[None, :]
        inside = row < count
        written = inside[:, None] & (column < CHANNELS)
        own_table = table + batch * rows * CHANNELS + column
        total = tl.zeros([ROWS, WIDTH], tl.float32)
        for tap in tl.static_range(TAPS):
            taken = tl.load(index + batch * index_step + row * TAPS + tap, mask=inside, other=0)
            share = tl.load(weight + batch * weight_step + row * TAPS + tap, mask=inside, other=0.0)
            values = tl.load(own_table + taken[:, None] * CHANNELS, mask=written, other=0.0)
            total += share.to(tl.float32)[:, None] * values.to(tl.float32)
        tl.store(out + (batch * count + row)[:, None] * CHANNELS + column, total, mask=written)

    @triton.jit(do_not_specialize=["rows", "period"])
    def _gelu_of_normalized(  # type: ignore[no-untyped-def]
        x, added, scale, shift, out, rows, period, epsilon,
        CHANNELS: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr,
    ):  # fmt: skip
        row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
        column = tl.arange(0, WIDTH)[None, :]
        real = column < CHANNELS
        inside = (row < rows)[:, None] & real
        place = row[:, None] * CHANNELS + column
        repeated = (row % period)[:, None] * CHANNELS + column
        value = tl.load(x + place, mask=inside, other=0.0).to(tl.float32)
        value += tl.load(added + repeated, mask=inside, other=0.0).to(tl.float32)
        value -= (tl.sum(value, axis=1) / CHANNELS)[:, None]
        value = tl.where(real, value, 0.0)
        variance = tl.sum(value * value, axis=1) / CHANNELS
        value *= tl.rsqrt(variance + epsilon)[:, None]
        value *= tl.load(scale + column, mask=real, other=0.0).to(tl.float32)
        value += tl.load(shift + column, mask=real, other=0.0).to(tl.float32)
        value *= 0.5 + 0.5 * tl.erf(value * 0.7071067811865476)
        tl.store(out + place, value, mask=inside)
