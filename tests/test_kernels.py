# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernels of our own, where they cannot be used: what computes without them must not notice."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from backend import kernels
from backend.devices import CUDA


def test_a_broken_triton_is_a_missing_one(tmp_path: Path, repository: Path) -> None:
    (tmp_path / "triton").mkdir()
    (tmp_path / "triton" / "__init__.py").write_text("raise OSError('no such library')")
    program = (
        "from backend import kernels; import backend.network, backend.nearest_kernel; print(kernels.triton)"
    )
    path = os.pathsep.join([str(tmp_path), str(repository)])
    result = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert result.stdout.split() == ["None"]


def test_a_kernel_is_tested_once_and_again_where_memory_was_short(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(kernels, "triton", object())
    answers = [RuntimeError("CUDA out of memory"), True, RuntimeError("no compiler"), False]

    def agrees(device: str) -> bool:
        assert device == CUDA
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with pytest.raises(RuntimeError, match="out of memory"):
        kernels.tested("first", agrees, CUDA)
    assert kernels.tested("first", agrees, CUDA) and kernels.tested("first", agrees, CUDA)
    assert not kernels.tested("second", agrees, CUDA) and "second: no kernel" in caplog.text
    assert "no compiler" in caplog.text
    assert not kernels.tested("third", agrees, CUDA) and "results differ" in caplog.text
    assert not answers and not kernels.tested("first", agrees, "cpu")
