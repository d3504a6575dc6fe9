# SPDX-License-Identifier: GPL-3.0-or-later
"""A protocol over many shapes in several processes, on all GPUs there are."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import cache
from multiprocessing import get_context
from typing import cast

import torch

from ..devices import use_gpu
from ..segmenter import Segmenter
from .automatic import AutomaticSettings
from .baselines import CLUSTER_METHODS, FieldSettings
from .interactive import InteractiveSettings
from .runs import Baselines, Record, run_automatic, run_interactive, run_together
from .shapes import KnownShape
from .sheet import Card
from .together import TogetherPredictor, TogetherSettings

UNTRAINED_MODEL = "small-untrained"
_BLOCKS_PER_WORKER = 16

Numbered = tuple[int, Record, Card]


@dataclass(frozen=True)
class EvaluationJob:
    """What to measure and with what; a value that travels to other processes.

    model, device: for `Segmenter.load`
    settings: of the protocol, which they choose
    baselines: names of `evaluation.BASELINES`; fields: settings of those that cluster a field
    """

    model: str
    device: str
    settings: InteractiveSettings | AutomaticSettings | TogetherSettings
    baselines: tuple[str, ...] = ()
    fields: FieldSettings = field(default_factory=FieldSettings)

    def results(self, shapes: Iterable[tuple[int, KnownShape]], *, gpu: int = 0) -> Iterator[Numbered]:
        """Records and cards of numbered shapes; those that cannot be measured give none.

        gpu: which one to use, counted round where there are fewer
        """
        gpu = use_gpu(gpu)
        segmenter = _loaded(self.model, self.device, gpu)
        baselines = Baselines(self.baselines, self._field_models(segmenter, gpu), self.fields)
        for number, item in shapes:
            if isinstance(self.settings, InteractiveSettings):
                found = run_interactive(segmenter, [item], self.settings, baselines)
            elif isinstance(self.settings, TogetherSettings):
                found = run_together(cast(TogetherPredictor, segmenter), [item], self.settings)
            else:
                found = run_automatic(segmenter, [item], self.settings, baselines)
            yield from ((number, record, card) for record, card in found)

    def _field_models(self, segmenter: Segmenter, gpu: int) -> dict[str, Segmenter]:
        """Models whose fields are clustered; the untrained one is loaded only if it is needed."""
        if not set(self.baselines) & set(CLUSTER_METHODS):
            return {}
        models = {"untrained": _loaded(UNTRAINED_MODEL, self.device, gpu)}
        if segmenter.model_name != UNTRAINED_MODEL:
            models["trained"] = segmenter
        return models


def measure(
    job: EvaluationJob,
    shapes: Sequence[KnownShape],
    *,
    workers: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[list[Record], list[Card]]:
    """Records and cards of all shapes in their order, the same for any number of `workers`.

    progress: called with the shapes done and their total. Seconds and memory are those of a process that
    shares the machine with the others.
    """
    numbered = list(enumerate(shapes))
    found: list[Numbered] = []
    if workers == 1:
        for done, item in enumerate(numbered, start=1):
            found += job.results([item])
            progress(done, len(shapes))
    else:
        count = min(len(shapes), workers * _BLOCKS_PER_WORKER)
        blocks = [numbered[start::count] for start in range(count)]
        done = 0
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            waiting = {
                pool.submit(_run_block, job, block, index, workers): len(block)
                for index, block in enumerate(blocks)
            }
            for future in as_completed(waiting):
                found += future.result()
                done += waiting[future]
                progress(done, len(shapes))
    found.sort(key=lambda each: each[0])
    return [record for _, record, _ in found], [card for _, _, card in found]


def _run_block(
    job: EvaluationJob, block: Sequence[tuple[int, KnownShape]], index: int, workers: int
) -> list[Numbered]:
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))
    return list(job.results(block, gpu=index))


@cache
def _loaded(model: str, device: str, gpu: int) -> Segmenter:
    """The model on GPU number `gpu`, kept by each process."""
    return Segmenter.load(model, device=device)
