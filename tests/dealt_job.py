# SPDX-License-Identifier: GPL-3.0-or-later
"""A job that says which graphics card each of its workers was dealt, on machines that have none."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from unittest.mock import patch

from backend.batches.inputs import Input
from backend.batches.jobs import Row
from backend.batches.worker_model import worker_model
from backend.stage_times import StageTimes


@dataclass(frozen=True)
class DealtJob:
    """Loads its model as real jobs do; the rows say which cards the process sees, and which it took.

    seconds: that the work on an input takes
    """

    device: str = "auto"
    seconds: float = 0.0

    def prepare(self, worker: int) -> tuple[int, list[str], str]:
        """(worker, the cards that it sees, the one that it computes on, or "")."""
        cards = [card for card in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if card]
        taken: list[str] = []
        with (
            patch("torch.cuda.is_available", return_value=bool(cards)),
            patch("torch.cuda.device_count", return_value=len(cards)),
            patch("torch.cuda.set_device", side_effect=lambda number: taken.append(cards[number])),
        ):
            # What is there of a card in this test does not compute: with "auto" the model is on the CPU.
            worker_model("small-untrained", device=self.device, threads=1, worker=worker)
        return worker, cards, "".join(taken)

    def read(self, item: Input, times: StageTimes) -> None:
        """Nothing."""

    def work(self, context: tuple[int, list[str], str], item: Input, content: None, times: StageTimes) -> Row:
        """What `prepare` found."""
        time.sleep(self.seconds)
        worker, cards, card = context
        return {"name": item.name, "error": "", "worker": worker, "cards": ",".join(cards), "card": card}

    def failed(self, item: Input, error: str, detail: str, times: StageTimes) -> Row:
        """So that a test sees it."""
        return {"name": item.name, "error": f"{error}: {detail}", "worker": -1, "cards": "", "card": ""}
