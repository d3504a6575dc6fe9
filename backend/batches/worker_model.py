# SPDX-License-Identifier: GPL-3.0-or-later
"""The model of a worker, and the graphics card that it computes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..devices import CUDA, use_gpu

if TYPE_CHECKING:
    from ..segmenter import Segmenter


def worker_model(model: str, *, device: str, threads: int, worker: int) -> Segmenter:
    """What worker `worker` of this machine computes with; the cards that it sees are dealt out in turn.

    model, device: what `Segmenter.load` takes; threads: of the arithmetic, 0 for as many as there are cores
    Raises DeviceError and ModelError as `Segmenter.load` does.
    """
    import torch

    from ..segmenter import Segmenter

    if device in ("auto", CUDA):
        use_gpu(worker)
    if threads:
        torch.set_num_threads(threads)
    return Segmenter.load(model, device=device)
