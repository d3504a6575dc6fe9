# SPDX-License-Identifier: GPL-3.0-or-later
"""Attention between a few tokens and many patches gives what the textbook's order of products gives."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from backend.network.mask_decoder import Attention

WIDTH, INNER, HEADS = 24, 16, 4
TOKENS, PATCHES = 3, 40


@pytest.mark.parametrize("shared", [False, True], ids=["own patches", "shared patches"])
@pytest.mark.parametrize("asking", ["tokens", "patches"])
def test_few_tokens_and_many_patches(asking: str, shared: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    attention = Attention(WIDTH, INNER, HEADS)
    tokens = torch.randn(2, 5, TOKENS, WIDTH)
    patches, placed = torch.randn(2, 2, 1 if shared else 5, PATCHES, WIDTH)
    arguments = (tokens, placed, patches) if asking == "tokens" else (placed, tokens, tokens + 1)
    expected = attention(*arguments)  # with gradients: the textbook's way
    calls: list[str] = []
    for name in ("_of_few_queries", "_of_few_keys"):
        original = getattr(Attention, name)

        def counted(self: Attention, *args: Any, name: str = name, original: Any = original) -> torch.Tensor:
            calls.append(name)
            return original(self, *args)

        monkeypatch.setattr(Attention, name, counted)
    with torch.inference_mode():
        found = attention(*arguments)
    assert calls == ["_of_few_queries" if asking == "tokens" else "_of_few_keys"]
    torch.testing.assert_close(found, expected.detach(), rtol=1e-4, atol=1e-5)


def test_many_tokens_take_the_textbooks_way() -> None:
    attention = Attention(WIDTH, INNER, HEADS)
    tokens, patches = torch.randn(1, 2, INNER, WIDTH), torch.randn(1, 2, PATCHES, WIDTH)
    with torch.inference_mode():
        found = attention(tokens, patches, patches)
    assert torch.equal(found, attention(tokens, patches, patches))
