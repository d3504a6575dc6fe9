# SPDX-License-Identifier: GPL-3.0-or-later
"""Generated weights in the published checkpoint's layout: a fixed rule stands in for the real values."""

from __future__ import annotations

import json
import math
import zlib
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

DATA = Path(__file__).parent / "data"


def published_shapes() -> dict[str, list[int]]:
    """Every tensor of the published checkpoint with its shape."""
    return json.loads((DATA / "published_tensors.json").read_text())


def generated_tensor(key: str, shape: list[int]) -> torch.Tensor:
    """The value that the reference outputs were computed with, float32 of `shape`."""
    random = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode())))
    u = random.random(math.prod(shape), dtype=np.float32).reshape(shape) * 2 - 1
    if len(shape) >= 2:
        value = u * np.float32(math.sqrt(3 / math.prod(shape[1:])))
    else:
        value = 1 + 0.1 * u if key.endswith("weight") else 0.1 * u
    if "positional_encoding_gaussian_matrix" in key:
        value = value * 0.5
    return torch.from_numpy(value.astype(np.float32))


def write_published_checkpoint(path: Path) -> Path:
    """A file of 628 tensors and 0.9 GB, as the published one."""
    save_file({key: generated_tensor(key, shape) for key, shape in published_shapes().items()}, path)
    return path
