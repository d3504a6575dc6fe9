# SPDX-License-Identifier: GPL-3.0-or-later
"""oneDNN's products are PyTorch's, also of matrices with gaps, and gradients go PyTorch's way."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from backend.network.linear import Linear, attention, linear
from backend.network.triplane_transformer import _halved


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("rows", [(5,), (300,), (2, 3, 70)])
@pytest.mark.parametrize("bias", [True, False])
def test_products_are_those_of_pytorch(rows: tuple[int, ...], bias: bool) -> None:
    wide, weight = random(*rows, 40), random(24, 60)
    own = random(24) if bias else None
    with torch.inference_mode():
        for x, w in (
            (wide, weight[:, :40].contiguous()),
            (wide, weight[:, 20:]),
            (wide[..., ::2], weight[:, :20]),
        ):
            torch.testing.assert_close(linear(x, w, own), F.linear(x, w, own), rtol=1e-5, atol=1e-5)


def test_attention_is_that_of_pytorch() -> None:
    q, k, v = (random(2, 3, 600, 8).transpose(1, 2).contiguous().transpose(1, 2) + i for i in range(3))
    with torch.inference_mode():
        expected = F.scaled_dot_product_attention(q, k, v)
        torch.testing.assert_close(attention(q, k, v), expected, rtol=1e-5, atol=1e-5)


def test_gradients_and_other_precisions_go_the_usual_way() -> None:
    layer = Linear(8, 4)
    layer(random(64, 8)).sum().backward()
    assert layer.weight.grad is not None
    with torch.inference_mode():
        assert linear(random(64, 8).bfloat16(), random(4, 8).bfloat16()).dtype == torch.bfloat16
        with torch.autocast("cpu", torch.bfloat16):
            assert layer(random(64, 8)).dtype == torch.bfloat16


def test_maxima_of_rows_and_columns_are_those_of_pooling() -> None:
    x = random(2, 3, 8, 12)
    with torch.no_grad():
        assert torch.equal(_halved(x), F.max_pool2d(x, 2))
